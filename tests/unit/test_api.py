"""share, receive: from a user's module to what a server sees, and back to experience."""

from collections import namedtuple
from pathlib import Path

import modules
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from modules import q_network, transitions
from safetensors.torch import save_file
from torch import nn

import rlleak
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.dqn import DQNLoss


def test_a_shared_gradient_is_what_autograd_gives_for_the_batch() -> None:
    network, batch = q_network(), transitions(3)
    target_network = q_network()
    with torch.no_grad():
        target_network[0].weight.mul_(1.5)
    update = rlleak.share(network, "dqn", batch, target_network=target_network, gamma=0.9, double=True, error="huber")
    best = network(batch["next_obs"]).argmax(dim=1, keepdim=True)
    following = target_network(batch["next_obs"]).gather(1, best)[:, 0]
    target = batch["rewards"][:, 0] + 0.9 * following * (1 - batch["dones"])
    chosen = network(batch["obs"]).gather(1, batch["actions"])[:, 0]
    loss = nn.functional.huber_loss(chosen, target.detach())
    for expected, (name, mine) in zip(
        torch.autograd.grad(loss, list(network.parameters())), update.sent.items(), strict=True
    ):
        torch.testing.assert_close(mine[0], expected, msg=name)
    assert (update.batch_size, len(update)) == (3, 1)
    assert update.loss["double"]
    assert update.loss["error"] == "huber"


def test_a_batch_of_the_librarys_names_what_a_network_takes_without_a_name() -> None:
    network, given_ = q_network(), transitions(2)
    batch = rlleak.Batch({"vector": given_["obs"]}, given_["actions"][:, 0], torch.zeros(2), target=torch.ones(2))
    update = rlleak.share(network, "dqn", batch, batch_size=1)
    seen = update.observation(rlleak.attack("closed_form", update))["vector"]
    torch.testing.assert_close(seen, given_["obs"], rtol=1e-4, atol=1e-5)


def test_a_part_of_a_captured_update_still_knows_its_module() -> None:
    network, batch = q_network(), transitions(4)
    part = rlleak.share(network, "dqn", batch, batch_size=1).select(slice(1, 3)).to("cpu")
    seen = part.observation(rlleak.attack("closed_form", part))["observation"]
    torch.testing.assert_close(seen, batch["obs"][1:3], rtol=1e-4, atol=1e-5)


def test_a_batch_can_be_cut_into_updates_of_their_own() -> None:
    network, batch = q_network(), transitions(4)
    pairs = rlleak.share(network, "dqn", batch, batch_size=2)
    alone = rlleak.share(network, "dqn", batch, batch_size=1)
    assert (len(pairs), len(alone)) == (2, 4)
    mean = alone.gradients["head.weight"][:2].mean(dim=0)
    torch.testing.assert_close(pairs.gradients["head.weight"][0], mean)


@given(st.sampled_from(["dqn", "reinforce", "actor_critic", "ppo"]), st.integers(0, 500))
@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
def test_what_closed_form_reads_off_a_users_network_is_what_it_saw(loss: str, seed: int) -> None:
    torch.manual_seed(seed)
    with_value = loss in ("actor_critic", "ppo")
    network = modules.ActorCritic() if with_value else q_network()
    batch = transitions(3, seed=seed)
    if loss == "ppo":
        batch |= {"advantages": torch.rand(3) + 0.5, "logprobs": -torch.rand(3) - 1.0}
    update = rlleak.share(network, loss, batch, batch_size=1)
    found = rlleak.attack("closed_form", update)
    seen = update.observation(found)["observation"]
    alive = found.trust["zero_update"] == 0
    torch.testing.assert_close(seen[alive], batch["obs"][alive], rtol=1e-3, atol=1e-4)
    if with_value:
        value = network(batch["obs"])["value"].detach()
        torch.testing.assert_close(found.predicted_q, value, rtol=1e-3, atol=1e-4)
        following = network(batch["next_obs"])["value"].detach()
        returns = batch["rewards"][:, 0] + 0.99 * following * (1 - batch["dones"])
        torch.testing.assert_close(found.target_q, returns, rtol=1e-3, atol=1e-3)
        unclipped = found.trust["action_unseen"] == 0
        assert torch.equal(found.action[unclipped], batch["actions"][:, 0][unclipped])
    elif loss == "dqn":
        assert torch.equal(found.action[alive], batch["actions"][:, 0][alive])


def test_separate_actor_and_critic_give_an_update_each_and_the_clipping_is_over_both() -> None:
    network, batch = modules.CleanRLAgent(), transitions(1, actions=3)
    forward = lambda agent, seen: (agent.actor(seen), agent.critic(seen))  # noqa: E731
    policy = rlleak.share(network, "actor_critic", batch, forward=forward)
    value = rlleak.share(network, "actor_critic", batch, output="value")
    assert policy.loss["outputs"] == ["policy"]
    assert value.loss["outputs"] == ["value"]
    norm = sum(gradient.square().sum() for gradient in policy.sent.values()).sqrt()
    clipped = rlleak.share(network, "actor_critic", batch, clip_norm=float(norm) / 2)
    for name, gradient in clipped.sent.items():
        torch.testing.assert_close(gradient, policy.sent[name] / 2, rtol=1e-4, atol=1e-7)
    for update in (policy, value):
        seen = update.observation(rlleak.attack("closed_form", update))["observation"]
        torch.testing.assert_close(seen, batch["obs"], rtol=1e-4, atol=1e-5)


def test_a_clipped_gradient_hides_the_target_and_the_attack_says_so() -> None:
    network, batch = q_network(), transitions(2)
    plain = rlleak.attack("closed_form", rlleak.share(network, "dqn", batch, batch_size=1))
    clipped = rlleak.attack("closed_form", rlleak.share(network, "dqn", batch, batch_size=1, clip_norm=1e-3))
    torch.testing.assert_close(clipped.vector, plain.vector, rtol=1e-4, atol=1e-5)
    assert clipped.trust["error_unseen"].all()
    assert not clipped.target_q.any()
    assert not plain.trust["error_unseen"].any()


def test_a_clipped_value_hides_the_return_and_the_attack_says_so() -> None:
    network, batch = modules.ActorCritic(), transitions(2)
    with torch.no_grad():
        value = network(batch["obs"])["value"]
    # Both moved by more than the clip: upwards, towards the first return and away from the second.
    batch |= {"returns": value + torch.tensor([3.0, -3.0]), "values": value - 1, "advantages": torch.ones(2)}
    update = rlleak.share(network, "ppo", batch, batch_size=1, value_clip=0.2)
    found = rlleak.attack("closed_form", update)
    assert found.trust["error_unseen"].tolist() == [1, 0]
    torch.testing.assert_close(found.target_q, torch.stack([torch.zeros(()), value[1] - 3]))
    torch.testing.assert_close(found.reward, torch.ones(2), rtol=1e-4, atol=1e-4)


def test_an_update_captured_elsewhere_is_the_same(tmp_path: Path) -> None:
    network, batch = modules.NatureLike(), transitions(2, (3, 20, 20), actions=5)
    update = rlleak.share(network, "dqn", batch, batch_size=1, observation_space=(3, 20, 20))
    path = tmp_path / "captured.safetensors"
    save_file({name: value.contiguous() for name, value in update.sent.items()}, path)
    again = rlleak.receive(path, network, "dqn", observation_space=(3, 20, 20))
    assert len(again) == 2
    assert all(torch.equal(again.gradients[name], value) for name, value in update.gradients.items())
    save_file({name: value[0].contiguous() for name, value in update.sent.items()}, path)
    assert len(rlleak.receive(path, network, "dqn", observation_space=(3, 20, 20))) == 1
    some = {name: value[0].contiguous() for name, value in update.sent.items() if name != "network.0.bias"}
    save_file(some, path)
    with pytest.raises(ConfigurationError, match=r"lacks 'network\.0\.bias'"):
        rlleak.receive(path, network, "dqn", observation_space=(3, 20, 20))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptArtefactError, match="safetensors"):
        rlleak.receive(path, network, "dqn", observation_space=(3, 20, 20))


def test_a_captured_update_is_saved_and_read_as_any_shared_update(tmp_path: Path) -> None:
    update = rlleak.share(q_network(), "dqn", transitions(1))
    update.save(tmp_path / "shared.safetensors")
    read = rlleak.SharedUpdate.load(tmp_path / "shared.safetensors")
    assert read.loss["wire"]["form"] == "gradient"
    torch.testing.assert_close(rlleak.attack("closed_form", read).vector, rlleak.attack("closed_form", update).vector)


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"obs": torch.rand(2, 5)}, {"observation_space": (6,)}, r"has shape \(2, 5\); expected \(2, 6\)"),
        ({"obs": torch.rand(2, 5)}, {}, "does not take observations of shapes observation"),
        ({"obs": torch.full((2, 6), float("nan"))}, {}, "holds NaN"),
        ({"actions": torch.tensor([0, 9])}, {}, "actions 0 to 3"),
        ({"actions": torch.tensor([0.5, 1])}, {}, "discrete actions"),
        ({"rewards": torch.rand(3)}, {}, "the batch has 2 actions"),
        ({"actions": 1}, {}, "action is a single number; give one per transition"),
        ({"obs": torch.rand(6), "actions": [1]}, {}, "the batch has 1 actions: give as many, in the first dimension"),
        ({"rewards": torch.rand(2, 2)}, {}, r"reward has shape \(2, 2\); give one number per transition"),
        ({"actions": torch.eye(4)[:2]}, {}, "one discrete action, as an integer"),
        ({}, {"loss": nn.MSELoss()}, "loss is a MSELoss; give dqn"),
        ({}, {"loss": DQNLoss(), "gama": 0.5}, "loss 'dqn' has the constants"),
        ({}, {"observation_space": (-6,)}, "sides above 0"),
        ({"next_obs": None}, {}, "needs next_observation"),
        ({"reword": torch.rand(2)}, {}, "did you mean 'reward'"),
        ({"obs": None}, {}, "lacks 'observation'"),
        ({}, {"loss": "ppo"}, r"return \(logits, value\)"),
        ({}, {"gama": 0.5}, "has the constants"),
        ({}, {"error": "hubert"}, "did you mean 'huber'"),
        ({}, {"loss": "dqm"}, "did you mean 'dqn'"),
        ({}, {"form": "stop"}, "did you mean 'step'"),
        ({}, {"optimiser": "Adan"}, "did you mean 'Adam'"),
        ({}, {"form": "step", "options": {"beta": 1}}, "optimiser SGD"),
        ({}, {"batch_size": 3}, "cannot be cut"),
        ({}, {"clip_norm": 0}, "above 0"),
        ({}, {"output": "value"}, "has no value"),
        ({}, {"target_network": nn.Linear(6, 5)}, "target_network gives 5 numbers and the network 4"),
        ({}, {"target_network": nn.Linear(7, 4)}, "target_network does not take what the network observes"),
        ({}, {"target_network": q_network().state_dict()}, "is a OrderedDict and no torch module"),
    ],
    ids=lambda value: None,
)
def test_what_does_not_fit_is_said_in_one_line(changes: dict, options: dict, said: str) -> None:
    batch = transitions(2) | changes
    with pytest.raises(ConfigurationError, match=said) as caught:
        rlleak.share(q_network(), batch=batch, **({"loss": "dqn"} | options))
    assert "\n" not in str(caught.value)


def test_where_torch_makes_no_gradients_sharing_says_so() -> None:
    with torch.inference_mode(), pytest.raises(ConfigurationError, match="computes gradients"):
        rlleak.share(q_network(), "dqn", transitions(1))
    with torch.no_grad():
        update = rlleak.share(q_network(), "dqn", transitions(1))
    assert not rlleak.attack("closed_form", update).trust["assumption_failed"].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_is_matched_too(dtype: torch.dtype) -> None:
    found = rlleak.attack("qgi", rlleak.share(q_network().to(dtype), "dqn", transitions(1)), iterations=3)
    assert found.vector.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_what_is_no_network_of_numbers_is_refused_in_one_line() -> None:
    broken = q_network()
    with torch.no_grad():
        broken[2].weight[0, 0] = float("nan")
    script = torch.jit.trace(q_network(), torch.rand(2, 6))
    refused = {"parameter '2.weight'": broken, "OrderedDict": broken.state_dict(), "TorchScript": script}
    for said, network in refused.items():
        for use in (lambda it: rlleak.audit(it, (6,)), lambda it: rlleak.share(it, "dqn", transitions(1))):
            with pytest.raises(ConfigurationError, match=said) as caught:
                use(network)
            assert "\n" not in str(caught.value)


def test_the_readmes_example_runs_as_it_is_written(tmp_path: Path, monkeypatch, capsys) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text().partition("## Your own network")[2]
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {}
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    torch.testing.assert_close(names["seen"]["observation"], names["batch"]["observation"], atol=0.01, rtol=0)
    assert "Measured: 2 updates" in capsys.readouterr().out
    assert (tmp_path / "audit" / "audit.html").exists()


def test_what_stable_baselines3s_buffers_give_is_a_batch() -> None:
    batch = transitions(2)
    names = ("observations", "actions", "next_observations", "dones", "rewards", "discounts")
    kept = [batch[name] for name in ("obs", "actions", "next_obs", "dones", "rewards")]
    sampled = namedtuple("ReplayBufferSamples", names)(*kept, None)
    update, expected = (rlleak.share(q_network(), "dqn", given_) for given_ in (sampled, batch))
    assert all(torch.equal(update.sent[name], value) for name, value in expected.sent.items())


def test_a_network_that_scales_in_place_is_shared_as_it_learns_and_its_batch_is_left_alone() -> None:
    class InPlace(modules.NatureLike):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.float()
            x /= 255
            return self.network(x)

    frames = torch.randint(0, 256, (2, 3, 20, 20)).float()
    batch = {"obs": frames, "action": torch.tensor([1, 2]), "target": torch.ones(2)}
    network, before = InPlace(), frames.clone()
    update = rlleak.share(network, "dqn", batch)
    assert torch.equal(frames, before)
    loss = (network(before)[[0, 1], [1, 2]] - 1).square().mean()
    for mine, expected in zip(update.sent.values(), torch.autograd.grad(loss, list(network.parameters())), strict=True):
        torch.testing.assert_close(mine[0], expected)


def test_a_network_may_return_a_state_that_is_none_and_hold_a_scalar_that_nothing_reads() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.temperature = q_network(), nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
            return self.q(x), state

    batch = transitions(1)
    with torch.no_grad():  # as in many an evaluation script
        update = rlleak.share(Stateful(), "dqn", batch, clip_norm=0.1)
        seen = update.observation(rlleak.attack("closed_form", update))["observation"]
    torch.testing.assert_close(seen, batch["obs"], rtol=1e-4, atol=1e-5)


def test_updates_are_as_many_of_each_tensor_and_wrappers_names_do_no_harm(tmp_path: Path) -> None:
    update, path = rlleak.share(q_network(), "dqn", transitions(2), batch_size=1), tmp_path / "sent.safetensors"
    save_file({f"_orig_mod.{name}": value.contiguous() for name, value in update.sent.items()}, path)
    assert len(rlleak.receive(path, q_network(), observation_space=(6,))) == 2
    for fewer in (0, 1):
        save_file(
            {name: value[:fewer].clone() if "bias" in name else value for name, value in update.sent.items()}, path
        )
        with pytest.raises(ConfigurationError, match=f"there are {fewer} updates of '0.bias' and 2 of"):
            rlleak.receive(path, q_network(), observation_space=(6,))


def test_a_frozen_layer_does_not_leave() -> None:
    network = q_network()
    network[0].weight.requires_grad_(False)
    with pytest.raises(ConfigurationError, match=r"'0\.weight' is frozen"):
        rlleak.share(network, "dqn", transitions(1))


def test_sharing_leaves_the_network_and_its_gradients_alone() -> None:
    network = q_network()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    rlleak.share(network, "dqn", transitions(2), form="step", optimiser="Adam", clip_norm=0.1)
    for name, value in network.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is None


def test_matching_attacks_run_on_a_users_network() -> None:
    network, batch = modules.NatureLike(), transitions(1, (3, 20, 20), actions=5)
    update = rlleak.share(network, "dqn", batch, observation_space=(3, 20, 20))
    found = rlleak.attack("qgi", update, iterations=2)
    assert update.observation(found)["observation"].shape == (1, 3, 20, 20)
    assert int(found.action) == int(batch["actions"])


def test_what_is_no_number_of_victims_transitions_or_devices_is_refused_in_one_line(tmp_path: Path) -> None:
    network, batch = q_network(), transitions(2)
    update = rlleak.share(network, "dqn", batch, batch_size=1)
    with pytest.raises(CorruptArtefactError, match="is of no victim"):
        rlleak.attack("closed_form", update.select(slice(2, 4)))
    with pytest.raises(ConfigurationError, match=r"updates over 2\.0 each"):
        rlleak.share(network, "dqn", batch, batch_size=2.0)
    file = tmp_path / "update.safetensors"
    save_file({name: value[0] for name, value in update.sent.items()}, file)
    with pytest.raises(ConfigurationError, match="batch_size is -1"):
        rlleak.receive(file, network, observation_space=(6,), batch_size=-1)
    with pytest.raises(ConfigurationError, match="do not run on device 'mps'"):
        rlleak.audit(network, (6,), device="mps")


def test_a_compiled_network_is_shared_received_and_audited_as_it_was_written() -> None:
    network, batch = q_network(), transitions(1)
    compiled = torch.compile(network)
    update = rlleak.share(compiled, "dqn", batch, target_network=torch.compile(network))
    for name, gradient in rlleak.share(network, "dqn", batch).gradients.items():
        assert torch.equal(update.gradients[name], gradient)
    assert rlleak.audit(compiled, (6,)).branches == rlleak.audit(network, (6,)).branches
