"""What a server does with messages: the mean of those that fit, and the round goes on without the others."""

import logging
from dataclasses import replace

import pytest
import torch
from federations import training_of

from rlleak.configuration.defences import defence_settings
from rlleak.errors import ProtocolError
from rlleak.federation.client import Client
from rlleak.federation.server import Server, Servers
from rlleak.sharing.sending import Sent

NONE = {"method": "none"}


def messages(settings, server: Server, count: int = 3) -> list[Sent]:
    clients = [Client(settings, NONE, seed) for seed in range(count)]
    for client in clients:
        client.play(server.parameters, server.round)
    return [client.update(server.parameters, server.round) for client in clients]


def spoilt(message: Sent, name: str, value: torch.Tensor) -> Sent:
    return replace(message, gradients={**message.gradients, name: value})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda m: spoilt(m, "critic/head.bias", torch.full((2,), torch.nan)), "sent NaN or Inf in 'critic/head.bias'"),
        (lambda m: spoilt(m, "critic/head.bias", torch.zeros(3)), "in shape (3,), not (2,)"),
        (lambda m: spoilt(m, "critic/tail.bias", torch.zeros(2)), "other tensors than were asked for (critic/tail"),
        (
            lambda m: spoilt(m, "critic/head.bias", torch.zeros(2, dtype=torch.int64)),
            "no numbers in",
        ),
        (lambda m: None, "sent nothing"),
    ],
    ids=["nan", "shape", "name", "type", "missing"],
)
def test_a_bad_message_is_left_out_with_a_line_and_the_round_goes_on(spoil, said, caplog) -> None:
    settings = training_of("CartPole")
    server, same = Server(settings, NONE, 1), Server(settings, NONE, 1)
    good = messages(settings, server)
    with caplog.at_level(logging.WARNING):
        used = server.aggregate([good[0], spoil(good[1]), good[2]])
    assert used == [0, 2]
    (record,) = caplog.records
    assert record.getMessage().startswith("round 0: client 1 ")
    assert said in record.getMessage()
    same.aggregate([good[0], good[2]])
    for name, value in server.parameters.items():
        assert torch.equal(value, same.parameters[name])
    assert server.round == 1


def test_where_nobody_is_left_networks_stay_and_the_round_may_be_tried_again() -> None:
    settings = training_of("CartPole")
    server = Server(settings, NONE, 1)
    before = {name: value.clone() for name, value in server.parameters.items()}
    with pytest.raises(ProtocolError, match="round 0: no client sent an update that can be used"):
        server.aggregate([None, None])
    assert all(torch.equal(before[name], value) for name, value in server.parameters.items())
    server.aggregate(messages(settings, server))
    assert server.round == 1
    assert not torch.equal(before["critic/head.weight"], server.parameters["critic/head.weight"])


def test_side_by_side_a_run_moves_by_its_own_updates_that_are_not_spoilt() -> None:
    settings = training_of("CartPole")
    together, alone = Servers(settings, NONE, [1, 2, 3]), [Servers(settings, NONE, [seed]) for seed in (1, 2, 3)]
    critic = {name: value.shape[1:] for name, value in together.parameters.items() if name.startswith("critic/")}
    rounds = [{name: torch.randn(3, 2, *shape) for name, shape in critic.items()} for _ in range(2)]
    # One client of run 0, and everybody of run 1.
    rounds[1]["critic/head.bias"][0, 1, 0] = torch.inf
    rounds[1]["critic/hidden.0.weight"][1, :, 0] = torch.nan
    assert together.step(rounds[0], 0).all()
    between = together.parameters["critic/head.weight"].clone()
    assert together.step(rounds[1], 1).tolist() == [[True, False], [False, False], [True, True]]
    assert torch.equal(together.parameters["critic/head.weight"][1], between[1])
    for run, left in ((0, [0]), (2, [0, 1])):
        alone[run].step({name: value[run : run + 1] for name, value in rounds[0].items()}, 0)
        alone[run].step({name: value[run : run + 1, left] for name, value in rounds[1].items()}, 1)
        for name, value in alone[run].parameters.items():
            torch.testing.assert_close(together.parameters[name][run], value[0])


def test_target_networks_follow_when_they_are_told_to() -> None:
    settings = training_of("CartPole", target={"every": 2, "share": 0.5})
    server = Server(settings, NONE, 1)
    start = server.parameters["target_critic/head.weight"].clone()
    server.aggregate(messages(settings, server))
    assert torch.equal(server.parameters["target_critic/head.weight"], start)
    server.aggregate(messages(settings, server))
    between = 0.5 * (start + server.parameters["critic/head.weight"])
    torch.testing.assert_close(server.parameters["target_critic/head.weight"], between)


def test_federated_averaging_moves_the_weights_to_the_mean_of_the_clients() -> None:
    settings = training_of("CartPole", batch=4)
    defence = defence_settings({"method": "local_steps", "steps": 2, "step_size": 0.05})
    server = Server(settings, defence, 1)
    before = {name: value.clone() for name, value in server.parameters.items()}
    clients = [Client(settings, defence, seed) for seed in (1, 2)]
    for client in clients:
        client.play(server.parameters, 0)
    sent = [client.update(server.parameters, 0) for client in clients]
    server.aggregate(sent)
    for name in sent[0].gradients:
        # Each client's own weights after its two steps.
        reached = [before[name] - 2 * 0.05 * message.gradients[name] for message in sent]
        torch.testing.assert_close(server.parameters[name], torch.stack(reached).mean(0))
