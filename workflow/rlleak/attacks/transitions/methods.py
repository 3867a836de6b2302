"""The attacks that match gradients, as data: what is minimised, and by what (one search runs them all)."""

from dataclasses import dataclass
from typing import Literal

from rlleak.attacks.transitions.matching import Problem
from rlleak.configuration.attacks import TransitionSettings
from rlleak.errors import ConfigurationError


@dataclass(frozen=True)
class Search:
    """optimiser: lbfgs is `QuasiNewton`. gradient, cosine, reads_error: as in `Problem`. regularised: whether the
    settings' alpha, beta and gamma are meant; varied: whether their tv_weight is. schedule: None: the settings'.
    """

    optimiser: Literal["adam", "signed_adam", "lbfgs"] = "adam"
    gradient: float = 1.0
    cosine: bool = False
    reads_error: bool = False
    regularised: bool = False
    varied: bool = False
    schedule: Literal["steps"] | None = None

    def problem(self, settings: TransitionSettings, step_size: float, restart: int) -> Problem:
        """One row's worth. Raises ConfigurationError for weights that this method does not have."""
        weights = {name: getattr(settings, name) for name in ("alpha", "beta", "gamma")}
        if not self.regularised and any(weights.values()):
            named = ", ".join(name for name, weight in weights.items() if weight)
            raise ConfigurationError(
                f"attack method '{settings.method}' has no regularisers, and {named} is set; set it to 0, or take rgia"
            )
        return Problem(
            step_size,
            restart,
            self.gradient,
            self.cosine or settings.distance == "cosine",
            self.reads_error,
            **weights,
            prior=settings.prior,
            variation=settings.tv_weight if self.varied else 0.0,
        )


gia = Search()
"""Plain gradient inversion: RGIA without its regularisers (its baseline)."""

rgia = Search(regularised=True, varied=True)
"""He, arXiv 2512.00303: Adam from normal noise on the matching error and three regularisers."""

dlg = Search(optimiser="lbfgs")
"""Deep leakage from gradients (Zhu et al. 2019): L-BFGS on everything, the action among it."""

idlg = Search(optimiser="lbfgs", reads_error=True)
"""Improved DLG (Zhao et al. 2020): what the last layer's gradient says outright is read, the rest as DLG."""

ig = Search(optimiser="signed_adam", cosine=True, varied=True, schedule="steps")
"""Inverting gradients (Geiping et al. 2020): angle between gradients, total variation, Adam on signs."""

rgia_no_gradient = Search(gradient=0.0, regularised=True)
"""What RGIA's regularisers alone make of the same starting points: how far its restarts agree without any gradient."""
