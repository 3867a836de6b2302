"""Federated averaging: what leaves is how far the weights moved, and whoever knows the steps can simulate them."""

from dataclasses import replace

import attack_cases
import pytest
import torch
from modules import q_network, transitions
from scipy.optimize import linear_sum_assignment

import rlleak
from rlleak.attacks.local_steps import LocalTraining
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.attacks.transitions.running import run_together
from rlleak.configuration.attacks import TransitionSettings
from rlleak.configuration.defences import defence_settings
from rlleak.errors import ConfigurationError
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.transition_prior import TransitionPrior, nothing_known
from rlleak.seeds import derive
from rlleak.sharing.defences import defend, message_bytes
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.privacy import epsilon
from rlleak.sharing.update import SharedUpdate, capture
from rlleak.sharing.victims import Training

SPEC = NetworkSpec(vector_size=4, hidden=(24, 24), outputs=2)
SEED = 5


def local(steps: int, step_size: float = 0.1) -> dict:
    return defence_settings({"method": "local_steps", "steps": steps, "step_size": step_size})


def training(count: int, dtype: torch.dtype = torch.float32) -> Training:
    network, batch, _ = attack_cases.victims(count, spec=SPEC, dtype=dtype)
    return Training(network, DQNLoss(), batch)


def shared(own: Training, size: int, settings: dict, seed: int = SEED) -> SharedUpdate:
    update = capture(*own, size)
    train = training_of(own.network, own.objective)
    return defend(update, settings, seed, range(len(update)), own.batch.observation, train)


def test_one_local_step_is_the_gradient_to_the_last_bit() -> None:
    own = training(8)
    plain, moved = capture(*own, 4), shared(own, 4, local(1))
    for name, gradient in plain.gradients.items():
        assert torch.equal(moved.gradients[name], gradient)
    assert moved.defence == {"method": "local_steps", "steps": 1, "step_size": 0.1}


@pytest.mark.parametrize(("size", "steps"), [(6, 3), (5, 5), (7, 3)])
def test_steps_are_those_of_sgd_run_by_hand_on_the_devices_own_order(size: int, steps: int) -> None:
    own = training(2 * size, torch.float64)
    update = shared(own, size, local(steps))
    for victim in range(2):
        batch = own.batch.select(slice(victim * size, (victim + 1) * size))
        moved = build_network(SPEC, 0).double()
        optimiser = torch.optim.SGD(moved.parameters(), lr=0.1)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(derive(SEED, victim)))
        for rows in order.tensor_split(steps):
            optimiser.zero_grad()
            own.loss.objective(moved, batch.select(rows)).backward()
            optimiser.step()
        for (name, before), after in zip(own.network.named_parameters(), moved.parameters(), strict=True):
            by_hand = (before - after).detach() / (0.1 * steps)
            torch.testing.assert_close(update.gradients[name][victim], by_hand, rtol=1e-9, atol=1e-12)
    assert max(len(part) for part in order.tensor_split(steps)) - size // steps <= 1


def test_the_order_is_the_devices_and_not_in_the_file(tmp_path) -> None:
    own = training(6)
    one, again, other = (shared(own, 6, local(3), seed) for seed in (123456, 123456, 654321))
    assert torch.equal(one.gradients["head.weight"], again.gradients["head.weight"])
    assert not torch.equal(one.gradients["head.weight"], other.gradients["head.weight"])
    one.save(tmp_path / "shared.safetensors")
    assert b"123456" not in (tmp_path / "shared.safetensors").read_bytes()
    assert SharedUpdate.load(tmp_path / "shared.safetensors").defence == local(3)


def test_local_steps_come_first_and_other_defences_follow() -> None:
    own = training(4)
    plain = shared(own, 4, local(2))
    noise = {"method": "gaussian_noise", "relative_deviation": 0.1}
    noisy = shared(own, 4, defence_settings([local(2), noise]))
    off, size = (
        torch.cat([(noisy.gradients[name] - minus * plain.gradients[name]).flatten() for name in plain.gradients])
        for minus in (1, 0)
    )
    assert float(off.norm() / size.norm()) == pytest.approx(0.1, rel=0.1)
    clipped = shared(own, 4, defence_settings([local(2), {"method": "clipping", "norm": 1e-3}]))
    assert clipped.loss["shortened"]
    with pytest.raises(ConfigurationError, match=r"local_steps makes the update.* put it first"):
        defence_settings([noise, local(2)])
    assert epsilon(local(2)) == float("inf")
    assert message_bytes(local(1000), SPEC) == message_bytes({"method": "none"}, SPEC)


def test_what_cannot_train_is_refused_in_one_line() -> None:
    own = training(4)
    with pytest.raises(ConfigurationError, match="2 transitions cannot be cut into 3"):
        shared(own, 2, local(3))
    with pytest.raises(ConfigurationError, match="needs the device's network"):
        defend(capture(*own, 4), local(2), 0, [0])


def test_a_users_module_takes_local_steps_and_stays_as_it_is() -> None:
    network, batch = q_network(), transitions(4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    plain = rlleak.share(network, "dqn", batch)
    one, two = (rlleak.share(network, "dqn", batch, defence=local(steps)) for steps in (1, 2))
    for name, gradient in plain.gradients.items():
        assert torch.equal(one.gradients[name], gradient)
    assert not torch.equal(two.gradients["hidden.0.weight"], plain.gradients["hidden.0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with pytest.raises(ConfigurationError, match="leave out form"):
        rlleak.share(network, "dqn", batch, defence=local(2), form="step")


def prior() -> TransitionPrior:
    """The attacker's own transitions, from another seed than any victim's."""
    _, batch, _ = attack_cases.victims(300, spec=SPEC, seed=77)
    state = batch.observation["vector"]
    own = {"state": state, "next_state": state, "action": torch.eye(2)[batch.action], "reward": batch.reward}
    return replace(nothing_known("CartPole"), transitions=own)


def attacked(update: SharedUpdate, *names: str) -> dict[str, TransitionReconstruction]:
    settings = {
        name: TransitionSettings(method=name.removesuffix("_naive"), adaptive=not name.endswith("naive"), prior="0.3%")
        for name in names
    }
    return run_together(update, settings, {"0.3%": prior()}, seed=3)


def recovered(own: Training, found: TransitionReconstruction, size: int) -> float:
    """Share of transitions whose state is within 0.02 and whose action is right, in the order that fits best."""
    right = 0
    for victim in range(len(found)):
        batch = own.batch.select(slice(victim * size, (victim + 1) * size))
        off = (found.state[victim, 0][:, None] - batch.observation["vector"][None]).abs().amax(dim=2)
        wrong = found.action[victim, 0].argmax(dim=1)[:, None] != batch.action[None]
        cost = ((off > 0.02) | wrong).double().numpy()
        right += size - int(cost[linear_sum_assignment(cost)].sum())
    return right / len(own.batch)


def test_what_is_simulated_from_the_truth_is_what_was_shared() -> None:
    own = training(5, torch.float64)
    update = shared(own, 5, local(3))
    order = torch.randperm(5, generator=torch.Generator().manual_seed(derive(SEED, 0)))
    parts = [own.batch.select(rows.sort().values) for rows in order.tensor_split(3)]
    inputs, errors, moved = [], [], build_network(SPEC, 0).double()
    optimiser = torch.optim.SGD(moved.parameters(), lr=0.1)
    for part in parts:
        output = moved(part.observation)
        optimiser.zero_grad()
        output.retain_grad()
        own.loss(output, part).backward()
        optimiser.step()
        inputs.append(part.observation["vector"])
        errors.append(output.grad)
    simulated = LocalTraining.of(update, 3, 0.1, seed=0)
    truth = torch.cat(inputs)[None], torch.cat(errors)[None]
    assert float(simulated.misfit(*truth).norm()) < 1e-12
    assert float(replace(simulated, step_size=0.0).misfit(*truth).norm()) > 1e-2


def test_who_knows_the_steps_recovers_what_others_take_for_one_batch() -> None:
    own = training(24)
    update = shared(own, 2, local(2))
    found = attacked(update, "transition_closed_form", "transition_closed_form_naive")
    adaptive, naive = (recovered(own, one, 2) for one in found.values())
    assert adaptive > 0.6
    assert adaptive > naive + 0.3
    assert float(found["transition_closed_form"].trust["claimed"].mean()) > 0.5
    assert float(found["transition_closed_form_naive"].trust["claimed"].mean()) == 0


def test_noise_behind_local_steps_leaves_a_guess_and_no_claim() -> None:
    own = training(4)
    noise = {"method": "gaussian_noise", "relative_deviation": 1e-2}
    found = attacked(shared(own, 2, defence_settings([local(2), noise])), "transition_best")["transition_best"]
    assert torch.isfinite(found.state).all()
    assert not bool(found.trust["claimed"].any())


def test_one_local_step_is_read_as_a_batch_is() -> None:
    own = training(2)
    one, batch = (
        attacked(shared(own, 2, settings), "transition_closed_form") for settings in (local(1), {"method": "none"})
    )
    assert torch.equal(one["transition_closed_form"].state, batch["transition_closed_form"].state)
