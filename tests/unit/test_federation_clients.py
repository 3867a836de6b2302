"""What a client of federated training shares: the gradient that attacks are about, defended as everywhere else."""

import pytest
import torch
from federations import training_of

from rlleak.configuration.defences import defence_settings
from rlleak.errors import SimulatorError
from rlleak.federation.client import Client
from rlleak.federation.clients import Clients
from rlleak.federation.learning import Learner, of_role
from rlleak.federation.server import Server
from rlleak.learners.batch import Batch
from rlleak.learners.critic import CriticLoss, policy, with_action
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import load_network
from rlleak.sharing.defences import applied
from rlleak.sharing.sending import Client as Device
from rlleak.sharing.sending import Sent
from rlleak.sharing.update import capture

NONE = {"method": "none"}


def parameters_of(settings, seed: int = 3) -> dict[str, torch.Tensor]:
    """Those of a server in the middle of a training: its target networks lag behind."""
    fresh = Server(settings, NONE, seed).parameters
    generator = torch.Generator().manual_seed(seed)
    return {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in fresh.items()}


def message(settings, defence, parameters, round: int = 1, seed: int = 5) -> tuple[Sent, dict[str, torch.Tensor]]:
    client = Client(settings, defence_settings(defence), seed)
    client.play(parameters, 0)
    sent, drawn = client.update(parameters, round), client.drawn(round)
    client.close()
    return sent, drawn


def network_of(settings, parameters, role: str):
    return load_network(Learner(settings).specs[role.removeprefix("target_")], of_role(parameters, role))


@pytest.mark.parametrize("batch", [1, 3])
def test_the_update_of_q_learning_is_the_one_that_is_captured_and_attacked(batch: int) -> None:
    settings = training_of("CartPole", batch=batch)
    parameters = parameters_of(settings)
    sent, drawn = message(settings, NONE, parameters)
    states = [{"vector": drawn[f"{name}/vector"]} for name in ("observation", "next_observation")]
    made = Batch(states[0], drawn["action"], drawn["reward"], states[1], drawn["terminated"])
    loss = DQNLoss(gamma=settings.gamma)
    made = loss.with_target(made, network_of(settings, parameters, "target_critic"))
    captured = capture(network_of(settings, parameters, "critic"), loss, made, batch).gradients
    assert set(sent.gradients) == {f"critic/{name}" for name in captured}
    for name, gradient in captured.items():
        torch.testing.assert_close(sent.gradients[f"critic/{name}"], gradient[0])
    assert sent.bytes == 4 * sum(gradient[0].numel() for gradient in captured.values())


def test_the_update_of_a_critic_is_the_one_that_is_captured_and_its_actor_climbs_the_value() -> None:
    settings = training_of("Hopper", batch=2)
    parameters = parameters_of(settings)
    sent, drawn = message(settings, NONE, parameters, round=1)
    alone, _ = message(settings, NONE, parameters, round=0)
    assert {name.split("/")[0] for name in sent.gradients} == {"critic", "actor"}
    assert {name.split("/")[0] for name in alone.gradients} == {"critic"}  # the actor every other round
    target_actor = network_of(settings, parameters, "target_actor")
    state, following = ({"vector": drawn[f"{name}/vector"]} for name in ("observation", "next_observation"))
    made = Batch(
        with_action(state, drawn["action"]),
        torch.zeros(2, dtype=torch.int64),
        drawn["reward"],
        with_action(following, policy(target_actor, following)),
        drawn["terminated"],
    )
    loss = CriticLoss(gamma=settings.gamma, actor=target_actor)
    made = loss.with_target(made, network_of(settings, parameters, "target_critic"))
    critic, actor = (network_of(settings, parameters, role) for role in ("critic", "actor"))
    for name, gradient in capture(critic, loss, made, 2).gradients.items():
        torch.testing.assert_close(sent.gradients[f"critic/{name}"], gradient[0])
    value = critic(with_action(state, policy(actor, state))).mean()
    climbing = torch.autograd.grad(-value, list(actor.parameters()))
    for name, gradient in zip(dict(actor.named_parameters()), climbing, strict=True):
        torch.testing.assert_close(sent.gradients[f"actor/{name}"], gradient)


METHODS = [
    {"method": "clipping", "norm": 0.1},
    {"method": "int8"},
    {"method": "float16"},
    {"method": "sign"},
    {"method": "top_k", "share": 0.1},
    {"method": "withheld", "parts": ["biases"]},
    [{"method": "top_k", "share": 0.2}, "int8"],
    {"method": "local_steps", "steps": 1, "step_size": 0.1},
]


@pytest.mark.parametrize("defence", METHODS, ids=str)
def test_a_message_is_what_sharing_makes_of_the_gradient(defence) -> None:
    settings = training_of("CartPole")
    parameters = parameters_of(settings)
    bare, _ = message(settings, NONE, parameters)
    sent, _ = message(settings, defence, parameters)
    expected = defence_settings(defence)
    own = Sent({name.removeprefix("critic/"): value for name, value in bare.gradients.items()})
    spec = Learner(settings).specs["critic"]
    if expected["method"] == "local_steps":  # one step is the gradient itself
        expected = NONE
    made = applied(own, Device(torch.Generator(), {}, spec), expected)
    for name, value in made.gradients.items():
        torch.testing.assert_close(sent.gradients[f"critic/{name}"], value)
    assert {name: mask.tolist() for name, mask in sent.known.items()} == {
        f"critic/{name}": mask.tolist() for name, mask in made.known.items()
    }
    assert sent.bytes == made.bytes


def test_noise_has_its_variance_and_differs_between_clients_and_rounds() -> None:
    settings = training_of("CartPole")
    parameters = {name: value[None] for name, value in parameters_of(settings).items()}
    seeds, noise = [[1, 2, 3]], defence_settings({"method": "gaussian_noise", "variance": 0.25})
    bare, noisy = Clients(settings, NONE, seeds), Clients(settings, noise, seeds)
    drawn = []
    for clients in (bare, noisy):
        clients.play(parameters, 0)
    for round in (0, 1):
        without, with_noise = (clients.update(parameters, round).gradients for clients in (bare, noisy))
        drawn += list(torch.cat([(with_noise[name] - without[name]).flatten(2) for name in without], dim=2)[0])
    for one in drawn:
        assert float(one.std()) == pytest.approx(0.5, rel=0.15)
    assert float(torch.corrcoef(torch.stack(drawn)).fill_diagonal_(0).abs().max()) < 0.25


def test_what_is_not_sent_is_added_the_next_time() -> None:
    settings = training_of("CartPole")
    parameters = parameters_of(settings)
    client = Client(settings, defence_settings({"method": "top_k", "share": 0.1, "error_feedback": True}), 5)
    bare = Client(settings, NONE, 5)
    sent, whole = [], []
    for round in range(4):
        for one, made in ((client, sent), (bare, whole)):
            one.play(parameters, round)
            made.append(one.update(parameters, round))
    left, late = client.kept()[0], 0.0
    for name in whole[0].gradients:
        everything = sum(message.gradients[name] for message in whole)
        arrived = sum(message.gradients[name] for message in sent)
        torch.testing.assert_close(arrived + left[f"kept/{name}"][0, 0], everything)
        late += float((arrived - everything).abs().sum())
    assert late > 0.1


@pytest.mark.parametrize("environment", ["CartPole", "FrozenLake"])
def test_a_client_among_others_does_what_it_does_alone(environment: str) -> None:
    settings = training_of(environment)
    runs = [parameters_of(settings, seed) for seed in (1, 2)]
    together = {name: torch.stack([run[name] for run in runs]) for name in runs[0]}
    everybody, alone = Clients(settings, NONE, [[11, 12], [13, 14]]), Client(settings, NONE, 14)
    for round in range(30):
        everybody.play(together, round)
        alone.play(runs[1], round)
        for name, value in alone.drawn(round).items():
            assert torch.equal(everybody.drawn(round)[name][1, 1], value)
    shared, own = everybody.update(together, 29), alone.update(runs[1], 29)
    for name, value in own.gradients.items():
        torch.testing.assert_close(shared.gradients[name][1, 1], value)


def test_runs_are_paired_over_defences_until_their_first_update() -> None:
    settings = training_of("CartPole")
    parameters = {name: value[None] for name, value in parameters_of(settings).items()}
    lived = []
    for defence in (NONE, {"method": "gaussian_noise", "variance": 1.0}, "sign"):
        clients = Clients(settings, defence_settings(defence), [[1, 2]])
        clients.play(parameters, 0)
        lived.append(clients.drawn(0) | {"all": clients.replay.kept["observation/vector"]})
    for other in lived[1:]:
        assert all(torch.equal(lived[0][name], other[name]) for name in other)


def test_who_remembers_nothing_plays_random_steps_before_it_shares_again() -> None:
    settings = training_of("CartPole")
    parameters = parameters_of(settings)
    client, again = Client(settings, NONE, 5), Client(settings, NONE, 5)
    for round in range(3):
        client.play(parameters, round)
    kept, lived = client.kept()
    assert lived == settings.warm_up + 3
    again.restore({name: value for name, value in kept.items() if not name.startswith("replay/")}, lived)
    again.play(parameters, 3)
    assert again.kept()[1] == settings.warm_up + 1
    assert torch.isfinite(again.update(parameters, 3).gradients["critic/head.weight"]).all()


def test_an_environment_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlleak.simulators.environments.find_spec", lambda module: None)
    with pytest.raises(SimulatorError, match="Hopper needs gymnasium"):
        Client(training_of("Hopper"), NONE, 0)
