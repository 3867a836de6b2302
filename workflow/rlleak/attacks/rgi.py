"""RGI: gradient inversion on REINFORCE (Li, Ding and Zhao, arXiv 2306.09273)."""

from collections.abc import Mapping

from torch import Tensor

from rlleak.attacks import rules, stages
from rlleak.attacks.running import Chunk, attack


@attack()
def rgi(chunk: Chunk) -> Mapping[str, Tensor]:
    """The attack as published: probabilities by optimisation, action and reward by rule, observation in two stages."""
    last = stages.last_activation(chunk)  # step 1: input of the last linear layer
    probabilities = stages.head_output(chunk, last.values["activation"]).softmax(dim=1)
    action, reward, unexplained = rules.reinforce_action_and_reward(  # step 2, eqs. 8 and 9
        stages.last_bias(chunk), probabilities, float(chunk.update.loss["entropy_weight"])
    )
    found = {
        "action": action,
        "reward": reward,
        "probabilities": probabilities,
        "trust/matching_loss_last": last.loss,
        "trust/unexplained_error": unexplained,
    }
    return found | stages.observation(chunk, stages.linear_inputs(chunk))  # step 3
