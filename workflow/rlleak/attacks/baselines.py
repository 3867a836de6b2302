"""What Table II compares QGI's error direction with: stage 1 with the gradient computed from the objective itself.

All share QGI's stage 1 (vector and convolutional features from the linear layers' gradients) and differ in what else is
optimised and in the loss. Table II needs box and Q-values only, which stage 1 gives, so no image is reconstructed.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks import rules, stages
from rlleak.attacks.optimisation import Variable
from rlleak.attacks.running import Chunk, attack
from rlleak.attacks.signals import SquaredError
from rlleak.attacks.targets import LossName


@attack()
def dlg_optimised_action(chunk: Chunk) -> Mapping[str, Tensor]:
    """Based on DLG (Zhu et al. 2019): squared distance; action and target Q optimised."""
    return _objective(chunk, "mse", ruled=False)


@attack()
def dlg_ruled_action(chunk: Chunk) -> Mapping[str, Tensor]:
    """Based on DLG: squared distance; action by eq. 7, target Q optimised."""
    return _objective(chunk, "mse", ruled=True)


@attack()
def inverting_gradients(chunk: Chunk) -> Mapping[str, Tensor]:
    """Based on Geiping et al. 2020: cosine; action by eq. 7, target Q optimised."""
    return _objective(chunk, "cosine", ruled=True)


def _objective(chunk: Chunk, loss: LossName, ruled: bool) -> Mapping[str, Tensor]:
    outputs = chunk.update.architecture.outputs
    variables = stages.linear_input_variables(chunk)
    variables["target"], slope = Variable(chunk.noise("target")), rules.error_slope(chunk.update.loss)
    if ruled:
        action = rules.dqn_action(stages.last_bias(chunk))  # eq. 7
        one_hot = torch.nn.functional.one_hot(action[chunk.rows], outputs)
        signal = SquaredError(one_hot.to(variables["target"].start.dtype), slope)
    else:
        variables["action_logits"] = Variable(chunk.noise("action", outputs))
        signal = SquaredError(slope=slope)
    found = stages.match(chunk, "vector", "features", signal, variables, chunk.settings.vector, loss)
    if not ruled:
        action = found.values["action_logits"].argmax(dim=1)
    output = chunk.matching("features").output(found.values)
    result = {
        "action": action,
        "predicted_q": output.gather(1, action[:, None])[:, 0],
        "target_q": found.values["target"],
        "trust/matching_loss_vector": found.loss,
        **stages.error_unseen(chunk),
    }
    if "vector" in found.values:
        result["vector"] = found.values["vector"]
    return result
