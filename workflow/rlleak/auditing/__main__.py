"""python -m rlleak.auditing POLICY --observation 4,84,84 --out audit/: what a saved policy's gradients leak.

POLICY: a policy of stable-baselines3 (.zip), a state dict of CleanRL (.cleanrl_model, .pt, .pth), weights in
safetensors, or module:factory, a Python function without arguments that returns a torch module.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from rlleak.attacks.defaults import usable
from rlleak.auditing.auditing import audit_file, audit_network
from rlleak.errors import ConfigurationError, ResourceError, RlleakError


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rlleak.auditing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("policy", help="a file, or module:factory")
    parser.add_argument(
        "--observation", action="append", required=True, metavar="[NAME=]C,H,W", help="shape; once per observation"
    )
    parser.add_argument("--loss", choices=["dqn", "reinforce", "actor_critic", "ppo"], help="default: by the outputs")
    parser.add_argument("--observations", type=Path, help="a safetensors file of your own, (N, ...) under their names")
    parser.add_argument("--attacks", help="names, comma-separated; none: count only; default: closed_form,peel")
    parser.add_argument("--updates", type=int, help="how many are attacked; default: all of your own, 2 of random ones")
    parser.add_argument("--batch-size", type=int, default=1, help="transitions per update; above 1: batch_heads")
    parser.add_argument("--strides", help="of the convolutions, where they are not the convention's: 4,2,1")
    parser.add_argument("--activation", choices=["relu", "tanh", "elu", "leaky_relu", "silu", "gelu", "sigmoid"])
    parser.add_argument("--clip-norm", type=float, help="gradients are shortened to this norm before they leave")
    parser.add_argument("--form", choices=["gradient", "step", "weight_difference"], default="gradient")
    parser.add_argument("--optimiser", default="SGD", help="whose step leaves")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--precision", choices=["float32", "float16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for audit.json and audit.html")
    return parser


def main(given: list[str] | None = None) -> int:
    """Prints and saves; 0, or 1 after one line that names the thing and the mend."""
    arguments = _arguments().parse_args(given)
    try:
        audit = _audit(arguments)
        Console().print(audit)
        if arguments.out is not None:
            Console().print(", ".join(str(path) for path in _saved(audit, arguments.out)))
    except RlleakError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _saved(audit: Any, folder: Path) -> tuple[Path, Path]:
    try:
        return audit.save(folder)
    except OSError as error:
        raise ResourceError(f"--out {folder} cannot be written ({error.strerror}); choose another folder") from error


def _audit(arguments: argparse.Namespace) -> Any:
    usable(arguments.device)
    given = arguments.attacks
    attacks = None if given is None else [name for name in given.split(",") if name and name != "none"]
    options: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in (
            "loss",
            "updates",
            "clip_norm",
            "form",
            "optimiser",
            "learning_rate",
            "precision",
            "device",
            "seed",
        )
    }
    options |= {"attacks": attacks, "measured": attacks != [], "batch_size": arguments.batch_size}
    space = _space(arguments.observation)
    if arguments.observations is not None:
        from rlleak.sharing.transitions import tensors_of_file

        options["observations"] = tensors_of_file(arguments.observations)
    if ":" in arguments.policy and not Path(arguments.policy).exists():
        return audit_network(_made(arguments.policy), space, **options)
    strides = None if arguments.strides is None else list(_sizes("--strides", arguments.strides, "4,2,1"))
    return audit_file(arguments.policy, space, strides=strides, activation=arguments.activation, **options)


def _space(given: list[str]) -> Any:
    shapes = {}
    for text in given:
        name, _, sides = text.rpartition("=")
        shapes[name] = _sizes("--observation", sides, "4,84,84 or image=4,84,84")
    if set(shapes) == {""}:
        return shapes[""]
    if "" in shapes or len(shapes) != len(given):
        raise ConfigurationError("give each of several observations a name: --observation image=3,64,64")
    return shapes


def _sizes(option: str, text: str, example: str) -> tuple[int, ...]:
    """Whole numbers above 0, separated by commas."""
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise ConfigurationError(f"{option} {text}: give whole numbers above 0, such as {example}")
    return sizes


def _made(name: str) -> torch.nn.Module:
    module, _, factory = name.partition(":")
    sys.path.insert(0, "")
    try:
        made = getattr(import_module(module), factory)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"{name}: {error}; give module:factory, importable and callable from here") from error
    if not isinstance(made, torch.nn.Module):
        raise ConfigurationError(f"{name} returns a {type(made).__name__}, not a torch module")
    return made


if __name__ == "__main__":
    sys.exit(main())
