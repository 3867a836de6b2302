"""How good policies are: episodes without exploration, of several runs side by side."""

from collections.abc import Sequence

import numpy as np
from torch.func import vmap

from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.learning import Learner, Parameters, in_runs
from rlleak.federation.tracing import Traced
from rlleak.seeds import derive
from rlleak.simulators.side_by_side import side_by_side


class Evaluation:
    """Plays the episodes that a training's size says, the same each time: they depend on each run's seed alone."""

    def __init__(self, settings: FederatedSettings, seeds: Sequence[int]) -> None:
        self._settings, self._size, learner = settings, settings.size, Learner(settings)
        self._runs, count = len(seeds), settings.clients
        # Each run's policy is for the rooms of its clients, in turn.
        homes = [run * count + part % count for run in range(self._runs) for part in range(self._size.episodes)]
        self._homes = settings.at_home(homes)
        self._seeds = [derive(seed, "evaluation", part) for seed in seeds for part in range(self._size.episodes)]
        self._act = Traced(vmap(learner.act))

    def returns(self, parameters: Parameters) -> np.ndarray:
        """Undiscounted return (R, episodes) of R policies, (R, *shape) by "role/name", without exploration."""
        shape = self._runs, self._size.episodes
        simulators = side_by_side(self._settings.environment, self._seeds, **self._homes)
        earned, playing, steps = np.zeros(len(self._seeds)), np.ones(len(self._seeds), bool), 0
        try:
            while playing.any() and (self._size.horizon is None or steps < self._size.horizon):
                actions = self._act(parameters, in_runs(simulators.states, shape)).flatten(0, 1).numpy()
                stepped = simulators.step(actions, playing)
                earned += stepped.reward * playing
                playing &= ~stepped.over
                steps += 1
        finally:
            simulators.close()
        return earned.reshape(shape)
