"""Where to compute. Looking for a GPU costs no torch, so that the workflow can plan."""

from pathlib import Path

from rlleak.errors import ResourceError

_DRIVER = Path("/dev/nvidiactl")


def has_gpu() -> bool:
    """Whether NVIDIA's driver runs on this machine."""
    return _DRIVER.exists()


def chosen_device(configured: str, threads: int = 1) -> str:
    """'cpu' or 'cuda' for 'auto', 'cpu' or 'cuda'; torch keeps to `threads` cores.

    Raises ResourceError if a GPU is asked for and absent.
    """
    import torch

    torch.set_num_threads(max(1, threads))
    if configured == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device is cuda, but torch sees no GPU; set device: auto or cpu, or mend the driver")
    if configured != "auto":
        return configured
    return "cuda" if torch.cuda.is_available() else "cpu"
