"""
What the stages that play environments and attack their transitions share: who plays, how, and what attacks are told.
"""

# Other episodes than those on which attacks are tuned are what networks are trained on.
PLAYERS = {
    "public": range(SCALE.public_victims),
    "public_replay": range(SCALE.public_victims, SCALE.public_victims + SCALE.replay.public_clients),
}
LIFE = 100


def lives_of(wildcards):
    """The attacker's players, and how many transitions of each are kept: those of its largest prior, in lives of 100."""
    if wildcards.whose == "prior":
        first = SCALE.public_victims + SCALE.replay.public_clients
        return range(first, first + STUDY.prior_size(wildcards.environment, wildcards.policy) // LIFE), LIFE
    return PLAYERS[wildcards.whose], SCALE.replay.transitions if wildcards.whose == "public_replay" else 1


def policy_of(wildcards):
    """The file of a policy that was trained; a random one needs none."""
    return "<base>/policies/{environment}.safetensors" if wildcards.policy == "trained" else []


def policy_module(wildcards):
    """The module that behaves as the policy does."""
    return registry("policy").module(wildcards.policy)


def behaviour_of(wildcards):
    """How a policy is trained: layers and steps."""
    environment = ENVIRONMENTS[wildcards.environment]
    kind = "vector_network" if environment.image_shape is None else "network"
    shape = CONFIG.networks[getattr(CONFIG.behaviour, kind)].model_dump(mode="json")
    layers = {name: shape[name] for name in ("convolutions", "hidden")}
    return {**layers, "steps": SCALE.transitions.of(wildcards.environment).policy_steps}


def attacks_at(wildcards):
    """The attacks that run side by side on an update, by name, with the scale's sizes."""
    size = SCALE.transitions.of(wildcards.setting)
    sizes = {name: getattr(size, name) for name in ("restarts", "iterations", "search_iterations")}
    attacks = STUDY.together(**{axis: wildcards[axis] for axis in (*MADE_FROM, "defence")})
    return {name: settings.model_dump(mode="json") | sizes for name, settings in attacks.items()}


def priors_at(wildcards):
    """What the attacker learnt beforehand, as its attacks ask for; what weights tell needs no file."""
    amounts = sorted({settings["prior"] for settings in attacks_at(wildcards).values()} - {"weights"})
    return [f"<base>/priors/{wildcards.setting}/{wildcards.policy}/{amount}.safetensors" for amount in amounts]


def updates_together(wildcards):
    """How many of the shard's updates are attacked."""
    return SCALE.in_shard(int(wildcards.shard), SCALE.transitions.of(wildcards.setting).victims)


LIVED = sorted(
    {(cell.setting, cell.policy) for cell in STUDY.cells() if STUDY.on_transitions(cell.attack)},
    key=lambda lived: (list(ENVIRONMENTS).index(lived[0]), lived[1]),
)
