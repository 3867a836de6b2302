"""What a network's weights alone tell of the states it was trained on: their scales, roughly."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.priors.transition_prior import TransitionPrior, nothing_known

_LAYER = "hidden.0.weight"


def prior_from_weights(environment: str, parameters: Mapping[str, Tensor]) -> TransitionPrior:
    """The prior "weights", of who has the shared network and no transitions: parameters by name, as in a shared update.

    An optimiser like Adam moves every weight as far, so inputs that vary little end with the larger weights: of each
    number of a state, variance = v / mean over units of w^2, v = 1 / (3 fan_in) being what PyTorch initialises with.
    A fresh network thus says 1, as `nothing_known`. Means are not found: the regression of weights on biases that
    would show them is drowned by their initialisation. Images: nothing; a kernel sees all places alike.

    No reward range, no f, no transitions. Raises ConfigurationError for an unknown environment.
    """
    prior = nothing_known(environment)
    weight = parameters.get(_LAYER)
    known = ENVIRONMENTS[environment]
    if weight is None or known.image_shape is not None:
        return replace(prior, amount="weights")
    # The state stands before a critic's action.
    squares = weight.detach().cpu().float()[:, : known.vector_size].square().mean(dim=0)
    return replace(prior, amount="weights", state_covariance=torch.diag(1 / (3 * weight.shape[1] * squares)))
