"""
The border between victim and server: what each victim shares, and what it must not.

Needs private experience, and the parameters of networks that are trained first. Gives shared/<attack>/{shard}, which is all that an attack on victims ever reads, and
private/<update>/{shard}, which only scoring reads. A shared file is large (30 MB per victim with the default network),
so each attack has its own, made just before and removed just after: an attack that is rerun needs no other rerun.
"""


rule train_network:
    """Training a network on public experience: nothing private is in its parameters."""
    input:
        experience=replay_of,
        library=lambda wildcards: library("train_network.py", loss_of(wildcards)),
    output:
        parameters="<base>/networks/{learner}/{network}/{setting}/{policy}/seed{seed}.safetensors",
    log:
        "<base>/logs/train_network/{learner}/{network}/{setting}/{policy}/seed{seed}.log",
    benchmark:
        "<base>/benchmarks/train_network/{learner}/{network}/{setting}/{policy}/seed{seed}.tsv"
    params:
        network=network_of,
        training=lambda wildcards: CONFIG.networks[wildcards.network].trained.model_dump(mode="json"),
        updates=SCALE.replay.updates,
        seed=seed_of(CONFIG.seeds.attacker, "training", "learner", "network", "setting", "seed"),
    script:
        "../scripts/train_network.py"


rule share:
    """Sharing gradients: everything that the server sees."""
    input:
        experience=experience_of,
        parameters=parameters_of,
        library=lambda wildcards: library("share.py", loss_of(wildcards), method_of_defence(wildcards)),
        # Not read: shared files wait on disk for nothing but their attack.
        settings=tuned_of,
    output:
        shared=temp("<base>/shared/<attack>/{shard}.safetensors"),
    log:
        "<base>/logs/share/<attack>/{shard}.log",
    benchmark:
        "<base>/benchmarks/share/<attack>/{shard}.tsv"
    # On a cluster one job with its attack: what is shared never waits on disk.
    group:
        "attack"
    resources:
        shared_files=1,
        # It needs none, but takes its turn: sharing must not run ahead of attacks that queue for the GPU.
        gpu=on_gpu,
    params:
        network=network_of,
        updates=updates_of,
        defence=defence_of,
        # Private, as what it draws is: an attacker that knew the noise would take it off.
        defence_seed=seed_of(CONFIG.seeds.private, "defence", *MADE_FROM, "defence"),
    script:
        "../scripts/share.py"


rule withhold:
    """Withholding what the gradients were made from: everything that the server must not see."""
    input:
        experience=experience_of,
        parameters=parameters_of,
        library=lambda wildcards: library("withhold.py", loss_of(wildcards)),
    output:
        private="<base>/private/<update>/{shard}.safetensors",
    log:
        "<base>/logs/withhold/<update>/{shard}.log",
    benchmark:
        "<base>/benchmarks/withhold/<update>/{shard}.tsv"
    params:
        network=network_of,
        normalised=normalised_by,
    script:
        "../scripts/withhold.py"
