"""How an attack is run: its victims cut to fit into memory, its starting points drawn, its time and memory noted."""

import hashlib
import inspect
import math
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlleak.artefacts import device_name, provenance
from rlleak.attacks import METHODS
from rlleak.attacks.checkpoints import Checkpoint, fingerprint
from rlleak.attacks.passes import Entry, GradientMatching
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.attacks.targets import LossName
from rlleak.attacks.weights import WIDE
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.registry import Method, unknown_name
from rlleak.seeds import derive
from rlleak.sharing.update import SharedUpdate

Progress = Callable[[str, int, int, float], None]
"""Called with stage, gradient evaluations done, evaluations in all (of this piece of work), mean matching loss."""

CPU_ROWS = 16
"""Candidates at once on a CPU: more gain nothing (S1, one thread of a busy machine, milliseconds of CPU time per
candidate and iteration: 9.0 at 4, 6.9 at 8, 6.5 at 16, 24 and 32)."""


@dataclass
class Chunk:
    """Some victims of an update, on the device, as an attack's steps see them."""

    update: SharedUpdate
    settings: AttackSettings
    seed: int
    key: str
    checkpoint: Checkpoint
    progress: Progress
    knowledge: Mapping[str, Any] = field(default_factory=dict)
    _targets: dict = field(default_factory=dict)

    def matching(self, entry: Entry, loss: LossName = "cosine", rows: Tensor | None = None) -> GradientMatching:
        """Gradient matching against these victims' updates, one candidate each or as `rows` says."""
        return GradientMatching(self.update, entry, loss, rows, self._targets)

    @property
    def device(self) -> torch.device:
        return next(iter(self.update.parameters.values())).device

    @property
    def victims(self) -> int:
        return len(self.update)

    @property
    def rows(self) -> Tensor:
        """For each candidate its victim, (victims * restarts,)."""
        victims = torch.arange(self.victims, device=self.device)
        return victims.repeat_interleave(self.settings.restarts)

    def noise(self, name: str, *shape: int) -> Tensor:
        """Standard Gaussian noise for each candidate, (victims * restarts, *shape).

        It depends on the seed, the name, the victim's own update and the restart, never on how victims were cut.
        """
        drawn = []
        for victim in range(self.victims):
            own = name_of(self.update, victim)
            for restart in range(self.settings.restarts):
                generator = torch.Generator().manual_seed(derive(self.seed, name, own, restart))
                drawn.append(torch.randn(shape, generator=generator))
        dtype = next(iter(self.update.parameters.values())).dtype
        return torch.stack(drawn).to(self.device, dtype)

    def best(self, values: Mapping[str, Tensor], loss: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Each victim's restart of lowest matching loss, and that loss: the truth has no say in it."""
        loss = loss.view(self.victims, self.settings.restarts)
        loss, chosen = loss.min(dim=1)
        index = torch.arange(self.victims, device=self.device) * self.settings.restarts + chosen
        return {name: value[index] for name, value in values.items()}, loss

    def report(self, stage: str, total: int) -> Callable[[int, Tensor], None]:
        """What an optimisation reports to."""
        every = max(1, total // 100)

        def told(iteration: int, loss: Tensor) -> None:
            if (iteration + 1) % every == 0 or iteration + 1 == total:
                self.progress(f"{stage} {self.key}", iteration + 1, total, float(loss.mean()))

        return told


def name_of(update: SharedUpdate, victim: int) -> str:
    """What tells a victim's update from others, wherever it stands among them."""
    own = hashlib.sha256()
    for key in ("head.weight", "head.bias"):
        if key in update.gradients:
            # As bytes: numpy knows no bfloat16.
            own.update(update.gradients[key][victim].cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return own.hexdigest()


Steps = Callable[[Chunk], Mapping[str, Tensor]]
"""An attack's steps on some victims: components of a reconstruction, and its trust as "trust/<name>"."""


def attack(
    weighs: Callable[[SharedUpdate, AttackSettings], int] | None = None,
) -> Callable[[Steps], Callable[..., Reconstruction]]:
    """Makes the attack of that name in `rlleak.attacks.METHODS` of its steps on some victims.

    weighs: an upper estimate of the bytes that one victim takes; default: gradient matching's.
    """

    def made(steps: Steps) -> Callable[..., Reconstruction]:
        if steps.__name__ not in METHODS:
            raise unknown_name("method", steps.__name__, list(METHODS))
        method = METHODS[steps.__name__]

        def run(
            update: SharedUpdate,
            settings: AttackSettings,
            *,
            seed: int,
            device: str | torch.device = "cpu",
            memory_limit: int | None = None,
            checkpoint: Path | None = None,
            progress: Progress | None = None,
            knowledge: Mapping[str, Any] | None = None,
        ) -> Reconstruction:
            """Attacks all victims of an update.

            seed: the attacker's. memory_limit: bytes that tensors may hold at once. checkpoint: where work in progress
            is kept, or None; the caller removes it. knowledge: what else the attacker has, by the names that
            `rlleak.attacks.METHODS` gives for this attack; never a victim's. Raises ConfigurationError for another
            loss, for updates over more than one transition (unless the attack separates them) and for settings without
            step sizes or iterations; CorruptArtefactError for an update that does not fit its architecture;
            ResourceError if not even one victim fits into memory.
            """
            update.check()
            update = update if settings.adaptive else update.taken_as_whole()
            _check(update, settings, method)
            on = torch.device(device)
            if on.type == "cuda":
                torch.cuda.reset_peak_memory_stats(on)
            size = chunk_size(update, settings, on, memory_limit, weighs or victim_bytes)
            told = knowledge or {}
            described = settings.model_dump(mode="json")
            kept = Checkpoint(checkpoint, fingerprint(update, described, seed, size, told) if checkpoint else "")
            parts = []
            for start in range(0, len(update), size):
                piece = update.select(slice(start, start + size)).to(on)
                key = f"{start}-{start + len(piece) - 1}"
                chunk = Chunk(piece, settings, seed, key, kept, progress or (lambda *said: None), told)
                with torch.no_grad():
                    found = dict(steps(chunk))
                found["trust/zero_update"] = zero_update(piece)
                if (failed := found.get("trust/assumption_failed")) is not None:
                    found["trust/assumption_failed"] = torch.maximum(failed, diverged(found).to(failed))
                parts.append({name: value.cpu() for name, value in found.items()})
            return assemble(_joined(parts), settings, on, kept.seconds / len(update))

        run.__name__, run.__qualname__, run.__module__ = steps.__name__, steps.__qualname__, steps.__module__
        run.__doc__ = f"{steps.__doc__}\n\n{inspect.cleandoc(run.__doc__)}"
        return run

    return made


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """All victims' tensors, name -> (V, ...); NaN for those of whom an attack does not say it."""
    like = {name: value for part in parts for name, value in part.items()}
    return {name: torch.cat([_of_piece(part, name, value) for part in parts]) for name, value in like.items()}


def _of_piece(part: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    return part[name] if name in part else like.new_full((len(part["trust/zero_update"]), *like.shape[1:]), math.nan)


def assemble(
    found: Mapping[str, Tensor], settings: AttackSettings, device: torch.device, seconds_per_victim: float
) -> Reconstruction:
    """A reconstruction from named tensors, with where it comes from."""
    metadata: dict[str, Any] = {
        "attack": settings.method,
        "settings": settings.model_dump(mode="json"),
        "seconds_per_victim": seconds_per_victim,
        "peak_memory_mb": peak_memory(device) / 2**20,
        "device": device_name(device),
        "provenance": provenance(),
    }
    trust = {name.removeprefix("trust/"): value for name, value in found.items() if name.startswith("trust/")}
    components = {name: value for name, value in found.items() if not name.startswith("trust/")}
    return Reconstruction(**components, trust=trust, metadata=metadata)


def zero_update(update: SharedUpdate) -> Tensor:
    """1 where a victim shared nothing but zeros (no error, or no ReLU alive), else 0, (V,)."""
    silent = [gradient.flatten(1).abs().amax(dim=1) == 0 for gradient in update.gradients.values()]
    return torch.stack(silent).all(dim=0).float()


def diverged(found: Mapping[str, Tensor]) -> Tensor:
    """1 for victims of whom some component is NaN or infinite, else 0, (V,)."""
    parts = [value for name, value in found.items() if not name.startswith("trust/") and value.is_floating_point()]
    finite = [value.flatten(1).isfinite().all(dim=1) if value.dim() > 1 else value.isfinite() for value in parts]
    return 1 - torch.stack(finite).all(dim=0).float()


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that torch held on a GPU since the attack began, or that this process ever held on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process_peak()


def process_peak() -> int:
    """Bytes: the most that this process ever held."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # Not ru_maxrss, which starts from what the parent held.
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def chunk_size(
    update: SharedUpdate,
    settings: AttackSettings,
    device: torch.device,
    memory_limit: int | None,
    weighs: Callable[[SharedUpdate, AttackSettings], int],
) -> int:
    """How many victims are attacked at once. Raises ResourceError if the limit is too low for one."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        memory_limit = min(memory_limit or free, int(0.8 * free))
    shared = network_bytes(update)
    each = weighs(update, settings)
    most = len(update) if device.type == "cuda" else max(1, CPU_ROWS // settings.restarts)
    if memory_limit is not None:
        if shared + each > memory_limit:
            raise ResourceError(
                f"one victim of {settings.method} takes {(shared + each) / 2**30:.2g} GB and the limit is "
                f"{memory_limit / 2**30:.2g} GB; raise memory_limit_gb"
            )
        most = min(most, (memory_limit - shared) // each)
    pieces = -(-len(update) // most)
    return -(-len(update) // pieces)


def network_bytes(update: SharedUpdate) -> int:
    """Upper estimate of what the network takes, bytes: a wide weight lies there twice more, as panels for a CPU."""
    sizes = [parameter.numel() * parameter.element_size() for parameter in update.parameters.values()]
    return sum(sizes) + 2 * sum(size for size in sizes if size >= WIDE * 4)


def attack_bytes(update: SharedUpdate, settings: AttackSettings, victims: int) -> int:
    """Upper estimate of what gradient matching of so many victims at once takes, bytes."""
    return network_bytes(update) + victims * victim_bytes(update, settings)


def victim_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim and its restarts take, bytes (measured: 0.7 of it in S1)."""
    spec, numbers = update.architecture, 0
    sizes = [spec.image_shape, *spec.feature_shapes] if spec.image_shape is not None else []
    for shape in sizes:
        numbers += 12 * shape[0] * shape[1] * shape[2]
    numbers += 12 * (spec.linear_inputs + sum(spec.hidden))
    shapes = spec.parameter_shapes
    kernels = sum(_count(shape) for name, shape in shapes.items() if name.startswith("convolutions"))
    linear = sum(_count(shape) for name, shape in shapes.items() if not name.startswith("convolutions"))
    # The update itself, once more while its rank is checked, and once per restart if its rank is not 1.
    element = next(iter(update.parameters.values())).element_size()
    return element * ((numbers + 6 * kernels) * settings.restarts + linear * (2 + settings.restarts))


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def _check(update: SharedUpdate, settings: AttackSettings, method: Method) -> None:
    kind = update.loss.get("kind")
    if kind not in method.learners:
        takes = " or ".join(method.learners)
        raise ConfigurationError(f"attack '{settings.method}' takes {takes} updates, not {kind}; choose another attack")
    if update.batch_size != 1 and not method.batches:
        raise ConfigurationError(
            f"attack '{settings.method}' takes updates over one transition, not {update.batch_size}; set batch size 1"
        )
    for name, stage in settings.stages.items():
        for value in ("step_size", "iterations"):
            if getattr(stage, value) is None:
                raise ConfigurationError(f"attack '{settings.method}': {name}.{value} is not set; tune it first")
