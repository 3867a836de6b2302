"""
Experience of environments that need no rooms, and the policies that live through it.

Gives <base>/experience/{environment}/{policy}/: private/{shard} for the victims, public, public_replay (more, to train
networks on) and prior (what the attacker knows of the environment) for the attacker; and policies/{environment}, which are public.
"""


rule train_policy:
    """Training a behaviour policy, and saying how good it is."""
    input:
        library=lambda wildcards: library("train_policy.py", kind_of(wildcards)),
    output:
        policy="<base>/policies/{environment}.safetensors",
        returns="<base>/policies/{environment}.json",
    log:
        "<base>/logs/train_policy/{environment}.log",
    benchmark:
        "<base>/benchmarks/train_policy/{environment}.tsv"
    params:
        training=behaviour_of,
        device=CONFIG.device,
        exploration=CONFIG.behaviour.exploration,
        horizon=SCALE.transitions.policy_horizon,
        episodes=SCALE.transitions.policy_episodes,
        seed=derive(CONFIG.seeds.attacker, "policy"),
    script:
        "../scripts/train_policy.py"


rule play:
    """Playing: the victims' transitions."""
    input:
        policy=policy_of,
        library=lambda wildcards: library("play.py", kind_of(wildcards), policy_module(wildcards)),
    output:
        experience="<base>/experience/{environment}/{policy}/private/{shard}.safetensors",
    log:
        "<base>/logs/play/{environment}/{policy}/{shard}.log",
    benchmark:
        "<base>/benchmarks/play/{environment}/{policy}/{shard}.tsv"
    params:
        victims=lambda wildcards: list(SCALE.shard(int(wildcards.shard))),
        transitions=lambda wildcards: STUDY.played(wildcards.environment),
        gamma=CONFIG.losses.reinforce.gamma,
        exploration=CONFIG.behaviour.exploration,
        seed=derive(CONFIG.seeds.private, "play"),
    script:
        "../scripts/play.py"


rule play_public:
    """Playing: the attacker's own transitions."""
    input:
        policy=policy_of,
        library=lambda wildcards: library("play.py", kind_of(wildcards), policy_module(wildcards)),
    output:
        experience="<base>/experience/{environment}/{policy}/{whose}.safetensors",
    log:
        "<base>/logs/play_public/{environment}/{policy}/{whose}.log",
    benchmark:
        "<base>/benchmarks/play_public/{environment}/{policy}/{whose}.tsv"
    wildcard_constraints:
        whose="public|public_replay|prior",
    params:
        victims=lambda wildcards: list(lives_of(wildcards)[0]),
        transitions=lambda wildcards: lives_of(wildcards)[1],
        gamma=CONFIG.losses.reinforce.gamma,
        exploration=CONFIG.behaviour.exploration,
        seed=derive(CONFIG.seeds.attacker, "play"),
    script:
        "../scripts/play.py"
