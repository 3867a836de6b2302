"""
Scores: the only stage that sees both sides.

Needs a reconstruction and the private side that it is about, and the onlooker where rooms are to be recognised. Gives metrics/<attack>/{shard}.parquet.
"""


rule score:
    """Scoring a reconstruction against the truth."""
    input:
        reconstruction="<base>/reconstructions/<attack>/{shard}.safetensors",
        private="<base>/private/<update>/{shard}.safetensors",
        # Who says which room it is; only where an experiment asks for it.
        onlooker=onlooker_of,
        library=lambda wildcards: library("score.py", method_of_defence(wildcards), *modules_of("metric")),
    output:
        metrics="<base>/metrics/<attack>/{shard}.parquet",
    log:
        "<base>/logs/score/<attack>/{shard}.log",
    benchmark:
        "<base>/benchmarks/score/<attack>/{shard}.tsv"
    params:
        architecture=architecture_of,
        axes=place_of,
        updates=updates_of,
        defence=defence_of,
    script:
        "../scripts/score.py"
