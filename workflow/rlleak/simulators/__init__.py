"""Where private experience comes from."""

from rlleak.registry import Registry

SIMULATORS = Registry(
    "simulator",
    {
        "rooms": "rlleak.simulators.player.launch:start_rooms",
        "thor": "rlleak.simulators.unity:start_unity",
    },
)
"""Each starts a player, the process that answers ai2thor's protocol, and returns the `ai2thor.controller.Controller`
that drives it: called with `rlleak.simulators.controller.SimulatorOptions`."""

COLLECTIONS = Registry(
    "collection",
    {
        "views": "rlleak.simulators.collector:collect_views",
        "photographs": "rlleak.simulators.photographs:photograph",
    },
)
"""What is taken in rooms: each is called with a controller, layouts, how many to take in each, and a seed."""

KINDS = Registry(
    "kind of environment",
    {
        "atari": "rlleak.simulators.atari:make",
        "classic": "rlleak.simulators.classic:make",
        "control": "rlleak.simulators.control:make",
        "driving": "rlleak.simulators.driving:make",
        "grid": "rlleak.simulators.grid:make",
    },
)
"""Each makes a gymnasium.Env of an Environment (rlleak.configuration.environments) of that kind."""

SUCCESSORS = Registry(
    "kind of environment with successors",
    {
        "classic": "rlleak.simulators.classic:successor",
        "control": "rlleak.simulators.control:successor",
        "grid": "rlleak.simulators.grid:successor",
    },
)
"""Each says what really follows from states and actions; other kinds have more state than an image shows."""

TOGETHER = Registry(
    "kind of environment that is simulated for several players at once",
    {"classic": "rlleak.simulators.classic:Poles", "rooms": "rlleak.simulators.homes:at_home"},
)
"""Each is called with an Environment and the players' seeds, in rooms also with what these are and whose, and gives a
rlleak.simulators.side_by_side.Several."""

POLICIES = Registry(
    "policy",
    {"random": "rlleak.simulators.environments:random_policy", "trained": "rlleak.learners.acting:trained_policy"},
)
"""How victims behave: each gives a Policy (rlleak.simulators.environments), called with the environment's name and, if
trained, the file of a Behaviour and how much it explores."""
