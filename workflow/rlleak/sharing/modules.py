"""Updates of a user's own torch module: what a server would see, in the words that attacks know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlleak.configuration.defences import parts_of
from rlleak.errors import ConfigurationError
from rlleak.learners import LOSSES
from rlleak.learners.batch import Batch
from rlleak.learners.critic import CriticLoss
from rlleak.learners.inputs import Inputs
from rlleak.learners.loss import Loss
from rlleak.learners.reading import Reading, read
from rlleak.learners.refusals import check_module
from rlleak.registry import unknown_name
from rlleak.seeds import derive
from rlleak.sharing.defences import applied, shortens, stacked
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.sending import Client, Sent
from rlleak.sharing.transitions import as_batch, check_shapes, observation_of, targeted, tensors_of_file
from rlleak.sharing.update import SharedUpdate
from rlleak.sharing.wire import Wire

_WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and data parallelism put before parameters' names."""
ERRORS = ("squared", "huber")
"""What `rlleak.learners.dqn.DQNLoss` may make of the difference between Q-value and target."""


@dataclass(frozen=True)
class CapturedUpdate(SharedUpdate):
    """A shared update of a user's module: attacks take it as any other.

    reading: how the module was understood; `reading.observation(...)` turns a reconstruction's image and vector into
    the module's own observations. branch: which of its branches this is the update of. sent: name -> (V, *shape), what
    left the device, by the module's own parameter names. wire: how.
    """

    reading: Reading | None = None
    branch: int = 0
    sent: Mapping[str, Tensor] = field(default_factory=dict)
    wire: Wire = field(default_factory=Wire)

    def select(self, victims: slice | Tensor) -> CapturedUpdate:
        """The same update for some of its victims."""
        return replace(super().select(victims), sent={name: tensor[victims] for name, tensor in self.sent.items()})

    def observation(self, reconstruction: Any) -> dict[str, Tensor]:
        """A reconstruction's image and vector as the module's observations: names, shapes and units are its own.

        Raises ConfigurationError where the attack gave neither.
        """
        given = {name: getattr(reconstruction, name) for name in ("image", "vector")}
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            raise ConfigurationError("the reconstruction holds no image and no vector; closed_form gives no image")
        return self.reading.observation(given, self.branch)


def loss_of(loss: Any, constants: Mapping[str, Any]) -> Any:
    """A loss by name and constants, or one that is there. Raises ConfigurationError for constants it does not have."""
    if constants.get("error", ERRORS[0]) not in ERRORS:
        raise unknown_name("error of a loss", str(constants["error"]), list(ERRORS))
    if not isinstance(loss, str | Loss):
        raise ConfigurationError(
            f"loss is a {type(loss).__name__}; give dqn, reinforce, actor_critic or ppo, or a loss of rlleak.learners"
        )
    kind = LOSSES.load(loss) if isinstance(loss, str) else partial(replace, loss)
    try:
        made = kind(**constants)
    except TypeError as error:
        known = ", ".join(each.name for each in fields(kind if isinstance(loss, str) else loss))
        name = loss if isinstance(loss, str) else loss.kind
        raise ConfigurationError(f"loss '{name}' has the constants {known}; not: {', '.join(constants)}") from error
    if getattr(made, "residual", False) or isinstance(made, CriticLoss):
        raise ConfigurationError(
            "a module's loss must be a function of its output for one observation; critics beside an actor, and "
            "residual gradients, are studied by the workflow: config/experiments"
        )
    return made


@torch.enable_grad()
def capture_module(
    module: nn.Module,
    loss: Any,
    batch: Batch | Mapping[str, Any],
    *,
    observation_space: Any = None,
    target_network: nn.Module | None = None,
    forward: Callable[..., Any] | None = None,
    output: str | None = None,
    batch_size: int | None = None,
    wire: Wire | None = None,
    reading: Reading | None = None,
    defence: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> CapturedUpdate:
    """The updates that a device with this network shares; `rlleak.share` says what is what.

    defence: an entry as in config/defences.yaml, applied to what leaves; seed: of what it draws.

    Raises ConfigurationError for modules that no attack can handle and for batches that do not fit.
    """
    wire = wire or Wire()
    check_module(module)
    parameters = dict(module.named_parameters())
    like = next(iter(parameters.values()))
    space = observation_space or Inputs.of_observation(observation_of(batch))
    batch = as_batch(batch, like)
    reading = reading or read(module, space, forward=forward)
    check_shapes(reading, batch)
    frozen = [name for name, value in parameters.items() if not value.requires_grad and name not in reading.unread]
    if frozen:
        raise ConfigurationError(f"parameter '{frozen[0]}' is frozen, so its gradient never leaves; requires_grad_()")
    batch = targeted(reading, module, target_network or module, loss, batch)
    size = len(batch) if batch_size is None else batch_size
    if not isinstance(size, int) or size < 1 or len(batch) % size:
        raise ConfigurationError(f"{len(batch)} transitions cannot be cut into updates over {size} each")
    parameters = {name: value for name, value in parameters.items() if value.requires_grad}
    if defence is not None and wire != Wire() and any(part["method"] == "local_steps" for part in parts_of(defence)):
        raise ConfigurationError(
            "defence 'local_steps' is itself how the weights moved, by SGD; leave out form, clip_norm, optimiser, "
            "precision and what goes with them"
        )
    sent = []
    for start in range(0, len(batch), size):
        part = batch.select(slice(start, start + size))
        value = loss(reading.outputs(module, part.observation), part)
        gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        named = {
            name: torch.zeros_like(parameter) if gradient is None else gradient
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        }
        leaving = Sent(wire.send({name: value.detach() for name, value in parameters.items()}, named))
        if defence is not None:
            client = Client(
                torch.Generator().manual_seed(derive(seed, start // size)),
                reading.roles(),
                parameters={name: value.detach() for name, value in parameters.items()},
                gradient=training_of(module, partial(_objective, loss, reading, part)),
                transitions=size,
            )
            leaving = applied(leaving, client, defence)
        sent.append(leaving)
    gradients, known = stacked(sent)
    update = received(module, gradients, loss, reading=reading, output=output, batch_size=size, wire=wire, known=known)
    if defence is None:
        return update
    constants = {**update.loss, "shortened": True} if shortens(defence, sent) else update.loss
    return replace(update, loss=constants, defence=dict(defence))


def _objective(loss: Any, reading: Reading, batch: Batch, module: nn.Module, rows: Tensor) -> Tensor:
    part = batch.select(rows)
    return loss(reading.outputs(module, part.observation), part)


def received(
    module: nn.Module,
    sent: Mapping[str, Tensor],
    loss: Any,
    *,
    reading: Reading,
    output: str | None = None,
    batch_size: int = 1,
    wire: Wire | None = None,
    known: Mapping[str, Tensor] | None = None,
) -> CapturedUpdate:
    """What a server makes of what arrived, name -> (V, *shape) by the module's parameter names.

    known: which entries of a tensor arrived, (V, *shape) bool, where not all did.
    Raises ConfigurationError where names or shapes are not the module's, CorruptArtefactError for NaN or Inf.
    """
    wire, branch = wire or Wire(), reading.branch_of(output)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigurationError(f"batch_size is {batch_size}; give a whole number of transitions, at least 1")
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    needed = {name for name in parameters if name not in reading.unread}
    if missing := sorted(needed - set(sent)):
        raise ConfigurationError(f"the update lacks '{missing[0]}'; its names must be the module's named_parameters()")
    for name in needed:
        if tuple(sent[name].shape[1:]) != tuple(parameters[name].shape):
            raise ConfigurationError(
                f"'{name}' of the update has shape {tuple(sent[name].shape[1:])} and the module's "
                f"{tuple(parameters[name].shape)}; give one update per leading entry (V, *shape)"
            )
    counts = {name: len(sent[name]) for name in sorted(needed)}
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if not 0 < counts[fewest] == counts[most]:
        raise ConfigurationError(
            f"there are {counts[fewest]} updates of '{fewest}' and {counts[most]} of '{most}'; give as many of each "
            "tensor, and at least one"
        )
    victims = []
    for victim in range(counts[fewest]):
        own = {name: sent[name][victim].to(parameters[name].device) for name in needed}
        victims.append(reading.gradients(wire.read(own, parameters), branch))
    gradients = {name: torch.stack([each[name] for each in victims]) for name in victims[0]}
    masks = _masks(reading, branch, sent, known) if known else {}
    gradients |= {name: gradients[name] * mask for name, mask in masks.items()}
    constants = {**loss.constants, "outputs": list(reading.branches[branch].outputs)}
    constants |= {"wire": wire.description}
    if wire.clip_norm is not None and wire.form == "gradient":
        lengths = [value.double().reshape(len(value), -1).norm(dim=1) for value in sent.values()]
        norms = torch.stack(lengths).norm(dim=0)
        constants["shortened"] = bool((norms >= 0.999 * wire.clip_norm).any())
    elif wire.clip_norm is not None:
        constants["shortened"] = True  # as far as the server can tell
    return CapturedUpdate(
        reading.branches[branch].spec,
        reading.parameters(parameters, branch),
        gradients,
        constants,
        batch_size,
        reading,
        branch,
        dict(sent),
        wire,
        known=masks,
    ).check()


def _masks(reading: Reading, branch: int, sent: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is known of the specification's gradients, (V, *shape) bool, of tensors of which that is not all."""
    whole = {name: torch.ones_like(value, dtype=torch.bool) for name, value in sent.items()} | dict(known)
    victims = [
        reading.known({name: mask[victim] for name, mask in whole.items()}, branch)
        for victim in range(len(next(iter(sent.values()))))
    ]
    masks = {name: torch.stack([each[name] for each in victims]) for name in victims[0]}
    return {name: mask for name, mask in masks.items() if not bool(mask.all())}


def received_file(path: str | Path, module: nn.Module, loss: Any, **how: Any) -> CapturedUpdate:
    """An update captured elsewhere: safetensors with a tensor per parameter, under the module's names.

    One update has the parameters' shapes, V of them (V, *shape). how: as `received` takes it.
    """
    sent = tensors_of_file(path)
    for prefix in _WRAPPERS:
        if not any(name in sent for name, _ in module.named_parameters()):
            sent = {name.removeprefix(prefix): value for name, value in sent.items()}
    shapes = {name: value.dim() for name, value in module.named_parameters()}
    single = all(value.dim() == shapes[name] for name, value in sent.items() if name in shapes)
    return received(module, {name: value[None] if single else value for name, value in sent.items()}, loss, **how)
