"""
Experience: one transition of active perception per victim, and the attacker's own in public rooms.

Needs the detector, whose confidence is the reward. Gives <base>/experience/: private/{shard} for the victims, public
for the attacker.
"""

TASK = dict(
    simulator=CONFIG.simulator,
    simulation=CONFIG.simulation.model_dump(mode="json"),
    perception=CONFIG.perception.model_dump(mode="json"),
    gamma=CONFIG.losses.reinforce.gamma,
)


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
        victims=lambda wildcards: list(SCALE.shard(int(wildcards.shard))),
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
        victims=list(range(SCALE.public_victims)),
        seed=derive(CONFIG.seeds.attacker, "experience"),
    script:
        "../scripts/simulate.py"
