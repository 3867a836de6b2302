"""A reconstruction laid beside the private side, victim by victim, with failures made explicit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rlleak.errors import CorruptArtefactError
from rlleak.learners.specification import NetworkSpec
from rlleak.metrics.batches import samples_of_claims, score_claims

if TYPE_CHECKING:
    from torch import Tensor

    from rlleak.attacks.reconstruction import Reconstruction
    from rlleak.sharing.private import PrivateSide

Arrays = Mapping[str, np.ndarray]
COMPONENTS = ("image", "vector", "action", "predicted_q", "target_q", "reward")


@dataclass(frozen=True)
class Comparison:
    """What an attacker claims beside what is true, both as float64, for N victims.

    attempt, truth: component -> (N, ...); a component that either side lacks is in neither. failed: (N,) bool, whether
    anything the attacker claims about that victim is NaN or infinite. reads: (rows, columns) of the image that reach
    the network, or None if the architecture is unknown. seconds: (N,) attack time, or None. claims: what
    `rlleak.metrics.batches.score_claims` says of updates over several transitions, name -> (N,); else None. channels:
    what the image's channels hold ("red", "depth", ...), or None: told from their number (4: RGB and depth, 3: RGB,
    1: depth). samples: for each update over several transitions the images (B, C, H, W) that are claimed of its
    samples, black where nothing is, and the true ones, as (attempt, truth); None where either side has none.
    identified: what `rlleak.metrics.onlooker` makes of the images, name -> (N,); empty without an onlooker.
    message_bytes, epsilon: of the victims' defence (`rlleak.sharing`), or None where that is not said. boxes: whether a
    vector is a target's box, as it is in rooms.
    """

    attempt: Arrays
    truth: Arrays
    failed: np.ndarray
    reads: tuple[int, int] | None = None
    seconds: np.ndarray | None = None
    claims: Arrays | None = None
    channels: tuple[str, ...] | None = None
    samples: Sequence[tuple[np.ndarray, np.ndarray]] | None = None
    identified: Arrays = field(default_factory=dict)
    message_bytes: float | None = None
    epsilon: float | None = None
    boxes: bool = True

    def pair(self, component: str) -> tuple[np.ndarray, np.ndarray] | None:
        """(attempt, truth) of a component, or None where one of them is absent."""
        if component not in self.attempt or component not in self.truth:
            return None
        return self.attempt[component], self.truth[component]


def compare(
    reconstruction: Reconstruction,
    private: PrivateSide,
    architecture: NetworkSpec | None = None,
    batch: int = 1,
    channels: tuple[str, ...] | None = None,
) -> Comparison:
    """Lays both sides beside each other.

    Where the attacker claims samples of an update over several transitions (`batch`), those are compared, in no order.

    An attacker who holds NaN or infinity holds nothing: for that victim the *whole* component is replaced by zeros (a
    black image, an empty box, the value 0; action -1, which no action is), is scored like any other guess, and the
    victim is marked as failed. So a diverged attack costs what a blank guess costs, never silently drops out of a mean,
    and is counted. Raises CorruptArtefactError where shapes do not fit or the private side itself is not finite.
    """
    if batch > 1 or reconstruction.claimed is not None:
        return _compare_claims(reconstruction, private, architecture, batch, channels)
    attempt: dict[str, np.ndarray] = {}
    truth: dict[str, np.ndarray] = {}
    failed = np.zeros(len(private.action), dtype=bool)
    for component in COMPONENTS:
        claimed, true = getattr(reconstruction, component, None), getattr(private, component, None)
        if claimed is None or true is None:
            continue
        claimed, true = (np.asarray(side).astype(np.float64) for side in (claimed, true))
        if claimed.shape != true.shape:
            raise CorruptArtefactError(
                f"the reconstructed {component} has shape {claimed.shape}, the private one {true.shape}; "
                "they belong to different victims: invert again"
            )
        if not np.isfinite(true).all():
            raise CorruptArtefactError(f"the private {component} holds NaN or Inf; simulate and share again")
        broken = ~np.isfinite(claimed).reshape(len(claimed), -1).all(axis=1)
        claimed[broken] = -1.0 if component == "action" else 0.0
        failed |= broken
        attempt[component], truth[component] = claimed, true
    seconds = _seconds(reconstruction, len(failed))
    reads = pixels_read(architecture) if architecture else None
    return Comparison(attempt, truth, failed, reads, seconds, channels=channels, boxes=private.layout is not None)


def _compare_claims(
    reconstruction: Reconstruction,
    private: PrivateSide,
    architecture: NetworkSpec | None,
    batch: int,
    channels: tuple[str, ...] | None,
) -> Comparison:
    updates = len(private) // batch
    if reconstruction.claimed is None or reconstruction.linear_input is None or private.linear_input is None:
        return Comparison({}, {}, np.zeros(updates, dtype=bool), seconds=_seconds(reconstruction, updates))
    claimed, attempt, truth = (
        np.asarray(side) for side in (reconstruction.claimed, reconstruction.linear_input, private.linear_input)
    )
    if claimed.shape != (updates, batch) or attempt.shape != (updates, batch, truth.shape[-1]):
        raise CorruptArtefactError(
            f"claims of shape {attempt.shape} do not fit {updates} updates over {batch} transitions of "
            f"{truth.shape[-1]} numbers; invert again"
        )
    failed = ~np.isfinite(attempt).reshape(updates, -1).all(axis=1)
    attempt = np.where(failed[:, None, None], 0.0, attempt)
    claims = score_claims(claimed, attempt, truth)
    samples = None
    if reconstruction.image is not None and private.image is not None:
        images, true = (np.asarray(side).astype(np.float64) for side in (reconstruction.image, private.image))
        broken = ~np.isfinite(images).reshape(updates, -1).all(axis=1)
        images[broken] = 0.0
        failed |= broken
        shown = np.zeros_like(true)
        for update, (rows, columns) in enumerate(samples_of_claims(claimed, attempt, truth)):
            shown[columns] = images[update][rows]
        samples = list(zip(np.split(shown, updates), np.split(true, updates), strict=True))
    return Comparison(
        {},
        {},
        failed,
        pixels_read(architecture) if architecture else None,
        _seconds(reconstruction, updates),
        claims,
        channels,
        samples,
    )


def told_apart(reconstruction: Reconstruction, private: PrivateSide) -> Reconstruction:
    """What is claimed of the samples of one update, laid beside them: row i is the claim about sample i of N.

    image: (N, C, H, W); vector: (N, D); where nothing is claimed they are zeros, which is black and an empty box.
    """
    claims, samples = np.zeros((2, 0), dtype=int)
    sides = reconstruction.claimed, reconstruction.linear_input, private.linear_input
    if all(side is not None for side in sides):
        claims, samples = samples_of_claims(*map(np.asarray, sides))[0]

    def ordered(attempt: Tensor | None) -> Tensor | None:
        if attempt is None:
            return None
        rows = attempt.new_zeros(len(private), *attempt.shape[2:])
        rows[samples] = attempt[0, claims]
        return rows

    return type(reconstruction)(
        image=ordered(reconstruction.image), vector=ordered(reconstruction.vector), metadata=reconstruction.metadata
    )


def _seconds(reconstruction: Reconstruction, victims: int) -> np.ndarray | None:
    spent = dict(reconstruction.metadata).get("seconds_per_victim")
    return None if spent is None else np.broadcast_to(np.asarray(spent, dtype=np.float64), (victims,)).copy()


def pixels_read(architecture: NetworkSpec) -> tuple[int, int] | None:
    """(rows, columns) of the image, from its upper left, that any convolution's output depends on.

    A convolution of kernel k, stride s and padding p that gives n outputs reads s (n - 1) + k - p inputs; what lies
    beyond never enters the gradient, so no attack can know it: 148 of 150 for conv 8x8/4, 4x4/2, 3x3/1. None if there
    is no image.
    """
    if architecture.image_shape is None:
        return None
    if not architecture.convolutions:
        return architecture.image_shape[1:]
    extents = []
    for axis in (1, 2):
        extent = architecture.feature_shapes[-1][axis]
        for layer in reversed(architecture.convolutions):
            extent = layer.stride * (extent - 1) + layer.kernel - layer.padding
        extents.append(min(extent, architecture.image_shape[axis]))
    return extents[0], extents[1]
