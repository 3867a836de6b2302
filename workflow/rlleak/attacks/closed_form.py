"""Closed forms: everything that one transition's linear layers give away, by algebra, without any optimisation.

The last bias's gradient is the error itself; each linear layer's input follows from its gradient (`linear_algebra`);
Q-values, probabilities, action and reward follow from the last input and the error.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks import rules
from rlleak.attacks.certificate import Certificate
from rlleak.attacks.completion import input_of
from rlleak.attacks.linear_algebra import LinearPart, solve_linear_part
from rlleak.attacks.rounded import told_inexact
from rlleak.attacks.running import Chunk, attack
from rlleak.attacks.targets import reciprocal
from rlleak.configuration.attacks import AttackSettings
from rlleak.sharing.update import SharedUpdate

UNIDENTIFIED = 1e3
"""Roundings below which what is left of the error after its entropy term says nothing about the action."""
UNEXPLAINED = 1e3
"""Roundings that the best action and reward may leave of the error."""


def linear_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim takes, bytes: its update, and its largest layer twice in float64."""
    spec = update.architecture
    sizes = {name: torch.Size(shape).numel() for name, shape in spec.parameter_shapes.items()}
    element = next(iter(update.gradients.values())).element_size()
    return 2 * element * sum(sizes.values()) + 3 * 8 * max(sizes.values())


@attack(weighs=linear_bytes)
def closed_form(chunk: Chunk) -> Mapping[str, Tensor]:
    """Vector, action, values and the first linear layer's input by algebra; the image is left alone.

    What cannot be known is zero and said so in `trust/assumption_failed`, with the reason beside it: `no_bias` (inputs
    are known up to a factor: linear_input has length 1), `dead_layer`, `several_samples` (nothing is claimed), `noise`
    (least squares is given), `action_unseen` (a policy gradient with a return of 0, or of two actions, whose errors are
    opposite: either may have been taken, with a return of one sign or the other), `error_unseen` (a shortened gradient,
    or Huber's error at its limit: no target, no reward; or a value that PPO clipped: no target), `entries_unknown`
    (part of an input has no entry among those that arrived; it is 0).

    A network of a single linear layer whose error stands at one output shares one row, which is of rank 1 whatever it
    holds: then `unchecked` is 1, and noise and several samples show only where the server was told of them. Nor are
    samples of one action told from their weighted mean where all activate the same units: that one update is of one
    transition the server must know.

    It knows which entries of the update arrived: factors are completed from those, scales from the network's own biases
    where none of the gradient's arrived, and the vector from what its layer put out (`completion`). Noise it averages
    over all rows of a layer.
    """
    part = solve_linear_part(chunk.update)
    found, certificate = read_linear_part(chunk.update, part)
    return {**found, **certificate.trust()}


def read_linear_part(update: SharedUpdate, part: LinearPart) -> tuple[dict[str, Tensor], Certificate]:
    """Components that the solved linear layers give, and the certificate. Nothing of mixed samples is claimed."""
    certificate = part.certificate()
    claimed = ~certificate.failures["several_samples"]
    if len(part.layers) == 1:
        # One row is of rank 1 whatever it holds, and so are signs; no other layer contradicts them.
        certificate.failures["noise"] |= claimed & told_inexact(update)
        certificate.notes["unchecked"] = (part.layers["head"].delta != 0).sum(dim=1) <= 1
    outputs = update.loss.get("outputs", ("policy",))
    found = {"linear_input": part.first.input}
    if part.bias:
        found |= _vector(update, part)
    if update.loss["kind"] == "dqn":
        found |= _q_values(update, part)
    elif part.bias and "policy" in outputs:
        policy, unexplained, unseen = _policy(update, part, "value" in outputs)
        either = unseen | rules.action_unseen(policy["probabilities"])
        found |= policy | {name: torch.where(either, 0, policy[name]) for name in ("action", "reward")}
        roundings = UNEXPLAINED * torch.finfo(part.dtype).eps
        certificate.failures["noise"] |= (unexplained > roundings) & claimed & ~unseen
        certificate.failures["action_unseen"] = either
    silent = torch.zeros_like(claimed)
    if part.bias and "value" in outputs:
        found |= _critic(update, part)
        # PPO's clipped value lets no error through: then V(s) is not the return, as it seems.
        silent = (part.layers["head"].delta[:, -1] == 0) & (update.loss.get("value_clip") is not None)
        found |= {"target_q": torch.where(silent, 0, found["target_q"])} if "target_q" in found else {}
    unsized = rules.error_unseen(update.loss, part.layers["head"].delta, part.dtype)
    for name in ("target_q", "reward"):
        if name in found:
            found[name] = torch.where(unsized, 0, found[name])
    certificate.failures["error_unseen"] = unsized | silent
    dtype = next(iter(update.parameters.values())).dtype
    for name, value in found.items():
        value = value * claimed.view(-1, *[1] * (value.dim() - 1))
        found[name] = value.to(dtype) if value.is_floating_point() else value
    return found, certificate


def _vector(update: SharedUpdate, part: LinearPart) -> dict[str, Tensor]:
    if not update.architecture.vector_size:
        return {}
    behind = part.first.input[:, update.architecture.image_features :]
    if not update.architecture.vector_width:
        return {"vector": behind}
    own = part.layers["vector"].input
    if update.architecture.activation != "relu":
        return {"vector": own}
    weight, bias = (update.parameters[f"vector.{kind}"].double() for kind in ("weight", "bias"))
    # What the layer put out tells its input, by many more entries than a small layer's own gradient.
    if "vector.weight" in update.known:
        return {"vector": input_of(behind, weight, bias)}
    error = part.first.deviation * reciprocal(part.first.delta.norm(dim=1))
    return {"vector": torch.where((error > 0)[:, None], input_of(behind, weight, bias, error), own)}


def _head_output(update: SharedUpdate, part: LinearPart) -> Tensor:
    weight, bias = update.parameters["head.weight"].double(), update.parameters["head.bias"].double()
    return part.layers["head"].input @ weight.T + bias


def _q_values(update: SharedUpdate, part: LinearPart) -> dict[str, Tensor]:
    """Action: where the error stands."""
    delta = part.layers["head"].delta
    action = rules.dqn_action(delta)
    if not part.bias:
        return {"action": action}
    alive = part.layers["head"].alive
    predicted = _head_output(update, part).gather(1, action[:, None])[:, 0]
    error = delta.gather(1, action[:, None])[:, 0]
    slope = rules.error_slope(update.loss)
    return {"action": action, "predicted_q": predicted * alive, "target_q": (predicted - error / slope) * alive}


def _critic(update: SharedUpdate, part: LinearPart) -> dict[str, Tensor]:
    """V(s) and the return R, from c (R - V)^2's error 2 c (V - R) at the last output."""
    alive = part.layers["head"].alive
    value, error = _head_output(update, part)[:, -1], part.layers["head"].delta[:, -1]
    weight = float(update.loss["value_weight"])
    found = {"predicted_q": value * alive}
    return found | ({"target_q": (value - error / (2 * weight)) * alive} if weight > 0 else {})


def _policy(update: SharedUpdate, part: LinearPart, with_value: bool) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Action, reward and probabilities; the share of the error that they leave; where the action leaves no trace.

    with_value: a critic's value stands behind the logits. Actor-critic's reward is the advantage.
    """
    head, logits = part.layers["head"], slice(None, -1 if with_value else None)
    delta = head.delta[:, logits]
    probabilities = _head_output(update, part)[:, logits].softmax(dim=1) * head.alive[:, None]
    weight = float(update.loss["entropy_weight"])
    action, reward, _ = rules.reinforce_action_and_reward(delta, probabilities, weight)
    by_entropy = rules.entropy_error(probabilities, weight)
    remaining = delta - by_entropy
    size = torch.maximum(delta.norm(dim=1), by_entropy.norm(dim=1))
    unseen = remaining.norm(dim=1) <= UNIDENTIFIED * torch.finfo(part.dtype).eps * size
    left = remaining - reward[:, None] * rules.policy_error(probabilities, action)
    unexplained = left.norm(dim=1) * reciprocal(size)
    return {"action": action, "reward": reward, "probabilities": probabilities}, unexplained, unseen
