"""
The border between victim and server: what each victim shares, and what it must not.

Needs private experience. Gives shared/<attack>/{shard}, which is all that an attack on victims ever reads, and
private/<update>/{shard}, which only scoring reads. A shared file is large (30 MB per victim with the default network),
so each attack has its own, made just before and removed just after: an attack that is rerun needs no other rerun.
"""


rule share:
    """Sharing gradients: everything that the server sees."""
    input:
        experience="<base>/experience/private/{shard}.safetensors",
        library=lambda wildcards: library("share.py", loss_of(wildcards)),
        # Not read: shared files wait on disk for nothing but their attack.
        settings="<base>/tuned/<attack>.json",
    output:
        shared=temp("<base>/shared/<attack>/{shard}.safetensors"),
    log:
        "<base>/logs/share/<attack>/{shard}.log",
    benchmark:
        "<base>/benchmarks/share/<attack>/{shard}.tsv"
    resources:
        shared_files=1,
    params:
        **NETWORK,
    script:
        "../scripts/share.py"


rule withhold:
    """Withholding what the gradients were made from: everything that the server must not see."""
    input:
        experience="<base>/experience/private/{shard}.safetensors",
        library=lambda wildcards: library("withhold.py", loss_of(wildcards)),
    output:
        private="<base>/private/<update>/{shard}.safetensors",
    log:
        "<base>/logs/withhold/<update>/{shard}.log",
    benchmark:
        "<base>/benchmarks/withhold/<update>/{shard}.tsv"
    params:
        **NETWORK,
    script:
        "../scripts/withhold.py"
