"""What a separated sample's input, error and output say about it: action, values, vector."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks import rules
from rlleak.attacks.contributions import contributions
from rlleak.attacks.hidden_layers import Head, Samples
from rlleak.sharing.update import SharedUpdate

_ACTS = 1e-3
_CONDITION = 1e6


def values(update: SharedUpdate, head: Head, samples: Samples) -> tuple[dict[str, Tensor], Tensor]:
    """Per-sample components (s, ...), and which samples fit the loss, (s,) bool.

    The loss is a mean over the batch, so a sample's own error is its share times the batch size. Targets and rewards
    that `error_unseen` says nothing tells are 0, as are a policy's action and reward where `action_unseen`. Of losses
    other than DQN's and REINFORCE's only the input and the vector are read.
    """
    spec, own = update.architecture, samples.errors * update.batch_size
    fits = torch.ones(len(own), dtype=torch.bool, device=own.device)
    found = {"linear_input": samples.linear_input}
    if update.loss["kind"] == "dqn":
        action = rules.dqn_action(own)
        predicted = samples.outputs.gather(1, action[:, None])[:, 0]
        error = own.gather(1, action[:, None])[:, 0]
        target = torch.where(error_unseen(update, own), 0, predicted - error / rules.error_slope(update.loss))
        found |= {"action": action, "predicted_q": predicted, "target_q": target}
    elif update.loss["kind"] == "reinforce":
        policy = samples.outputs.softmax(dim=1)
        action, reward, left = rules.reinforce_action_and_reward(own, policy, float(update.loss["entropy_weight"]))
        reward = torch.where(error_unseen(update, own) | action_unseen(update), 0, reward)
        action = action * (not action_unseen(update))
        found |= {"action": action, "reward": reward, "probabilities": policy}
        fits = left < 1e-2
    if spec.vector_size:
        direct = samples.linear_input[:, spec.image_features :]
        found["vector"] = _vectors(update, samples) if spec.vector_width else direct
    if spec.image_shape is not None and not spec.convolutions:
        found["image"] = samples.linear_input[:, : spec.image_features].reshape(-1, *spec.image_shape)
    return found, fits


def error_unseen(update: SharedUpdate, own: Tensor) -> Tensor:
    """Which samples' errors (s, outputs) do not say how large they were, (s,) bool.

    All of a gradient that was shortened before it was shared, and of Huber's those at their limit of 1.
    """
    if update.loss.get("shortened", False):
        return torch.ones(len(own), dtype=torch.bool, device=own.device)
    largest = own.abs().amax(dim=1)
    return (largest > 1 - _ACTS) if update.loss.get("error") == "huber" else torch.zeros_like(largest, dtype=torch.bool)


def action_unseen(update: SharedUpdate) -> bool:
    """Whether a policy has two actions, whose errors are opposite: either, with a return of one sign or the other."""
    return update.loss["kind"] == "reinforce" and update.architecture.outputs == 2


def sharpened(update: SharedUpdate, errors: Tensor, outputs: Tensor) -> Tensor:
    """Errors (s, outputs) as the loss makes them, where the noisy ones are near such an error.

    DQN: exactly 0 but at chosen actions. REINFORCE: return, action and the policy, which the output says.
    """
    if update.loss["kind"] == "dqn":
        return torch.where(errors.abs() > _ACTS * errors.abs().amax(dim=1, keepdim=True), errors, 0.0)
    if update.loss["kind"] == "reinforce":
        own, policy, weight = errors * update.batch_size, outputs.softmax(dim=1), float(update.loss["entropy_weight"])
        action, reward, left = rules.reinforce_action_and_reward(own, policy, weight)
        exact = reward[:, None] * rules.policy_error(policy, action) + rules.entropy_error(policy, weight)
        return torch.where((left < _ACTS)[:, None], exact / update.batch_size, errors)
    return errors


def _vectors(update: SharedUpdate, samples: Samples) -> Tensor:
    """Vectors (s, D) from the outputs of their ReLU layer: least squares on its active neurons.

    Where these are too few, from the layer's gradient, whose columns are the samples' errors at those neurons. Zeros
    where both leave a vector open.
    """
    first, features = update.architecture.image_features, samples.linear_input
    weight, bias = update.parameters["vector.weight"].double(), update.parameters["vector.bias"].double()
    active = samples.alive[:, first:]
    columns = active * (samples.delta @ update.parameters["hidden.0.weight"].double())[:, first:]
    kinds = (update.gradients[f"vector.{kind}"][0].double() for kind in ("weight", "bias"))
    shared = contributions(torch.cat([kind.reshape(len(bias), -1) for kind in kinds], dim=1), columns)
    solved = []
    for index, alive in enumerate(active):
        rows = weight[alive]
        if len(rows) >= rows.shape[1] and float(torch.linalg.cond(rows)) < _CONDITION:
            solved.append(torch.linalg.pinv(rows) @ (features[index, first:] - bias)[alive])
        else:
            # A column that others span does not give back its factor.
            sure = (shared.scales[index] - 1).abs() < _ACTS and shared.error[index] < _ACTS
            solved.append(shared.inputs[index] if sure else torch.zeros_like(shared.inputs[index]))
    return torch.stack(solved)


def mixed_vectors(update: SharedUpdate, samples: Samples) -> Tensor:
    """Whose vector features are no vector's, (s,) bool: a mean of what a ReLU layer says of two vectors is mostly not.

    Mixtures of vectors that activate the same neurons are not seen. All False without a layer for the vector.
    """
    mixed = torch.zeros_like(samples.consistent)
    if not update.architecture.vector_width:
        return mixed
    first = update.architecture.image_features
    weight, bias = update.parameters["vector.weight"].double(), update.parameters["vector.bias"].double()
    for index, features in enumerate(samples.linear_input[:, first:]):
        alive = samples.alive[index, first:]
        if int(alive.sum()) > weight.shape[1]:
            vector = torch.linalg.pinv(weight[alive]) @ (features - bias)[alive]
            rest = (torch.relu(weight @ vector + bias) - features).norm() / features.norm()
            mixed[index] = rest > 1e-6 + 20 * samples.error[index]
    return mixed


def filled(update: SharedUpdate, found: Mapping[str, Tensor], claimed: Tensor) -> dict[str, Tensor]:
    """Components (B, ...) with the claimed samples first and zeros behind, and `claimed` (B,)."""
    dtype = next(iter(update.parameters.values())).dtype
    rows = {"claimed": torch.ones_like(claimed)} | dict(found)
    whole = {}
    for name, value in rows.items():
        kept = value[claimed]
        padded = torch.cat([kept, kept.new_zeros((update.batch_size - len(kept), *kept.shape[1:]))])
        whole[name] = padded.to(dtype) if padded.is_floating_point() else padded
    return whole


def nothing(update: SharedUpdate) -> dict[str, Tensor]:
    """The components of an update of which nothing is claimed."""
    spec, device = update.architecture, next(iter(update.parameters.values())).device
    shapes = {"linear_input": (spec.linear_inputs,)}
    if update.loss["kind"] == "dqn":
        shapes |= {"action": (), "predicted_q": (), "target_q": ()}
    elif update.loss["kind"] == "reinforce":
        shapes |= {"action": (), "reward": (), "probabilities": (spec.outputs,)}
    if spec.vector_size:
        shapes["vector"] = (spec.vector_size,)
    if spec.image_shape is not None and not spec.convolutions:
        shapes["image"] = spec.image_shape
    empty = {name: torch.zeros(0, *shape, device=device) for name, shape in shapes.items()}
    if "action" in empty:
        empty["action"] = empty["action"].long()
    return filled(update, empty, torch.zeros(0, dtype=torch.bool, device=device))
