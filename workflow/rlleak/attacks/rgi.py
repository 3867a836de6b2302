"""RGI: gradient inversion on REINFORCE (Li, Ding and Zhao, arXiv 2306.09273)."""

from collections.abc import Mapping

from torch import Tensor

from rlleak.attacks import rules, stages
from rlleak.attacks.running import Chunk, attack


@attack()
def rgi(chunk: Chunk) -> Mapping[str, Tensor]:
    """The attack as published: probabilities by optimisation, action and reward by rule, observation in two stages.

    Of a policy of two actions the action and the reward are one of two guesses that explain the update alike: then
    `trust/action_unseen` is 1, and so is `trust/assumption_failed`. Of a shortened gradient the return is not the
    victim's: then `trust/error_unseen` is 1. How far the optimisations got, only their matching losses say.
    """
    last = stages.last_activation(chunk)  # step 1: input of the last linear layer
    probabilities = stages.head_output(chunk, last.values["activation"]).softmax(dim=1)
    action, reward, unexplained = rules.reinforce_action_and_reward(  # step 2, eqs. 8 and 9
        stages.last_bias(chunk), probabilities, float(chunk.update.loss["entropy_weight"])
    )
    unseen = rules.action_unseen(probabilities).float()
    found = {
        "action": action,
        "reward": reward,
        "probabilities": probabilities,
        "trust/matching_loss_last": last.loss,
        "trust/unexplained_error": unexplained,
        "trust/action_unseen": unseen,
        "trust/assumption_failed": unseen,
    }
    found |= stages.observation(chunk, stages.linear_inputs(chunk))  # step 3
    return found | stages.error_unseen(chunk)
