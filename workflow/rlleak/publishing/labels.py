"""Names and colours as readers see them; the field's and the paper's spelling."""

import math
import re

ROOM_TYPES = ("bathroom", "bedroom", "kitchen", "living_room")  # Table I's order
ATTACKS = {
    "qgi": "QGI",
    "rgi": "RGI",
    "qgi_joint": "joint",
    "dlg_optimised_action": "DLG, action optimised",
    "dlg_ruled_action": "DLG, action by rule",
    "inverting_gradients": "inverting gradients",
    "prior_only": "prior only",
    "closed_form": "closed form",
    "closed_form_naive": "closed form, naive",
    "qgi_short": "QGI",
    "qgi_short_naive": "QGI, naive",
    "best_short": "best",
    "best_short_naive": "best, naive",
    # On whole transitions.
    "gia": "plain inversion",
    "dlg": "DLG",
    "idlg": "iDLG",
    "ig": "inverting gradients",
    "rgia": "RGIA",
    "rgia_states": "RGIA, states alone",
    "rgia_rewards": "RGIA, rewards alone",
    "rgia_dynamics": "RGIA, dynamics alone",
    "rgia_no_gradient": "RGIA, no gradient",
    "rgia_prior_none": "RGIA, no prior",
    "rgia_prior_weights": "RGIA, prior from weights",
    "rgia_prior_biased": "RGIA, biased prior",
    "transition_prior_only": "prior only",
    "transition_posterior": "posterior (ours)",
    "transition_closed_form": "closed form (ours)",
    "transition_closed_form_none": "closed form (ours), no prior",
    "transition_best": "ours",
    "transition_best_none": "ours, no prior",
    "transition_closed_form_naive": "closed form (ours), naive",
    "transition_best_naive": "ours, naive",
    "rgia_naive": "RGIA, naive",
}
DEFENCES = {
    "none": "undefended",
    "clip_1": "clipped to 1",
    "dp_weak": "clipped, noise × 0.01",
    "dp_strong": "clipped, noise × 1",
    "clip_16": "clipped to 16",
    "dp_low": "clipped to 16, noise × 0.01",
    "dp_transition": "clipped to 16, noise × 1",
    "dp_client": "clipped to 16, noise × 28",
    "float16": "16 bits",
    "int8": "8 bits",
    "qsgd_16": "QSGD, 16 levels",
    "sign": "signs",
    "top_10": "largest 10 %",
    "top_1": "largest 1 %",
    "top_1_kept": "largest 1 %, rest kept",
    "random_10": "random 10 %",
    "random_10_kept": "random 10 %, rest kept",
    "top_1_int8": "largest 1 %, 8 bits",
    "pruned_50": "pruned 50 %",
    "pruned_90": "pruned 90 %",
    "no_biases": "no biases",
    "no_first_layer": "no first layer",
    "head_only": "head only",
}
# Of a defence, by how its name begins.
KINDS = {
    "none": "undefended",
    "noise_variance_": "noise of a variance",
    "noise_": "noise relative to the update",
    "clip_": "clipping",
    "dp_": "clipping",
    "float": "fewer bits",
    "int": "fewer bits",
    "qsgd": "fewer bits",
    "sign": "fewer bits",
    "top_": "fewer numbers",
    "random_": "fewer numbers",
    "pruned_": "pruned or withheld",
    "no_": "pruned or withheld",
    "head_": "pruned or withheld",
    "local_": "local steps",
}
_VARIANCE = re.compile(r"noise_variance_(\d+)e(\d+)")
_RATIO = re.compile(r"noise_(?:snr_(m?\d+)db|(\d+)e(\d+))")
_STEPS = re.compile(r"local_(\d+)(?:_(\d+)e(\d+))?")
_SWEPT = re.compile(r"rgia_(alpha|beta|gamma|prior)_(\d+(?:_\d+)?)")
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ"}
HEADS = {
    ("mnih2015", "any"): "7 actions",
    ("mnih2015", "shared"): "7 actions, one taken",
    ("value_head", "any"): "value",
}
LEARNERS = {
    "dqn": "DQN",
    "reinforce": "REINFORCE",
    "critic": "critic",
    "residual_dqn": "residual DQN",
    "residual_critic": "residual critic",
}
METRICS = {
    "psnr_rgb": "PSNR of RGB [dB]",
    "psnr_rgb_read": "PSNR of RGB, pixels read [dB]",
    "psnr_depth_read": "PSNR of depth, pixels read [dB]",
    "ssim_rgb": "SSIM of RGB",
    "psnr_depth": "PSNR of depth [dB]",
    "ssim_depth": "SSIM of depth",
    "iou": "IoU of the box",
    "action_correct": "action correct",
    "predicted_q_error": "error of predicted Q [%]",
    "target_q_error": "error of target Q [%]",
    "reward_error": "absolute error of reward",
    "seconds": "seconds per victim",
    "failed": "failed",
}
# Okabe and Ito's palette: told apart by colour-blind readers and in print.
PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "grey": "#7F7F7F",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
}
# Colour and marker of an attack, the same in every figure: the papers' blue, ours vermilion, a guess grey.
_LOOKS = {
    "qgi": ("blue", "o"),
    "rgi": ("sky", "o"),
    "qgi_joint": ("purple", "^"),
    "peel": ("orange", "v"),
    "gia": ("purple", "^"),
    "rgia": ("blue", "o"),
    "closed_form": ("green", "s"),
    "best": ("vermillion", "D"),
    "prior_only": ("grey", "x"),
}
_NAIVE = "_naive"


def attack_label(attack: str) -> str:
    """The attack's name in print."""
    if level := swept(attack):
        key, value = level
        return f"RGIA, {_GREEK[key]} = {value:g}" if key in _GREEK else f"RGIA, {value:,.0f} transitions"
    return ATTACKS.get(attack, attack.replace("_", " "))


def attack_look(attack: str) -> dict[str, str]:
    """Colour and marker of an attack's points, as matplotlib's keywords; those of who does not know a defence hollow.

    Short runs, variants of RGIA and other priors look like the attack that they are of; attacks that no figure draws
    beside others are black.
    """
    method = attack.removeprefix("transition_").removesuffix(_NAIVE).removesuffix("_none").removesuffix("_short")
    colour, marker = _LOOKS.get("rgia" if method.startswith("rgia_") else method, ("", "o"))
    hollow = {"mfc": "white"} if attack.endswith(_NAIVE) else {}
    return {"color": PALETTE.get(colour, "black"), "marker": marker} | hollow


def swept(attack: str) -> tuple[str, float] | None:
    """What a variant of RGIA varies and its value, as its name says: ('gamma', 0.1) of rgia_gamma_0_1; else None.

    alpha, beta, gamma: weights; prior: transitions that the attacker learns from.
    """
    found = _SWEPT.fullmatch(attack)
    return (found[1], float(found[2].replace("_", "."))) if found else None


def defence_label(defence: str) -> str:
    """The defence's name in print."""
    if (variance := variance_of(defence)) is not None:
        return f"noise {variance:.0e}".replace("e-0", "e-")
    if ratio := _RATIO.fullmatch(defence):
        decibels = float(ratio[1].replace("m", "-")) if ratio[1] else -20 * math.log10(float(f"{ratio[2]}e-{ratio[3]}"))
        return f"noise, SNR {decibels:.0f} dB"
    if steps := _STEPS.fullmatch(defence):
        return f"{steps[1]} local steps" + (f" of {steps[2]}e-{steps[3]}" if steps[2] else "")
    return DEFENCES.get(defence, defence.replace("_", " "))


def defence_kind(defence: str) -> str:
    """What a defence does, in the words of `KINDS`; 'combined' where no name begins like it."""
    return next((kind for beginning, kind in KINDS.items() if defence.startswith(beginning)), "combined")


def variance_of(defence: str) -> float | None:
    """The variance of Gaussian noise, as the defence's name says it: 0.002 of noise_variance_2e3; else None."""
    found = _VARIANCE.fullmatch(defence)
    return float(f"{found[1]}e-{found[2]}") if found else None


def victim_label(learner: str) -> str:
    """Whose gradient it is: 'critic, semi-gradient'."""
    kind = "residual gradient" if learner.startswith("residual_") else "semi-gradient"
    return f"{LEARNERS[learner.removeprefix('residual_')]}, {kind}"


def axis_label(axis: str, value: object) -> str:
    """What a value of an axis is called beside an attack's name."""
    return {"batch": "batch {}", "actions": "{} actions", "policy": "{} policy"}.get(axis, "{}").format(value)


def head_label(network: str, actions: str) -> str:
    """What the samples of a batch leave through."""
    return HEADS.get((network, actions), network if actions == "any" else f"{network}, {actions} action")


def noise_label(level: float) -> str:
    """'none', '0.1 %': the noise's length relative to the gradient's."""
    return f"{100 * level:g} %" if level else "none"


def room_label(room_type: str) -> str:
    """The room type's name in print."""
    return room_type.replace("_", " ")


def provenance_line(scale: str, simulator: str) -> str:
    """'reduced scale, …': what every caption ends with, so that no number is read as another simulator's."""
    places = {
        "rooms": "this project's own rooms, not AI2-THOR's",
        "thor": "AI2-THOR's rooms in Unity",
        "gymnasium": "environments of gymnasium",
    }
    return f"{scale} scale, {places.get(simulator, simulator)}"
