"""Recorded experience of any kind, by the setting that it was recorded in."""

from pathlib import Path

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.simulators.experience import Experience
from rlleak.simulators.transitions import Transitions

Recorded = Experience | Transitions


def load_recorded(path: str | Path, setting: str) -> Recorded:
    """Rooms' experience for S1 and S2, transitions for an environment. Raises CorruptArtefactError for another kind."""
    return (Transitions if setting in ENVIRONMENTS else Experience).load(path)
