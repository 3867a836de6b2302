"""What a module does with an observation, seen by watching one forward pass: which layers, on which numbers.

Every torch function that the forward pass calls is seen (torch.overrides.TorchFunctionMode), so Python's control flow,
dictionaries of observations and any naming of submodules are no obstacle, as they are to symbolic tracing. Beside each
tensor stand the numbers that it is made of: for each element its source (an element of an observation, or of a layer's
output) and an affine map of it. Reshaping, permuting and concatenating are done to the sources as they are done to the
tensor.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rlleak.errors import ConfigurationError
from rlleak.learners.elements import Elements, Foreign, Source, Watched, WatchedLayer
from rlleak.learners.refusals import RESHAPING, reason_against

SAMPLES = 2
_ACTIVATIONS = frozenset(("relu", "tanh", "elu", "leaky_relu", "silu", "gelu", "sigmoid"))
_SAME = frozenset(
    ("float", "double", "to", "type", "type_as", "as_tensor", "contiguous", "clone", "alias", "requires_grad")
)
_AFFINE: dict[str, Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]] = {
    "add": lambda scale, offset, by: (scale, offset + by),
    "sub": lambda scale, offset, by: (scale, offset - by),
    "rsub": lambda scale, offset, by: (-scale, by - offset),
    "mul": lambda scale, offset, by: (scale * by, offset * by),
    "div": lambda scale, offset, by: (scale / by, offset / by),
    "true_divide": lambda scale, offset, by: (scale / by, offset / by),
}


def watch(module: nn.Module, forward: Callable[..., Any], observation: Any, names: Mapping[int, str]) -> Watched:
    """Watches forward(module, observation), observation being a tensor, a tuple or a dict of tensors (SAMPLES, ...).

    names: id of each observation's tensor -> its name. Raises ConfigurationError if an output is anything but linear
    layers of what attacks can follow; it names the layer and the mend.
    """
    watcher = _Watcher(module)
    for tensor in tensors_in(observation):
        watcher.add_source(tensor, names[id(tensor)], None)
    with torch.no_grad(), watcher.layer_names(), watcher:
        returned = forward(module, observation)
    for path, tensor in _named_tensors(returned):
        if not tensor.is_floating_point():
            continue  # an action that was drawn
        state = watcher.state(tensor)
        if state is None:
            raise ConfigurationError(f"{path or 'what the network returns'} does not depend on the observation")
        if isinstance(state, Foreign):
            raise ConfigurationError(state.reason)
        watcher.watched.outputs.append((path, watcher.one_sample(state, path or "the output")))
    if not watcher.watched.outputs:
        raise ConfigurationError(
            "the network returns no tensor; give forward=, a function that returns Q-values or logits"
        )
    return watcher.watched


class _Watcher(TorchFunctionMode):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.watched = module, Watched()
        self.parameters = {id(parameter): name for name, parameter in module.named_parameters()}
        self._states: dict[int, tuple[Tensor, Elements | Foreign]] = {}
        self._where = [""]
        self._next = 0

    @contextmanager
    def layer_names(self) -> Iterator[None]:
        """Knows, while it lasts, in which submodule the forward pass is."""
        handles = []
        for name, part in self.module.named_modules():
            handles.append(part.register_forward_pre_hook(lambda *_, name=name: self._where.append(name)))
            handles.append(part.register_forward_hook(lambda *_: void(self._where.pop()), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def where(self) -> str:
        return f"layer '{self._where[-1]}'" if self._where[-1] else "the network's forward"

    def state(self, tensor: Any) -> Elements | Foreign | None:
        kept = self._states.get(id(tensor)) if isinstance(tensor, Tensor) else None
        return None if kept is None else kept[1]

    def add_source(
        self, tensor: Tensor, name: str, layer: WatchedLayer | None, activation: str | None = None
    ) -> Elements:
        """New elements for all of a tensor's (samples, ...) numbers."""
        source = Source(name, self._next, tuple(tensor.shape[1:]), layer, activation)
        self._next += source.size
        self.watched.sources.append(source)
        slot = torch.arange(source.start, self._next).view(1, *source.shape).expand(len(tensor), *source.shape).clone()
        state = Elements(
            slot, torch.ones(slot.shape, dtype=torch.float64), torch.zeros(slot.shape, dtype=torch.float64)
        )
        self._keep(tensor, state)
        return state

    def one_sample(self, state: Elements, what: str) -> Elements:
        """The first sample's elements. Raises ConfigurationError where samples are mixed."""
        if state.slot.dim() == 0 or len(state.slot) != SAMPLES or not torch.equal(state.slot[0], state.slot[-1]):
            raise ConfigurationError(f"{what} mixes the samples of a batch; let its first dimension be the batch's")
        return Elements(state.slot[0], state.scale[0], state.offset[0])

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        kwargs = kwargs or {}
        met = [tensor for tensor in tensors_in((args, kwargs)) if self.state(tensor) is not None]
        if not met or getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        try:
            new = self._follow(name.strip("_"), func, args, kwargs)
        except _Unfollowed as odd:
            new = Foreign(str(odd))
        if name == "batch_norm" and kwargs.get("training") and args[1] is not None:
            kwargs = dict(kwargs) | {"training": False}  # watching must not move a user's running statistics
        try:
            result = func(*args, **kwargs)
        except (RuntimeError, IndexError, TypeError) as error:
            if isinstance(new, Foreign) and isinstance(args[0], Tensor):  # an embedding takes integers only
                raise ConfigurationError(new.reason) from error
            raise
        for position, tensor in enumerate(tensors_in(result)):
            if new is None:
                continue
            if isinstance(new, WatchedLayer | str):
                self._add_layer_output(tensor, new, met[0])
            else:
                self._keep(tensor, new[position] if isinstance(new, list) else new)
        return result

    def _follow(self, name: str, func: Callable, args: tuple, kwargs: Mapping) -> Any:
        """The result's state: elements or a list of them, a new layer, an activation's name, or None (no numbers)."""
        states = [state for tensor in tensors_in((args, kwargs)) if (state := self.state(tensor)) is not None]
        if foreign := next((state for state in states if isinstance(state, Foreign)), None):
            return foreign
        if name in ("conv2d", "linear"):
            return self._layer(name, args, kwargs)
        if name in _ACTIVATIONS:
            return name
        if name in _SAME or (name == "dropout" and not _drops(args, kwargs)):
            return states[0]
        if name in RESHAPING:
            return self._reshaped(name, func, args, kwargs)
        if name.removeprefix("r") in _AFFINE and len(states) == 1 and not kwargs and len(args) == 2:
            return self._affine(name, args)
        raise _Unfollowed(reason_against(name, self.where))

    def _layer(self, name: str, args: tuple, kwargs: Mapping) -> WatchedLayer:
        keys = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = dict(zip(keys, args, strict=False)) | dict(kwargs)
        weight, bias = given["weight"], given.get("bias")
        if id(weight) not in self.parameters or (bias is not None and id(bias) not in self.parameters):
            raise _Unfollowed(reason_against("computed weight", self.where))
        state = self.state(given["input"])
        if state is None:  # the observation-dependent tensor is the weight
            raise _Unfollowed(reason_against("computed weight", self.where))
        weight_name = self.parameters[id(weight)]
        if any(source.layer and source.layer.weight == weight_name for source in self.watched.sources):
            raise _Unfollowed(reason_against("used twice", self.where))
        inputs = self.one_sample(state, f"the input of {self.where}")
        stride, padding = (_square(given.get(key, default)) for key, default in (("stride", 1), ("padding", 0)))
        if name == "conv2d":
            if given.get("padding") == "same":
                padding = (weight.shape[-1] - 1) // 2 if weight.shape[-1] % 2 and stride == 1 else None
            if _square(given.get("dilation", 1)) != 1:
                raise _Unfollowed(reason_against("dilation", self.where))
            if given.get("groups", 1) != 1:
                raise _Unfollowed(reason_against("groups", self.where))
            if stride is None or padding is None or weight.shape[-1] != weight.shape[-2]:
                raise _Unfollowed(reason_against("not square", self.where))
        bias_name = None if bias is None else self.parameters[id(bias)]
        return WatchedLayer(
            weight_name.removesuffix(".weight"),
            weight_name,
            bias_name,
            tuple(weight.shape),
            inputs,
            (),
            stride,
            padding,
        )

    def _add_layer_output(self, tensor: Tensor, new: WatchedLayer | str, given: Tensor) -> None:
        if isinstance(new, WatchedLayer):
            layer = WatchedLayer(**vars(new) | {"output_shape": tuple(tensor.shape[1:])})
            self.add_source(tensor, layer.name, layer)
            return
        # An activation acts on each element: each source gets a twin behind it, in whatever order they stand.
        state = self.state(given)
        slot, sources = state.slot.clone(), self.watched.sources_of(state.slot)
        untouched = bool((state.scale == 1).all() and (state.offset == 0).all())
        if not untouched or any(source.layer is None or source.activation is not None for source in sources):
            self._keep(tensor, Foreign(reason_against("activation", self.where)))
            return
        for source in sources:
            twin = Source(source.name, self._next, source.shape, source.layer, new)
            self._next += twin.size
            self.watched.sources.append(twin)
            own = (state.slot >= source.start) & (state.slot < source.start + source.size)
            slot[own] += twin.start - source.start
        self._keep(tensor, Elements(slot, state.scale, state.offset))

    def _reshaped(self, name: str, func: Callable, args: tuple, kwargs: Mapping) -> Elements | list[Elements]:
        results = []
        for part in ("slot", "scale", "offset"):

            def replaced(value: Any, part: str = part) -> Any:
                if isinstance(value, Tensor):
                    state = self.state(value)
                    if state is None and value.is_floating_point():
                        raise _Unfollowed(reason_against("constant beside", self.where))
                    return value if state is None else getattr(state, part)
                if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
                    return type(value)(replaced(item) for item in value)
                return value

            done = func(*replaced(args), **{key: replaced(value) for key, value in kwargs.items()})
            results.append(list(tensors_in(done)))
        return [Elements(*parts) for parts in zip(*results, strict=True)]

    def _affine(self, name: str, args: tuple) -> Elements:
        first = self.state(args[0])
        state, by = (first, args[1]) if first is not None else (self.state(args[1]), args[0])
        if isinstance(by, Tensor) and by.requires_grad:
            raise _Unfollowed(reason_against("computed weight", self.where))
        by = by.detach().cpu().double() if isinstance(by, Tensor) else by
        if isinstance(by, Tensor) and by.dim() == state.slot.dim() and len(by) != 1:
            raise _Unfollowed(reason_against("computed weight", self.where))
        plain = name if name in _AFFINE else name.removeprefix("r")
        # a - z and a / z where the constant stands first, as torch.sub(a, z) or as a - z
        if first is None or name == "rdiv":
            plain = {"sub": "rsub", "div": "", "true_divide": ""}.get(plain, plain)
        if plain not in _AFFINE:
            raise _Unfollowed(reason_against(name, self.where))
        scale, offset = _AFFINE[plain](state.scale, state.offset, by)
        if scale.shape != state.slot.shape or offset.shape != state.slot.shape:
            raise _Unfollowed(reason_against(name, self.where))
        return Elements(state.slot, scale, offset)

    def _keep(self, tensor: Tensor, state: Elements | Foreign) -> None:
        self._states[id(tensor)] = (tensor, state)  # the tensor too, or its id would be given to another


class _Unfollowed(Exception):
    """A function that attacks cannot follow; it matters only if an output depends on it."""


def void(_: object) -> None:
    """Nothing, as a hook must return to leave what it saw."""


def _drops(args: tuple, kwargs: Mapping) -> bool:
    given = dict(zip(("input", "p", "training"), args, strict=False)) | dict(kwargs)
    return bool(given.get("training", True)) and given.get("p", 0.5) > 0


def _square(value: Any) -> int | None:
    """The one number of a square stride or padding; None for another."""
    if isinstance(value, str):
        return 0 if value == "valid" else None
    if isinstance(value, tuple | list):
        return int(value[0]) if len(set(value)) == 1 else None
    return int(value)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in tuples, lists, dicts and dataclasses, in order."""
    for _, tensor in _named_tensors(value):
        yield tensor


def _named_tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in tuples, lists, dicts and dataclasses, with where they stand."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _named_tensors(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        for name, item in zip(names, value, strict=True):
            yield from _named_tensors(item, f"{path}.{name}" if path else str(name))
    elif hasattr(value, "__dataclass_fields__"):
        yield from _named_tensors({name: getattr(value, name) for name in value.__dataclass_fields__}, path)
