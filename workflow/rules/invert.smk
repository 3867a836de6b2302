"""
Attacks: from what was shared back to experience.

`invert` needs a shared file and settings that the attacker tuned on rooms of its own; no private file of a victim is
among its inputs. Gives tuned/<attack>.json, what the attacker remembers of its own rooms, and reconstructions/<attack>/{shard}.safetensors.
"""


rule tune:
    """Tuning step sizes on the attacker's own public rooms, without any victim's truth."""
    input:
        experience=public_experience_of,
        parameters=parameters_of,
        library=lambda wildcards: library(
            "tune.py", loss_of(wildcards), method_of(wildcards), method_of_defence(wildcards)
        ),
    output:
        settings="<base>/tuned/<attack>.json",
    log:
        "<base>/logs/tune/<attack>.log",
    benchmark:
        "<base>/benchmarks/tune/<attack>.tsv"
    resources:
        mem_mb=int(1000 * CONFIG.memory_limit_gb) + 2000,
        gpu=on_gpu,
    params:
        network=network_of,
        settings=settings_of,
        iterations=iterations_of(""),
        search_iterations=iterations_of("search_"),
        defence=defence_of,
        seed=seed_of(CONFIG.seeds.attacker, "tune", *ATTACKED),
    script:
        "../scripts/tune.py"


rule remember_rooms:
    """Remembering the attacker's own public rooms: what it guesses of a victim's where nothing of an update helps."""
    input:
        experience=public_experience_of,
        parameters=parameters_of,
        library=lambda wildcards: library("remember_rooms.py", loss_of(wildcards)),
    output:
        public="<base>/public/rooms/<update>.safetensors",
    log:
        "<base>/logs/remember_rooms/<update>.log",
    benchmark:
        "<base>/benchmarks/remember_rooms/<update>.tsv"
    params:
        network=network_of,
    script:
        "../scripts/remember_rooms.py"


rule invert:
    """Inverting shared gradients."""
    input:
        shared="<base>/shared/<attack>/{shard}.safetensors",
        settings=tuned_of,
        # The attacker's own rooms, for attacks that have a prior; never a victim's.
        public=public_of,
        prior=prior_of,
        library=lambda wildcards: library("invert.py", method_of(wildcards)),
    output:
        reconstruction="<base>/reconstructions/<attack>/{shard}.safetensors",
    log:
        "<base>/logs/invert/<attack>/{shard}.log",
    benchmark:
        "<base>/benchmarks/invert/<attack>/{shard}.tsv"
    # Before any further sharing: what is shared leaves the disk as soon as it is inverted.
    priority: 1
    group:
        "attack"
    resources:
        shared_files=1,
        mem_mb=int(1000 * CONFIG.memory_limit_gb) + 2000,
        gpu=on_gpu,
    params:
        # As configured, for attacks that leave nothing to tune.
        settings=lambda wildcards: None if tuned_of(wildcards) else settings_of(wildcards),
        seed=seed_of(CONFIG.seeds.attacker, "invert", *ATTACKED),
    script:
        "../scripts/invert.py"
