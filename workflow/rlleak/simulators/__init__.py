"""Where private experience comes from.

Each entry starts a player, the process that answers ai2thor's protocol, and returns the `ai2thor.controller.Controller`
that drives it: called with `rlleak.simulators.controller.SimulatorOptions`.
"""

from rlleak.registry import Registry

SIMULATORS = Registry(
    "simulator",
    {
        "rooms": "rlleak.simulators.player.launch:start_rooms",
        "thor": "rlleak.simulators.unity:start_unity",
    },
)
