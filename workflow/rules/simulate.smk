"""
Experience: one transition of active perception per victim, clients' replays, and the attacker's own in public rooms.

Needs the detector, whose confidence is the reward. Gives <base>/experience/: private/{shard} and replay/{actions}/{shard}
for the victims, public and public_replay/{actions} for the attacker.
"""

from rlleak.simulators.layouts import shuffled

TASK = dict(
    simulator=CONFIG.simulator,
    simulation=CONFIG.simulation.model_dump(mode="json"),
    perception=CONFIG.perception.model_dump(mode="json"),
    gamma=CONFIG.losses.reinforce.gamma,
)
# Who lives in which room is public arithmetic; in which file and row, only the private seed tells.
VICTIMS = shuffled(SCALE.victims, derive(CONFIG.seeds.private, "order"))
CLIENTS = shuffled(SCALE.replay.clients, derive(CONFIG.seeds.private, "order of clients"))


rule simulate:
    """Living in private rooms: the victims' transitions."""
    input:
        detector="<base>/detector.safetensors",
        library=library("simulate.py", SIMULATOR_MODULE),
    output:
        experience="<base>/experience/private/{shard}.safetensors",
    log:
        "<base>/logs/simulate/{shard}.log",
    benchmark:
        "<base>/benchmarks/simulate/{shard}.tsv"
    params:
        **TASK,
        public=False,
        transitions=1,
        actions="any",
        victims=lambda wildcards: [VICTIMS[place] for place in SCALE.shard(int(wildcards.shard))],
        seed=derive(CONFIG.seeds.private, "experience"),
    script:
        "../scripts/simulate.py"


rule simulate_public:
    """Living in public rooms: the attacker's own transitions."""
    input:
        detector="<base>/detector.safetensors",
        library=library("simulate.py", SIMULATOR_MODULE),
    output:
        experience="<base>/experience/public.safetensors",
    log:
        "<base>/logs/simulate_public.log",
    benchmark:
        "<base>/benchmarks/simulate_public.tsv"
    params:
        **TASK,
        public=True,
        transitions=1,
        actions="any",
        victims=list(range(SCALE.public_victims)),
        seed=derive(CONFIG.seeds.attacker, "experience"),
    script:
        "../scripts/simulate.py"


rule simulate_replay:
    """Living in private rooms for longer: what clients keep for updates over several transitions."""
    input:
        detector="<base>/detector.safetensors",
        library=library("simulate.py", SIMULATOR_MODULE),
    output:
        experience="<base>/experience/replay/{actions}/{shard}.safetensors",
    log:
        "<base>/logs/simulate_replay/{actions}/{shard}.log",
    benchmark:
        "<base>/benchmarks/simulate_replay/{actions}/{shard}.tsv"
    params:
        **TASK,
        public=False,
        transitions=SCALE.replay.transitions,
        actions="{actions}",
        victims=lambda wildcards: [CLIENTS[place] for place in SCALE.client_shard(int(wildcards.shard))],
        seed=derive(CONFIG.seeds.private, "replay"),
    script:
        "../scripts/simulate.py"


rule simulate_public_replay:
    """Living in public rooms for longer: what the attacker keeps, and what networks are trained on."""
    input:
        detector="<base>/detector.safetensors",
        library=library("simulate.py", SIMULATOR_MODULE),
    output:
        experience="<base>/experience/public_replay/{actions}.safetensors",
    log:
        "<base>/logs/simulate_public_replay/{actions}.log",
    benchmark:
        "<base>/benchmarks/simulate_public_replay/{actions}.tsv"
    params:
        **TASK,
        public=True,
        transitions=SCALE.replay.transitions,
        actions="{actions}",
        # Other rooms than those of `simulate_public`, on which attacks are tuned.
        victims=list(range(SCALE.public_victims, SCALE.public_victims + SCALE.replay.public_clients)),
        seed=derive(CONFIG.seeds.attacker, "replay"),
    script:
        "../scripts/simulate.py"
