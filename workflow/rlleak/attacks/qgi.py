"""QGI: gradient inversion on deep Q-learning (Li, Ding and Zhao, arXiv 2306.09273), and its joint variant (Fig. 4)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks import rules, stages
from rlleak.attacks.passes import Entry
from rlleak.attacks.running import Chunk, attack
from rlleak.attacks.targets import reciprocal


@attack()
def qgi(chunk: Chunk) -> Mapping[str, Tensor]:
    """The attack as published: action by rule, observation in two stages, Q-values by rule.

    Of a shortened gradient, and of Huber's error at its limit, the target that it gives is not the victim's: then
    `trust/error_unseen` is 1.
    """
    action = rules.dqn_action(stages.last_bias(chunk))  # step 1, eq. 7
    inputs = stages.linear_inputs(chunk)  # step 2, stage 1
    values = q_values(chunk, "features", inputs.values, action)  # step 3, which needs stage 1 only
    return {"action": action, **values, **stages.observation(chunk, inputs), **stages.error_unseen(chunk)}


@attack()
def qgi_joint(chunk: Chunk) -> Mapping[str, Tensor]:
    """QGI with image and vector optimised together (Fig. 4); Q-values from feeding both. `error_unseen` as `qgi`'s."""
    action = rules.dqn_action(stages.last_bias(chunk))
    joint = stages.image_and_vector(chunk)
    values = q_values(chunk, "image", joint.values, action)
    said = {"trust/matching_loss_image": joint.loss, **stages.error_unseen(chunk)}
    return {"action": action, **joint.values, **values, **said}


def q_values(chunk: Chunk, entry: Entry, inputs: Mapping[str, Tensor], action: Tensor) -> dict[str, Tensor]:
    """Step 3: predicted Q by feeding the reconstruction, target Q from the error's sign and the ratio of norms."""
    matching = chunk.matching(entry)
    predicted = matching.output(inputs).gather(1, action[:, None])[:, 0]
    # A dummy target one below the prediction: |Q_hat_rec - Q~| = 1, so J = (Q_hat - Q)^2 has the error 2 at a.
    chosen = torch.nn.functional.one_hot(action, chunk.update.architecture.outputs).to(predicted.dtype)
    error = rules.error_slope(chunk.update.loss) * chosen
    ratio = (matching.linear_square * reciprocal(matching.squared_norm(inputs, error))).sqrt()
    target = rules.target_value(predicted, action, stages.last_bias(chunk), ratio)
    return {"predicted_q": predicted, "target_q": target}
