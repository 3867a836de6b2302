"""From when on a reconstructed transition counts as recovered; RGIA (He, arXiv 2512.00303) names no thresholds."""

from pydantic import Field

from rlleak.configuration.strict import Strict


class TransitionThresholds(Strict):
    """How far parts of a reconstructed transition (s, a, r, s') may be off, in units of what varies in public ones."""

    state: float = Field(0.25, gt=0, description="root mean square error of s or s', in deviations of the states")
    change: float = Field(0.25, gt=0, description="s' besides: error, relative to that of 'nothing changes' from s")
    action: float = Field(0.1, gt=0, description="root mean square error of a continuous action, of a range of 2")
    reward: float = Field(0.1, gt=0, description="error of r, in deviations of the rewards")
    least_reward: float = Field(0.05, ge=0, description="error of r that is allowed however little rewards vary")
