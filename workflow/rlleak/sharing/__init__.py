"""What leaves the device: gradients, captured, defended, and kept apart from what stays private."""

from rlleak.registry import Registry

DEFENCES = Registry(
    "defence",
    {
        "none": "rlleak.sharing.defences:none",
        "gaussian_noise": "rlleak.sharing.defences:gaussian_noise",
    },
)
"""Each is called with one victim's gradients, a generator, and the other keys of its entry in config/defences.yaml."""
