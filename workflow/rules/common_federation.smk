"""
What federated training and its demonstration over loopback share: what is trained, and what the server sees.
"""

from rlleak.configuration.axes import Cell, ROOMS, TRAINED_IN
from rlleak.simulators import TOGETHER as SEVERAL

# The demonstration; null: none.
SHOWN = CONFIG.loopback
# What the server sees, and the cell of the attack on it: on each client's update, and on their mean.
CELLS = {
    seen: Cell(SHOWN.learner, SHOWN.network, SHOWN.setting, seed=0, attack=attack)
    for seen, attack in (dict(updates=SHOWN.attack, mean=SHOWN.attack_on_mean) if SHOWN else {}).items()
}
# What the script starts as processes and does not import.
APPS = [f"rlleak.federation.flower.{side}" for side in ("client_app", "server_app", "supernode")]


def training_of(wildcards):
    """What the clients train, and how."""
    asked = STUDY.training(wildcards.learner, wildcards.network, wildcards.setting, int(wildcards.batch))
    return asked.model_dump(mode="json")


def players_of(wildcards):
    """The modules that play what clients train in."""
    if wildcards.setting in ROOMS:
        return [SEVERAL.module("rooms"), SIMULATOR_MODULE]
    return [registry("kind of environment").module(ENVIRONMENTS[wildcards.setting].kind)]


def detector_of(wildcards):
    """What rewards clients in rooms; environments reward by themselves."""
    return {"detector": "<base>/detector.safetensors"} if wildcards.setting in ROOMS else {}


def memory_of_training(wildcards):
    """Megabytes: what clients remember of both states of a transition, and a process for each room."""
    asked, played = training_of(wildcards), TRAINED_IN[wildcards.setting]
    runs, clients = asked["size"]["runs"], asked["clients"]
    state = played.state_size * (4 if played.image_shape is None else 1)
    rooms = runs * (clients + asked["size"]["episodes"]) if wildcards.setting in ROOMS else 0
    return 4000 + 2 * runs * clients * asked["replay"] * state // 10**6 + 300 * rooms


def captured(ending):
    """What came of the attacks on what the server saw, by what that is."""
    return {seen: f"<base>/loopback/{STUDY.path(cell)}/{seen}.{ending}" for seen, cell in CELLS.items()}
