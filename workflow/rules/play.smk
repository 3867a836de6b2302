"""
Experience of environments that need no rooms: one transition of each victim under a random policy, the attacker's own.

Needs nothing. Gives <base>/experience/{environment}/{policy}/: private/{shard} for the victims, public and
public_replay (more, to train networks on) for the attacker.
"""

# Other episodes than those on which attacks are tuned are what networks are trained on.
PLAYERS = {
    "public": range(SCALE.public_victims),
    "public_replay": range(SCALE.public_victims, SCALE.public_victims + SCALE.replay.public_clients),
}


rule play:
    """Playing: the victims' transitions."""
    input:
        library=lambda wildcards: library("play.py", kind_of(wildcards)),
    output:
        experience="<base>/experience/{environment}/{policy}/private/{shard}.safetensors",
    log:
        "<base>/logs/play/{environment}/{policy}/{shard}.log",
    benchmark:
        "<base>/benchmarks/play/{environment}/{policy}/{shard}.tsv"
    params:
        victims=lambda wildcards: list(SCALE.shard(int(wildcards.shard))),
        transitions=1,
        gamma=CONFIG.losses.reinforce.gamma,
        seed=derive(CONFIG.seeds.private, "play"),
    script:
        "../scripts/play.py"


rule play_public:
    """Playing: the attacker's own transitions."""
    input:
        library=lambda wildcards: library("play.py", kind_of(wildcards)),
    output:
        experience="<base>/experience/{environment}/{policy}/{whose}.safetensors",
    log:
        "<base>/logs/play_public/{environment}/{policy}/{whose}.log",
    benchmark:
        "<base>/benchmarks/play_public/{environment}/{policy}/{whose}.tsv"
    wildcard_constraints:
        whose="public|public_replay",
    params:
        victims=lambda wildcards: list(PLAYERS[wildcards.whose]),
        transitions=lambda wildcards: SCALE.replay.transitions if wildcards.whose == "public_replay" else 1,
        gamma=CONFIG.losses.reinforce.gamma,
        seed=derive(CONFIG.seeds.attacker, "play"),
    script:
        "../scripts/play.py"
