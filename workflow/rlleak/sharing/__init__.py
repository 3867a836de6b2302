"""What leaves the device: gradients, captured, defended, and kept apart from what stays private."""

from rlleak.registry import Registry

DEFENCES = Registry(
    "defence",
    {
        "none": "rlleak.sharing.defences:none",
        "gaussian_noise": "rlleak.sharing.noise:gaussian_noise",
        "local_steps": "rlleak.sharing.local_steps:local_steps",
        "clipping": "rlleak.sharing.noise:clipping",
        "clipped_gaussian": "rlleak.sharing.noise:clipped_gaussian",
        "float16": "rlleak.sharing.quantisation:float16",
        "int8": "rlleak.sharing.quantisation:int8",
        "qsgd": "rlleak.sharing.quantisation:qsgd",
        "sign": "rlleak.sharing.quantisation:sign",
        "top_k": "rlleak.sharing.sparsification:top_k",
        "random_k": "rlleak.sharing.sparsification:random_k",
        "withheld": "rlleak.sharing.withholding:withheld",
        "pruned_representation": "rlleak.sharing.withholding:pruned_representation",
        "composed": "rlleak.sharing.composition:composed",
    },
)
"""Each takes one victim's `Sent` and its `Client` (rlleak.sharing.sending) and the other keys of its entry in
config/defences.yaml, and gives the `Sent` that leaves the device instead."""
