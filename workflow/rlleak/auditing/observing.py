"""What an audit attacks: transitions of one's own, or around observations of one's own, or around random ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.learners.batch import Batch
from rlleak.learners.inputs import Inputs, name_observations
from rlleak.learners.reading import Reading
from rlleak.sharing.transitions import as_batch, check_shapes

_ROOM = 0.01
"""By how much an image may leave [0, 1], as resized ones do."""


def audited_batch(
    reading: Reading,
    batch: Batch | Mapping[str, Any] | None,
    observations: Any,
    count: int | None,
    like: Tensor,
    seed: int,
) -> Batch:
    """The transitions to make updates of: `batch`; else around `observations`; else around random ones.

    count: how many, the first of one's own; None: all of one's own. like: a parameter of the network. Raises
    ConfigurationError for none, and for what the network does not take.
    """
    if batch is not None:
        own = as_batch(batch, like)
    elif observations is not None:
        own = _invented_batch(reading, 0, _named(reading, observations, like), like, seed)
    else:
        own = _invented_batch(reading, max(count or 0, 0), None, like, seed)
    own = own if count is None else own.select(slice(0, max(count, 0)))
    if not len(own):
        raise ConfigurationError(
            "no transition to make an update of; ask for at least one update of one transition, or bring your own"
        )
    check_shapes(reading, own)
    return own


def _named(reading: Reading, observations: Any, like: Tensor) -> dict[str, Tensor]:
    """Observations by the network's own names; a lone one needs none."""
    named = name_observations(observations)
    if len(named) == len(reading.inputs.shapes) == 1:
        named = dict(zip(reading.inputs.shapes, named.values(), strict=True))
    lengths = {len(value) if value.dim() else 0 for value in named.values()}
    if len(lengths) != 1:
        raise ConfigurationError(
            f"there are {' and '.join(map(str, sorted(lengths))) or 'no'} observations; give as many of each of "
            f"{', '.join(reading.inputs.shapes)}, (N, ...)"
        )
    count = torch.zeros(lengths.pop())
    return dict(as_batch({"observation": named, "action": count, "reward": count}, like).observation)


def _invented_batch(
    reading: Reading, count: int, observations: Mapping[str, Tensor] | None, like: Tensor, seed: int
) -> Batch:
    """Transitions around observations, or around random ones: random actions, rewards and advantages."""
    generator = torch.Generator().manual_seed(seed)
    if observations is None:
        observations = reading.inputs.random(count, generator, like)
    count = len(next(iter(observations.values())))
    with_value = any("value" in branch.outputs for branch in reading.branches)
    actions = sum(branch.spec.outputs for branch in reading.branches) - with_value
    drawn = [torch.randn(count, generator=generator).to(like) for _ in range(3)]
    return Batch(
        observation=observations,
        action=torch.randint(actions, (count,), generator=generator).to(like.device),
        reward=drawn[0],
        next_observation={name: value.roll(1, 0) for name, value in observations.items()},
        terminated=torch.zeros(count, dtype=torch.bool, device=like.device),
        target=drawn[1] if with_value else None,
        advantage=drawn[2] if with_value else None,
    )


def range_assumed(reading: Reading, observation_space: Any, own: Batch) -> list[str]:
    """What was taken for an image's range where nobody said it.

    Raises ConfigurationError where these observations are far from it: attacks would look for images elsewhere.
    """
    given, said = Inputs.of_space(observation_space).ranges, []
    for index, branch in enumerate(reading.branches):
        if "image" not in branch.fields:
            continue
        image = reading.network_input(own.observation, index)["image"]
        low, high = float(image.min()), float(image.max())
        for name, value in own.observation.items():
            known = reading.inputs.ranges[name]
            if value.dim() != 4 or known is None:
                continue
            start, end = float(known[0].min()), float(known[1].max())
            least, most = float(value.min()), float(value.max())
            room = _ROOM * (end - start)
            if end == 255 and most <= 1 and bool((value != value.round()).any()):
                raise ConfigurationError(f"observations '{name}' go to {most:.3g}, and bytes were expected; times 255")
            if least < start - room or most > end + room:
                raise ConfigurationError(
                    f"observations '{name}' go from {least:.3g} to {most:.3g}, and "
                    + (f"their space from {start:g} to {end:g}" if given[name] else f"{start:g} to {end:g} was assumed")
                    + "; give observation_space as the gymnasium Box that they come from"
                )
            if given[name] is None:
                said.append(f"'{name}' goes from {start:g} to {end:g}, as the network's own scaling suggests")
        if low < -_ROOM or high > 1 + _ROOM:
            said.append(
                f"the network reads its image from {low:.2g} to {high:.2g}; attacks look for one in [0, 1], so more "
                "may leak than was measured"
            )
    return list(dict.fromkeys(said))
