"""Auditing a network: reading it, counting its equations, attacking updates of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlleak.attacks.defaults import changed, default_settings
from rlleak.auditing.counting import AMPLE, LARGER_BATCH, LayerCount, active_shares, count
from rlleak.auditing.levels import EXACT, LIKELY, SILENT
from rlleak.auditing.measuring import Measurement, measure
from rlleak.auditing.observing import audited_batch, range_assumed
from rlleak.auditing.report import Audit, BranchCount, number
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError
from rlleak.learners.assembling import Branch
from rlleak.learners.batch import Batch
from rlleak.learners.inputs import Inputs
from rlleak.learners.networks import load_network
from rlleak.learners.reading import Reading, read
from rlleak.learners.stored import load_policy
from rlleak.registry import unknown_name
from rlleak.sharing.modules import capture_module, loss_of
from rlleak.sharing.transitions import observation_of, targeted
from rlleak.sharing.wire import Wire

COUNTED = 8
"""Random observations on which it is counted how many outputs are active."""
NO_BIAS = "No bias: linear layers would give their inputs up to a factor only"
NO_MASKS = ", and nothing would tell an attack which of a convolution's outputs are active"
LARGER = "Larger batch: every gradient becomes a sum over its samples, which can be told apart "
ONE_OUTPUT = "often through one value head (attack batch_heads)"
SHARED_ACTION = "where they share an action (attack batch_heads)"
_WIRE = frozenset(Wire.__dataclass_fields__)


def audit_network(
    network: nn.Module,
    observation_space: Any = None,
    *,
    loss: str | Any | None = None,
    batch: Batch | Mapping[str, Any] | None = None,
    observations: Any = None,
    attacks: Sequence[str] | None = None,
    updates: int | None = None,
    batch_size: int = 1,
    target_network: nn.Module | None = None,
    forward: Callable[..., Any] | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    title: str | None = None,
    assumptions: Sequence[str] = (),
    measured: bool = True,
    **options: Any,
) -> Audit:
    """What the gradients of a network leak.

    observation_space: a gymnasium Box or Dict, or shapes; default: that of batch or observations. An image's range,
    if it does not say it, is 0 to 255 where the network divides by as much, else 0 to 1, and the audit says so.
    loss: as `rlleak.share` takes it; default: "actor_critic" where the network gives a value, else "dqn". What is
    attacked: `batch`, your own transitions; or `observations`, your own (N, ...) with random actions and rewards;
    or random observations. Random ones are noise, for which no prior on images holds: bring your own to learn what
    images leak. updates: how many are attacked, the first of your own; default: all of your own, or 2 of random
    ones. attacks: names in rlleak.attacks.METHODS; default: closed_form and peel, or batch_heads for updates over
    `batch_size` > 1 transitions. settings: changes to their settings, by attack. measured: whether to attack at
    all. Further options: the loss's constants and how the update travels, as `rlleak.share` takes them.

    Raises ConfigurationError naming the layer that no attack can follow, and what would do; or the attack or the
    setting that there is not.
    """
    if attacks is None:
        attacks = ("closed_form", "peel") if batch_size == 1 else ("batch_heads",)
    chosen = _settings(attacks, settings or {})
    if observation_space is None:
        if batch is None and observations is None:
            raise ConfigurationError("audit needs observation_space: a gymnasium Box or Dict, or shapes")
        observation_space = Inputs.of_observation(observations if batch is None else observation_of(batch))
    wire = Wire(**{name: options.pop(name) for name in list(options) if name in _WIRE})
    reading = read(network, observation_space, forward=forward)
    with_value = any("value" in branch.outputs for branch in reading.branches)
    made = loss_of(loss or ("actor_critic" if with_value else "dqn"), options)
    like = next(iter(network.parameters()))
    random = batch is None and observations is None
    if updates is None and random:
        updates = 2
    count = None if updates is None else updates * batch_size
    own = audited_batch(reading, batch, observations, count, like, seed)
    assumptions = (*assumptions, *range_assumed(reading, observation_space, own))
    own = targeted(reading, network, target_network or network, made, own)
    counted = [_count(network, reading, index, own, random) for index in range(len(reading.branches))]
    measurements = []
    if measured:
        measurements = measure(
            network,
            reading,
            made,
            own,
            chosen,
            wire=wire,
            batch_size=batch_size,
            target_network=target_network,
            seed=seed,
            device=device,
        )
    else:  # as a check that such updates can be made at all
        capture_module(network, made, own.select(0), reading=reading, wire=wire)
    return Audit(
        title=title or type(network).__name__,
        branches=tuple(counted),
        summary=(*_summary(counted, reading), *_underway(wire), *_came_out(measurements, random)),
        advice=tuple(_advice(counted, reading)),
        measurements=tuple(measurements),
        loss=made.constants,
        wire=wire.description,
        batch_size=batch_size,
        observations={name: list(shape) for name, shape in reading.inputs.shapes.items()},
        random_observations=random,
        assumptions=tuple(assumptions),
        unread=reading.unread,
    )


def audit_file(
    path: str | Path,
    observation_space: Any,
    *,
    strides: Sequence[int] | None = None,
    activation: str | None = None,
    **options: Any,
) -> Audit:
    """As `audit_network`, of a policy that stable-baselines3 or CleanRL saved.

    torch's restricted unpickler (weights_only=True) builds tensors only. strides, activation: where the library's
    defaults are not the network's. Raises CorruptArtefactError for files that hold more than tensors,
    ConfigurationError for networks that are not known.
    """
    stored = load_policy(path, observation_space, strides=strides, activation=activation)
    assumptions = list(stored.assumptions)
    if stored.continuous:
        assumptions.append("actions are continuous: the means' layer is audited as if its outputs were logits")
    return audit_network(stored.network, stored.inputs, title=Path(path).name, assumptions=assumptions, **options)


def _settings(attacks: Sequence[str], changes: Mapping[str, Mapping[str, Any]]) -> list[AttackSettings]:
    """Each attack's settings, changed."""
    for name in changes:
        if name not in attacks:
            raise unknown_name("attack of this audit in settings", name, list(attacks))
    return [changed(default_settings(name), changes.get(name, {})) for name in attacks]


def _count(network: nn.Module, reading: Reading, index: int, batch: Batch, random: bool) -> BranchCount:
    branch: Branch = reading.branches[index]
    tensors = {name: value.detach() for name, value in network.named_parameters()}
    named = dict(batch.observation)
    if random and len(batch) < COUNTED:
        like = next(iter(named.values()))
        named = reading.inputs.random(COUNTED, torch.Generator().manual_seed(0), like)
    own = load_network(branch.spec, reading.parameters(tensors, index))
    shares = active_shares(own, reading.network_input(named, index))
    return BranchCount(" and ".join(branch.outputs), tuple(count(branch, shares)), branch.spec.activation)


def _summary(counted: Sequence[BranchCount], reading: Reading) -> list[str]:
    """What a person should know first."""
    said = []
    if len(counted) > 1:
        said.append("Actor and critic share no layer: each leaks on its own, and an update holds both.")
    for branch, read_as in zip(counted, reading.branches, strict=True):
        said.append(_sentence(branch, read_as, len(counted) > 1))
    return said


def _underway(wire: Wire) -> list[str]:
    """What happens to a gradient before it leaves: counts are about gradients, and less may arrive."""
    said = []
    if wire.clip_norm is not None:
        said.append("Clipped: where a gradient was shortened, how large the outputs' errors were stays hidden.")
    lossy = ["in float16"] if wire.precision != "float32" else []
    if wire.form == "weight_difference":
        lossy.append("as a difference of rounded weights")
    if wire.form != "gradient" and wire.optimiser != "SGD":
        lossy.append(f"as the first step of {wire.optimiser}")
    if lossy:
        said.append(f"Counted for exact gradients; they leave {' and '.join(lossy)}: see what was measured.")
    return said


def _came_out(measurements: Sequence[Measurement], random: bool) -> list[str]:
    """What was measured of the observation itself, in a sentence per attack that gave it back."""
    on = "random observations" if random else "your observations"
    words = {
        "image": lambda row: f"the image at {number(row.median)} dB of PSNR",
        "vector": lambda row: f"the vector with a relative error of {number(row.median)}",
        "samples found": lambda row: f"the features of {row.median:.0%} of a batch's samples",
    }
    said = []
    for row in measurements:
        if row.component in words and row.median is not None:
            said.append(
                f"Measured on {on} ({row.branch}): {row.attack} gives back {words[row.component](row)}, "
                f"median of {row.updates} updates, in {row.seconds:.1f} s each."
            )
    return said


def _advice(counted: Sequence[BranchCount], reading: Reading) -> list[str]:
    """What a missing bias, a larger stride or a larger batch would change, in sentences that name layers."""
    said = []
    layers = [layer for branch in counted for layer in branch.layers]
    convolutions = any(branch.spec.convolutions for branch in reading.branches)
    if any(layer.level == EXACT for layer in layers):
        said.append(NO_BIAS + NO_MASKS * convolutions + ".")
    for layer in layers:
        if layer.with_stride is not None and layer.role == "convolutions.0":
            said.append(
                f"Larger stride: '{layer.name}' would have {layer.with_stride:.2f} equations per unknown at twice its "
                f"stride, not {layer.ratio:.2f}."
            )
    single = any(branch.spec.outputs == 1 for branch in reading.branches)
    counts = f"; 'batch {LARGER_BATCH}' counts a convolution's equations if they are"
    said.append(LARGER + (ONE_OUTPUT if single else SHARED_ACTION) + counts * convolutions + ".")
    return said


def _sentence(counted: BranchCount, branch: Branch, alone: bool) -> str:
    layers: dict[str, LayerCount] = {layer.role: layer for layer in counted.layers}
    name = " and ".join(branch.outputs) if alone else "At batch 1"
    if silent := [layer for layer in counted.layers if layer.level == SILENT]:
        return (
            f"{name}: on these observations no output of '{silent[0].name}' is active, so no gradient reaches it or "
            "what is below: nothing of the observation leaks while that is so. Bring observations of your own."
        )
    linear = [layer for layer in counted.layers if not layer.convolution]
    if any(layer.level != EXACT for layer in linear):
        return f"{name}: without biases every linear layer's input leaks at batch 1, but only up to a factor."
    observed = (
        "the whole observation" if not branch.spec.convolutions else f"all {branch.spec.linear_inputs:,} features"
    )
    said = f"{name}: whoever sees an update over one transition reads {observed} and the outputs' errors exactly"
    if not branch.spec.convolutions:
        return said + "."
    short = [layer for layer in counted.layers if layer.convolution and layer.level != LIKELY]
    if not short:
        return f"{said}, and every convolution below has equations enough: {_image(layers)}."
    named = ", ".join(f"'{layer.name}' ({layer.ratio:.2f} equations per unknown)" for layer in short)
    return f"{said}; the image then only with a prior, for {named}."


def _image(layers: dict[str, LayerCount]) -> str:
    """What to expect of an image whose convolutions all have equations enough."""
    behind = layers.get("convolutions.1")
    equations = behind.gradient_equations + behind.forward_equations if behind else 0
    if equations >= AMPLE * layers["convolutions.0"].unknowns:
        return "expect the image itself (70 to 90 dB were measured)"
    return "expect the image to within about a grey level (63 to 72 dB were measured)"
