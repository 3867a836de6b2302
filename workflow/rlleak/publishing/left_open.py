"""What the papers leave open or contradict, and what was taken instead: read from the configuration that ran."""

from collections.abc import Mapping
from typing import Any


def choices(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what QGI / RGI does not say, what ran here), with the values of the configuration."""
    perception, losses = configuration.get("perception", {}), configuration.get("losses", {})
    dqn, reinforce = losses.get("dqn", {}), losses.get("reinforce", {})
    limit = perception.get("depth_limit", configuration.get("depth_limit", "?"))
    return [
        ("Layers and widths of the networks", _networks(configuration.get("networks", {}))),
        (
            "Optimiser, step size and schedule of the attacks",
            "in config/attacks.yaml; step sizes are searched on the attacker's own public rooms, for each attack alike",
        ),
        (
            "Definition of total variation (isotropic or not, mean or sum)",
            "anisotropic: mean |dx| + mean |dy|, of RGB and of depth",
        ),
        ("The seven actions", "those of the Active Vision Dataset, which the paper cites for the task"),
        (
            "The detector whose confidence is the reward",
            "a small network trained on public rooms (see Rooms and detector)",
        ),
        ("Discount", f"{dqn.get('gamma', '?')} (DQN), {reinforce.get('gamma', '?')} (REINFORCE)"),
        ("DQN's target network", "a copy of the network itself, as at the start of training and after each copying"),
        ("Weight of the entropy term", f"{reinforce.get('entropy_weight', '?')}"),
        ("Range of depth images", f"depth = clip(metres / {limit}, 0, 1)"),
        (
            "Y of YCbCr, SSIM's window, the brightest pixel",
            "Y in [0, 1] (BT.601); Gaussian window of Wang et al. 2004; the largest of all colour values becomes 255",
        ),
        ("Which standard deviation", "the sample's (n - 1)"),
        ("The setting of Table II and Fig. 4", "S1, the paper's primary one"),
        *_beyond(configuration),
        *(_rgia(configuration) if _ran_rgia(configuration) else ()),
    ]


def contradictions(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what a paper or its summary says, what it says elsewhere): QGI / RGI's, and RGIA's where it ran."""
    return [*_CONTRADICTIONS, *(_OF_RGIA if _ran_rgia(configuration) else ())]


def _ran_rgia(configuration: Mapping[str, Any]) -> bool:
    return any(name.startswith("rgia_") for name in configuration.get("experiments", ()))


def _beyond(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the papers do not get to, where an experiment beyond them ran."""
    ran = configuration.get("experiments", ())
    said = []
    if "beyond_batch" in ran:
        batch = "one client's own, its replay in random order, under a random policy; 'shared': one movement only"
        said.append(("Which transitions an update over several is made from", batch))
    if "beyond_noise" in ran:
        noise = (
            "independent on all numbers, of one deviation; its length is relative to the gradient's over all parameters"
        )
        said.append(("How noise on a gradient is drawn and measured", noise))
    if "beyond_reidentification" in ran:
        known = "photographs with depth and camera pose of every candidate home, and public rooms to learn on"
        said.append(("What who recognises a home knows of it", known))
    if "beyond_architectures" in ran:
        played = "one transition of a game of its own per victim, under a random policy after 20 to 199 random steps"
        said.append(("How Atari games are played", played))
    return said


def _rgia(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the summary of RGIA does not say."""
    limits = configuration.get("transition_thresholds", {})
    state, change, action, reward, least = (
        limits.get(name, "?") for name in ("state", "change", "action", "reward", "least_reward")
    )
    return [
        (
            "RGIA: networks of its victims",
            "mlp256 where states are vectors, mnih2015 where they are images, tabular on FrozenLake (layers: above)",
        ),
        (
            "RGIA: how its victims behave",
            "at random; in rgia_trained also by TD3 and DQN, trained here (see Environments for how good they are)",
        ),
        (
            "RGIA: whether its victims normalise observations",
            "no; in rgia_normalisation also by running statistics as VecNormalize keeps them, shared or kept at home: "
            "who is not told them takes those of its own transitions",
        ),
        (
            "RGIA: the weights alpha, beta and gamma",
            "one triple for all environments, in config/transition_attacks.yaml; rgia_weights varies each",
        ),
        (
            "RGIA: when something counts as recovered",
            f"s and s' within {state} deviations of public states, s' also within {change} of the error of 'nothing "
            f"changes' from the true s; a the same, or within {action}; r within {reward} deviations of public "
            f"rewards, or {least}: where rewards hardly vary, a constant is right nearly always (compare prior only)",
        ),
        (
            "RGIA: formulas of ED, SS and CD",
            "over restarts, in deviations: ED mean distance of pairs, SS mean silhouette with victims as clusters, CD "
            "distance of their mean from the truth; distances / sqrt(how many numbers)",
        ),
        (
            "RGIA: what its 0.3 % are of",
            "a nominal 10^6 transitions: 3,000 that the attacker plays itself; of the rest only victims' are played",
        ),
        (
            "RGIA: iterations and restarts",
            "in config/scales; attacks that are compared get equally many gradient evaluations",
        ),
    ]


_WHOSE = {"shared": "of all clients together, which the server knows", "home": "each client's own, kept at home"}
_CONTRADICTIONS = (
    (
        "From S1 to S2 the depth's PSNR rises by over 4 dB for QGI in all room types (text)",
        "by Table I it rises by 4.89, 3.29, 3.19 and 1.77 dB; both statements are judged",
    ),
    (
        "QGI's IoU is 0.912 ± 0.0192 (Table II)",
        "174 of 240 samples above 0.9999 with that mean force a deviation of at least 0.143: "
        "a factor of ten seems to have slipped",
    ),
    (
        "QGI's Q errors deviate by 0.159 and 0.147 % (Table II)",
        "the text bounds them by 1.6 %, which fits 1.59 and 1.47: probably the same factor of ten",
    ),
    ("Table II's first two rows are both “based on DLG”", "they differ in the action only: optimised, or by rule"),
    ("SSIM increases “by over 4 dB” (text)", "SSIM has no decibels; judged as: it increases"),
)
_OF_RGIA = (
    (
        "RGIA's reconstructions often fail for batches above 3 (summary, section 5.5, Pong)",
        "among its signatures of failure it is batches above 5; judged: above 3 on Pong, above 5 on Hopper",
    ),
    (
        "Noise of 10^-2 effectively destroys what RGIA needs (summary, defences)",
        "elsewhere only noise above 10^-2 prevents reconstruction, and there it is called a variance",
    ),
)


def _networks(networks: Mapping[str, Any]) -> str:
    described = []
    for name, network in networks.items():
        layers = [f"{c['channels']}@{c['kernel']}x{c['kernel']}/{c['stride']}" for c in network.get("convolutions", [])]
        hidden = ", ".join(map(str, network.get("hidden", [])))
        width, outputs = network.get("vector_width", 0), network.get("outputs")
        more = "" if outputs is None else f"; outputs: {outputs}"
        training = network.get("trained") or {}
        if "federation" in training:
            more += f"; as undefended federated training of {training['federation']} left it"
        elif training:
            more += (
                f"; trained with Adam on public transitions, batches of {training['batch']}, "
                f"learning rate {training['learning_rate']:g}"
            )
        if statistics := network.get("normalise"):
            more += f"; vectors normalised by running statistics, {_WHOSE[statistics]}"
        seen = [f"convolutions {', '.join(layers)}"] * bool(layers) + [f"box through {width}"] * bool(width)
        described.append(f"{name}: {'; '.join([*seen, f'hidden {hidden}'])}; ReLU{more}")
    return "; ".join(described) or "see config/config.yaml"
