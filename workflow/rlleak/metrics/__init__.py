"""How close a reconstruction comes to the private side.

Each entry takes a `rlleak.metrics.comparison.Comparison` and gives one number per victim, (N,), or None where the
reconstruction or the private side does not hold what it compares.
"""

from rlleak.registry import Registry

_IMAGES = ("psnr_rgb", "ssim_rgb", "psnr_depth", "ssim_depth")

METRICS = Registry(
    "metric",
    {
        # Without suffix: the paper's rescaling. _raw: none. _read: none, and only the pixels that the network reads.
        **{
            f"{name}{suffix}": f"rlleak.metrics.images:{name}{suffix}"
            for name in _IMAGES
            for suffix in ("", "_raw", "_read")
        },
        "psnr_image_read": "rlleak.metrics.images:psnr_image_read",
        "iou": "rlleak.metrics.values:iou",
        "action_correct": "rlleak.metrics.values:action_correct",
        "predicted_q_error": "rlleak.metrics.values:predicted_q_error",
        "target_q_error": "rlleak.metrics.values:target_q_error",
        "reward_error": "rlleak.metrics.values:reward_error",
        # Of updates over several transitions: what is claimed, and how much of it is true.
        **{
            f"batch_{name}": f"rlleak.metrics.values:batch_{name}"
            for name in ("claimed", "precision", "recall", "error")
        },
        # And of the samples' images, black where not claimed, on the pixels that the network reads.
        **{f"batch_{name}": f"rlleak.metrics.images:batch_{name}" for name in ("psnr_rgb", "psnr_depth")},
        **{
            f"{what}_top{first}{whose}": f"rlleak.metrics.reidentification:{what}_top{first}{whose}"
            for what in ("room", "target")
            for first in (1, 5)
            for whose in ("", "_truth", "_chance")
        },
        # Of what the victim did, not of the attack.
        "message_bytes": "rlleak.metrics.values:message_bytes",
        "epsilon": "rlleak.metrics.values:epsilon",
        "seconds": "rlleak.metrics.values:seconds",
        "failed": "rlleak.metrics.values:failed",
    },
)

_OF_TRANSITIONS = (
    *("mse", "mse_state", "mse_action", "mse_reward", "mse_next_state", "nrmse_state", "nrmse_reward"),
    *("nrmse_next_state", "state_accuracy", "action_correct", "reward_accuracy", "next_state_accuracy"),
    *("recovery_accuracy", "gme", "te", "te_truth", "possible", "possible_truth", "overlap_error", "psnr_state"),
    *("psnr_next_state", "in_prior", "seconds", "failed"),
)

TRANSITION_METRICS = Registry(
    "metric of transitions",
    {name: f"rlleak.metrics.transitions:{name}" for name in _OF_TRANSITIONS}
    | {name: f"rlleak.metrics.consistency:{name}" for name in ("ed", "ss", "cd")},
)
"""Of whole transitions: each takes a `rlleak.metrics.transition_comparison.TransitionComparison` and gives one number
per victim, (V,), or None."""

TRAINING_METRICS = Registry(
    "metric of trainings",
    {
        "return": "rlleak.metrics.trainings:last_return",
        "best_return": "rlleak.metrics.trainings:best_return",
        **{
            name: f"rlleak.metrics.trainings:{name}"
            for name in ("message_bytes", "epsilon", "epsilon_transition", "seconds")
        },
    },
)
"""Of trainings: each takes a `rlleak.federation.training.Trained` and gives one number per run, (R,), or None."""
