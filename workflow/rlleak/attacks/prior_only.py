"""What an attacker knows without any gradient: the average of its own public rooms. The floor of every table."""

from collections.abc import Mapping

from torch import Tensor

from rlleak.attacks.running import Chunk, attack
from rlleak.errors import ConfigurationError

_MEANS = ("image", "vector", "predicted_q", "target_q", "reward", "probabilities")


@attack()
def prior_only(chunk: Chunk) -> Mapping[str, Tensor]:
    """The same guess for every victim; only their number is taken from the update.

    Its knowledge `public` is the attacker's own rooms, (P, ...) each: image, vector, action and whatever of
    predicted_q, target_q, reward, probabilities it has. The guess is their mean, and the commonest action. Raises
    ConfigurationError without public rooms.
    """
    public = chunk.knowledge.get("public")
    if not public or any(len(value) == 0 for value in public.values()):
        raise ConfigurationError("attack 'prior_only' knows nothing but public rooms and got none; set public_victims")
    found = guess(public)
    return {name: value.expand(chunk.victims, *value.shape).clone() for name, value in found.items()}


def guess(public: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of some rooms (P, ...) by component, and the commonest action."""
    found = {name: public[name].float().mean(dim=0) for name in _MEANS if public.get(name) is not None}
    if public.get("action") is not None:
        found["action"] = public["action"].mode().values
    return found
