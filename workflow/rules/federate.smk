"""
Federated training: clients that play, defend what they share, and train one policy together. Nobody attacks here.

Needs nothing but environments, or in rooms the detector, whose confidence is the reward. Gives
training/<update>/{defence}, the learning curves of all runs and the networks of the first, and what they come to beside
the metrics of attacks, in metrics/training/<update>/{defence}: a run stands where a victim does.
"""


rule train_federated:
    """Training a policy together, on defended updates."""
    input:
        unpack(detector_of),
        library=lambda wildcards: library(
            "train_federated.py",
            loss_of(wildcards),
            method_of_defence(wildcards),
            *players_of(wildcards),
            *modules_of("metric of trainings"),
        ),
    output:
        curve=f"<base>/{TRAINING}/<update>/{{defence}}.parquet",
        metrics=f"<base>/metrics/{TRAINING}/<update>/{{defence}}/0.parquet",
        parameters=f"<base>/{TRAINING}/<update>/{{defence}}.safetensors",
    log:
        "<base>/logs/train_federated/<update>/{defence}.log",
    benchmark:
        "<base>/benchmarks/train_federated/<update>/{defence}.tsv"
    resources:
        mem_mb=memory_of_training,
    params:
        training=training_of,
        defence=defence_of,
        axes=lambda wildcards: {
            **place_of(wildcards, [axis for axis in AXES if axis != "attack"]),
            "attack": TRAINING,
        },
        # Clients' lives are private. Not of the defence: run i meets the same seeds under each.
        seed=seed_of(CONFIG.seeds.private, "training", "learner", "network", "setting", "seed"),
    script:
        "../scripts/train_federated.py"
