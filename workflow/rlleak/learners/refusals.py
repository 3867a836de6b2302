"""Why a network, or a torch function in it, keeps attacks from following it, and what would do instead."""

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from rlleak.errors import ConfigurationError

RESHAPING = frozenset(
    (
        *("flatten", "view", "reshape", "permute", "transpose", "movedim", "moveaxis", "swapaxes", "squeeze"),
        *("unsqueeze", "cat", "concat", "concatenate", "stack", "getitem", "select", "narrow", "chunk", "split"),
        *("unbind", "unflatten", "ravel", "view_as", "reshape_as", "expand", "index_select", "hstack"),
    )
)
"""Functions that move numbers and change none."""

_NORMALISES = "normalises what it gets by statistics of it, so its gradient is not one sample's delta input^T"
_WITHOUT = "audit the network without it"
_POOLS = "pools: which of its inputs counted is not in any gradient"
_HEAD = "is no linear layer; return what stands before it (Q-values or logits), if need be with forward="

_REASONS: dict[str, tuple[str, str]] = {
    "batch_norm": ("is batch norm: it " + _NORMALISES, _WITHOUT + ", or fold it into the layer before"),
    "layer_norm": ("is layer norm: it " + _NORMALISES, _WITHOUT),
    "group_norm": ("is group norm: it " + _NORMALISES, _WITHOUT),
    "instance_norm": ("is instance norm: it " + _NORMALISES, _WITHOUT),
    "rms_norm": ("is RMS norm: it " + _NORMALISES, _WITHOUT),
    "dropout": ("is dropout in training mode: which units it dropped is not known", "call network.eval() first"),
    "lstm": ("is recurrent: its gradient is summed over time steps", "audit the layers before it, with forward="),
    "embedding": ("is an embedding: its gradient names the row that was looked up", "nothing is left to attack there"),
    "multi_head_attention_forward": ("is attention: it multiplies activations with each other", _WITHOUT),
    "dilation": ("is a convolution with dilation", "use dilation 1"),
    "groups": ("is a convolution with groups", "use groups=1"),
    "not square": ("is a convolution whose kernel, stride or padding is not square", "use square ones"),
    "used twice": ("is used twice, so its gradient is a sum over two uses", "give each use its own layer"),
    "computed weight": (
        "computes its weight (noisy layer, weight norm), so what is shared is another gradient",
        "audit the network with plain layers",
    ),
    "constant beside": ("concatenates observations with constants", "leave the constants out"),
    "activation": ("is an activation on what is no single layer's output", "put one activation behind each layer"),
    "detach": ("detaches what it gets, so a part of the network learns from one head only", "use one loss per network"),
    "pad": ("pads outside a convolution", "give the padding to the convolution"),
    "conv1d": ("is a convolution over one dimension", "attacks undo images and vectors: reshape, or leave it out"),
}
_REASONS |= dict.fromkeys(("gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"), _REASONS["lstm"])
_REASONS["scaled_dot_product_attention"] = _REASONS["multi_head_attention_forward"]
_REASONS |= dict.fromkeys(("conv3d", "conv_transpose2d"), ("is no convolution over images", "use Conv2d"))
_REASONS |= dict.fromkeys(
    ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "max_pool2d_with_indices"),
    (_POOLS, "use a convolution with a stride instead"),
)
_REASONS |= dict.fromkeys(
    ("add", "iadd", "sub", "mul", "div", "mean"),
    (
        "adds or multiplies activations (a residual connection, a dueling head)",
        "attacks follow a chain of layers; return the streams themselves, or audit a network without them",
    ),
)
_REASONS |= dict.fromkeys(
    ("softmax", "log_softmax", "argmax", "max", "amax", "logsumexp", "exp", "log", "clamp", "softplus"), (_HEAD, "")
)


def reason_against(function: str, where: str) -> str:
    """One line: the layer, why no attack can follow it, and the mend."""
    why, mend = _REASONS.get(
        function,
        (
            f"calls {function}, which attacks cannot follow",
            "they follow convolutions, linear layers, activations and reshaping; leave it out, or give forward=",
        ),
    )
    return f"{where} {why}" + (f"; {mend}" if mend else "")


def check_module(module: Any) -> None:
    """Raises ConfigurationError for what is no torch module that Python runs, or has no finite parameters."""
    if not isinstance(module, nn.Module):
        raise ConfigurationError(
            f"the network is a {type(module).__name__} and no torch module; give the module itself (of "
            "stable-baselines3 model.policy, of a state dict the module that has loaded it)"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise ConfigurationError("the network is TorchScript, whose layers cannot be watched; give the Python module")
    parameters = dict(module.named_parameters())
    if not parameters:
        raise ConfigurationError(f"{type(module).__name__} has no parameters, so nothing of it is shared")
    for name, value in parameters.items():
        if not is_lazy(value) and not bool(torch.isfinite(value).all()):
            raise ConfigurationError(f"parameter '{name}' of the network holds NaN or Inf; load other weights")
