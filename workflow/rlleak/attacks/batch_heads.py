"""The samples of a batch, separated exactly by what a linear head and ReLUs leave in their summed gradient."""

import hashlib
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from rlleak.attacks import sample_values, separation
from rlleak.attacks.hidden_layers import (
    Head,
    Layer,
    Samples,
    Sharpen,
    before_linear_layers,
    has_biases_before,
    hidden_layers,
    trace,
)
from rlleak.attacks.running import Chunk, attack
from rlleak.attacks.separation import Columns, Space
from rlleak.attacks.subset_sums import LARGEST
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError
from rlleak.seeds import derive
from rlleak.sharing.update import SharedUpdate

_REVISIONS = 24
_PLAIN = 3
"""Revisions before the order in which columns are tried is shaken."""

_MARGIN = 2.0
"""The expected error is a standard deviation; a claim shall be true more often than that."""

_TOO_NOISY = 0.03
"""Share of a gradient that no batch of its size explains, beyond which no sample's error is as small as a claim's."""

_ROUNDING = 1e-13
_BEFORE = 0.1
"""Rounding decides whether features are above 0, so these biases are less exactly explained: 1e-2 in float16."""


def batch_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim takes, bytes: its update, its largest linear layer in float64."""
    shapes = update.architecture.parameter_shapes
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    largest = max(size for name, size in sizes.items() if not name.startswith("convolutions"))
    return 2 * next(iter(update.parameters.values())).element_size() * sum(sizes.values()) + 6 * 8 * largest


@attack(weighs=batch_bytes)
def batch_heads(chunk: Chunk) -> Mapping[str, Tensor]:
    """Every sample's linear_input, action, values and vector where a batch can be separated; nothing where not.

    Needs ReLUs, biases, and a last hidden layer wider than the batch. All components have shape (V, B, ...), in no
    meaningful order; rows where `claimed` (V, B) is false are zeros. A sample is claimed if its expected relative error
    is below half of `settings.separation.claim_error`, if feeding its input back activates exactly the neurons that its
    column says, if features behind a ReLU are not negative, and if all samples together explain the gradients of the
    head, of the hidden layers and of the biases before them. It is all or nothing: what one sample contributed is only
    known once all columns are (but not all need be claimed). Samples of one observation come out as one; their errors
    at one action as their sum. Trust: `rank`, `columns`, `claims`, `expected_error` (of the least sure claim),
    `residual_separation`, `residual_head`, `residual_before`, `error_unseen` (a shortened gradient, or Huber's error at
    its limit: some claim's target or reward is not known and left at 0), `action_unseen` (a policy of two actions:
    which one, and the return, is not known and left at 0), and `assumption_failed`: not the whole batch is claimed.

    No image: see `batch_images`. Raises ConfigurationError for another activation.
    """
    spec = chunk.update.architecture
    if spec.activation != "relu":
        raise ConfigurationError(
            f"attack 'batch_heads' reads ReLU masks and the network has {spec.activation}; choose another attack"
        )
    rows = []
    for victim in range(chunk.victims):
        row, _ = separate(chunk, chunk.update.select(slice(victim, victim + 1)))
        chunk.progress(f"separation {chunk.key}", victim + 1, chunk.victims, float(row["trust/residual_separation"]))
        rows.append(row)
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def separate(chunk: Chunk, update: SharedUpdate) -> tuple[dict[str, Tensor], Samples | None]:
    """One victim's components (B, ...) and trust; and its samples, in the same order, if all of them are claimed."""
    spec = update.architecture
    trust = dict.fromkeys(("rank", "columns", "claims", "error_unseen"), 0.0)
    trust["action_unseen"] = float(sample_values.action_unseen(update))
    trust |= dict.fromkeys(("expected_error", "residual_separation", "residual_head", "residual_before"), 1.0)
    found, whole = sample_values.nothing(update), None
    if spec.bias and spec.hidden:
        layers, head = hidden_layers(update)
        space = separation.column_space(layers[-1].gradient, update.batch_size)
        columns = candidates(chunk, update, space, head)
        trust |= {"rank": float(space.rank), "columns": float(len(columns)), "residual_separation": space.noise}
        sharpen = partial(sample_values.sharpened, update)
        samples = consistent_samples(space, columns, layers, head, sharpen)
        if samples is not None:
            explained = before_linear_layers(update, samples)
            values, claimed = sample_values.values(update, head, samples)
            claimed &= acceptable(chunk, update, space, samples, explained)
            found = sample_values.filled(update, values, claimed)
            trust |= {"residual_head": samples.unexplained, "residual_before": explained}
            trust |= {"claims": float(found["claimed"].sum())}
            whole = samples if trust["claims"] == update.batch_size else None
            if claimed.any():
                trust["expected_error"] = float(samples.error[claimed].max())
                hidden = sample_values.error_unseen(update, samples.errors * update.batch_size)
                trust["error_unseen"] = float(hidden[claimed].any())
    trust["assumption_failed"] = float(trust["claims"] < update.batch_size)
    device = chunk.device
    return found | {f"trust/{name}": torch.tensor(value, device=device) for name, value in trust.items()}, whole


def candidates(chunk: Chunk, update: SharedUpdate, space: Space, head: Head) -> Columns:
    """Columns for a loss whose errors stand at one output (DQN, a value head), and for any other.

    Where one-output columns do not span the space, two samples of the same observation may have had different actions:
    then they are one column of an error at several outputs.
    """
    outputs = len(head.weight)
    one_hot = torch.eye(outputs, dtype=head.weight.dtype, device=head.weight.device)
    found = separation.no_columns(space, head.weight)
    starts = one_hot - 1 / outputs
    if update.loss.get("kind") == "dqn" or outputs == 1:
        found, starts = separation.one_action_columns(space, head.weight), one_hot
    own = hashlib.sha256(head.gradient.cpu().contiguous().numpy().tobytes()).hexdigest()
    generator = torch.Generator().manual_seed(derive(chunk.seed, "batch_heads", own))
    rounds = chunk.settings.separation.rounds
    if (len(found) and space.rank == update.batch_size <= LARGEST) or space.noise > _TOO_NOISY:
        rounds = min(rounds, 4)  # the complete search missed a column to rounding, if any; or nothing can be claimed
    return separation.any_error_columns(space, head.weight, found, starts, generator, rounds)


def consistent_samples(
    space: Space, columns: Columns, layers: list[Layer], head: Head, sharpen: Sharpen
) -> Samples | None:
    """The samples of a set of columns that spans the space, revised until masks and samples agree; None without one.

    Where masks are nested or disjoint, differences or sums of columns also look like columns; their samples, fed back,
    activate other neurons than they should, and point to the true ones.
    """
    if not space.rank:
        return None
    order = columns.misfits.clone()
    best = None
    generator = torch.Generator().manual_seed(0)
    for turn in range(_REVISIONS):
        chosen = separation.independent(columns, space, head.weight, order)
        if len(chosen) < space.rank:
            return None
        samples = trace(layers, head, columns.take(chosen), sharpen)
        if best is None or samples.consistent.sum() > best.consistent.sum():
            best = samples
        if samples.consistent.all():
            break
        sure = samples.sure
        agree = ((columns.masks[:, None] == samples.masks[None]) | ~sure[None]).all(dim=2).any(dim=1)
        order = torch.where(agree, order - 1, order)
        order[chosen[~samples.consistent]] += 0.5
        if turn >= _PLAIN:
            order = order + torch.rand(len(order), generator=generator, dtype=order.dtype).to(order.device)
    return best


def acceptable(chunk: Chunk, update: SharedUpdate, space: Space, samples: Samples, explained: float) -> Tensor:
    """Which samples may be claimed, (s,): all that is known of them without the truth.

    The head's gradient must be explained to within what the samples' own uncertainty allows. Fewer columns than
    samples: some sample contributed nothing, or two of one action activated the same neurons and are one column. The
    second is excluded by the biases before the linear layers, to which each sample's own zeros matter; or else as many
    columns must be seen to be mixtures as samples are missing: then each of these is of two, all others of one.
    """
    claim_error = chunk.settings.separation.claim_error
    whole = samples.unexplained < 30 * max(space.noise, _ROUNDING)
    missing = update.batch_size - space.rank
    mixed = torch.zeros_like(samples.consistent)
    if missing and explained >= claim_error / 10:
        mixed = sample_values.mixed_vectors(update, samples)
        whole = whole and int(mixed.sum()) == missing
    elif has_biases_before(update):
        whole = whole and explained < _BEFORE
    return samples.consistent & ~mixed & (_MARGIN * samples.error < claim_error) & whole
