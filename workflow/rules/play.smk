"""
Experience of Atari games, which need no rooms: one transition of a random game per victim, and the attacker's own.

Needs nothing. Gives <base>/experience/{game}/: private/{shard} for the victims, public for the attacker.
"""


rule play:
    """Playing games: the victims' transitions."""
    input:
        library=library("play.py"),
    output:
        experience="<base>/experience/{game}/private/{shard}.safetensors",
    log:
        "<base>/logs/play/{game}/{shard}.log",
    benchmark:
        "<base>/benchmarks/play/{game}/{shard}.tsv"
    params:
        victims=lambda wildcards: list(SCALE.shard(int(wildcards.shard))),
        gamma=CONFIG.losses.reinforce.gamma,
        seed=derive(CONFIG.seeds.private, "play"),
    script:
        "../scripts/play.py"


rule play_public:
    """Playing games: the attacker's own transitions."""
    input:
        library=library("play.py"),
    output:
        experience="<base>/experience/{game}/public.safetensors",
    log:
        "<base>/logs/play_public/{game}.log",
    benchmark:
        "<base>/benchmarks/play_public/{game}.tsv"
    params:
        victims=list(range(SCALE.public_victims)),
        gamma=CONFIG.losses.reinforce.gamma,
        seed=derive(CONFIG.seeds.attacker, "play"),
    script:
        "../scripts/play.py"
