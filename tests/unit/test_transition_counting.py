"""Gradients of a finite world: where algebra cannot tell transitions apart, all that can be is tried, and counted."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transition_victims import settings

from rlleak.attacks.checkpoints import Checkpoint
from rlleak.attacks.transitions.algebra import transition_best
from rlleak.attacks.transitions.counting import can_count, counted
from rlleak.attacks.transitions.counting_pairs import can_count_pairs, counted_pairs
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.attacks.transitions.running import Task, run_together
from rlleak.attacks.transitions.searching import Workplace, gradient_error
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.dynamics import TableDynamics
from rlleak.priors.transition_prior import TransitionPrior, nothing_known
from rlleak.sharing.update import SharedUpdate
from rlleak.simulators.environments import successor

ICE = [0, 1, 2, 3, 4, 6, 8, 9, 10, 13, 14]
NOTHING = replace(nothing_known("FrozenLake"), amount="0.3%")
PARTS = ("state", "action", "next_state", "reward")


def moves() -> dict[str, Tensor]:
    """Every move on the ice, not slippery, and into its holes."""
    state, action = torch.cartesian_prod(torch.tensor(ICE), torch.arange(4)).T
    places = torch.eye(16)[state]
    following = torch.from_numpy(successor("FrozenLake", places.numpy(), action.numpy()))
    ended = ~torch.isin(following.argmax(dim=1), torch.tensor(ICE))
    won = (following.argmax(dim=1) == 15).float()
    return {
        "state": places, "action": torch.eye(4)[action], "next_state": following, "reward": won, "terminated": ended,
    }  # fmt: skip


def shared_by(
    truth: dict[str, Tensor], dead: tuple[int, ...] = (), size: int = 1, best: int | None = None, **constants: object
) -> SharedUpdate:
    """dead: places at which no hidden unit is open. size: transitions per update. best: an action, everywhere."""
    spec = NetworkSpec(vector_size=16, hidden=(64,), outputs=4)
    parameters = {name: value.detach() for name, value in build_network(spec, 3).named_parameters()}
    parameters["hidden.0.weight"][:, list(dead)] = -10.0
    if best is not None:
        parameters["head.bias"] -= 1 - torch.eye(4)[best]
    nothing = {name: value.new_zeros(1, *value.shape) for name, value in parameters.items()}
    loss = DQNLoss(**{"residual": True, **constants})
    return TemporalDifference(SharedUpdate(spec, parameters, nothing, loss.constants, size)).share(truth)


def believed(truth: dict[str, Tensor]) -> TransitionPrior:
    """Of who has met these transitions."""
    table = TableDynamics(16, 4)
    table.fit(truth["state"], truth["action"], truth["next_state"])
    shape = {"kind": "table", "state_size": 16, "action_size": 4}
    return replace(NOTHING, dynamics=table, dynamics_shape=shape, held_out_error=0.0, no_change_error=1.0)


def attacked(update: SharedUpdate, prior: TransitionPrior) -> dict[str, TransitionReconstruction]:
    asked = {name: settings(name) for name in ("transition_closed_form", "transition_best")}
    return run_together(update, asked, {"0.3%": prior}, seed=4)


def right(found: TransitionReconstruction, truth: dict[str, Tensor]) -> Tensor:
    """Whose parts are all right, (V,) bool; after an end s' is not asked for."""
    apart = {name: (getattr(found, name)[:, 0, 0] - truth[name]).abs().view(len(found), -1).amax(1) for name in PARTS}
    apart["next_state"] = apart["next_state"] * ~truth["terminated"]
    return torch.stack(list(apart.values())).amax(dim=0) < 1e-3


def test_what_algebra_leaves_open_is_found_among_all_that_can_be() -> None:
    truth = moves()
    found = attacked(shared_by(truth), believed(truth))
    closed, best = found["transition_closed_form"], found["transition_best"]
    left = closed.trust["claimed"] == 0
    assert left.sum() >= 3
    # Algebra keeps what its own gradient says is wrong.
    assert not right(closed, truth)[left].any()
    assert float(closed.gradient_error[left].min()) > 0.5
    assert right(best, truth).all()
    assert float(best.gradient_error.max()) < 1e-3
    assert best.trust["claimed"].all()
    assert best.trust["as_good"][left].tolist() == [1] * int(left.sum())
    assert best.trust["as_good"][~left].isnan().all()
    assert not best.trust["matched"].any()
    assert not best.trust["state_deviation"].any()


def test_who_knows_only_the_places_finds_next_states_as_well() -> None:
    truth = moves()
    stays = (truth["state"] == truth["next_state"]).all(dim=1)
    moving = {name: value[~stays & ~truth["terminated"]] for name, value in truth.items()}
    assert right(attacked(shared_by(moving), NOTHING)["transition_best"], moving).all()


def test_whose_f_never_met_an_end_claims_nothing_that_its_own_gradient_refutes() -> None:
    truth = {name: value[moves()["terminated"]] for name, value in moves().items()}
    for name, found in attacked(shared_by(truth), NOTHING).items():
        claimed = found.trust["claimed"] == 1
        assert claimed.any()
        assert float(found.gradient_error[claimed].max()) < 1e-3, name


def test_of_next_states_that_leave_the_same_trace_none_is_claimed() -> None:
    every = moves()
    truth = {name: value[every["next_state"].argmax(dim=1) == 2] for name, value in every.items()}
    update = shared_by(truth, dead=(2, 8, 9))
    for prior in (NOTHING, believed(every)):
        found = counted(TemporalDifference(update), prior)
        apart = truth["state"].argmax(dim=1) != 2
        assert apart.sum() >= 3
        assert float(found.error.max()) < 1e-4
        assert (found.as_good[apart] >= 3).all()
        assert not found.read.claimed[apart].any()
    # f's word decides what is shown.
    assert (found.read.next_state[apart, 0].argmax(dim=1) == 2).all()


def test_an_end_and_a_stay_leave_the_same_trace() -> None:
    truth, victims = moves(), TemporalDifference(shared_by(moves()))
    best = victims.network(victims.state_of(truth["state"])).argmax(dim=1)
    same = (truth["state"] == truth["next_state"]).all(dim=1) & (best == truth["action"].argmax(dim=1))
    assert same.any()
    found = counted(victims, believed(truth))
    assert (found.as_good[same] == 2).all()
    assert not found.read.claimed[same].any()
    assert found.read.claimed[~same & ~truth["terminated"]].all()


@pytest.mark.parametrize("noise", [0.05, 3.0])
def test_noise_is_not_claimed(noise: float) -> None:
    truth = moves()
    update, generator = shared_by(truth), torch.Generator().manual_seed(1)
    noisy = {}
    for name, value in update.gradients.items():
        spread = value.flatten(1).std(dim=1).view(-1, *[1] * (value.dim() - 1))
        noisy[name] = value + noise * spread * torch.randn(value.shape, generator=generator)
    found = counted(TemporalDifference(replace(update, gradients=noisy)), believed(truth))
    assert not found.read.claimed.any()


def test_candidates_keep_to_the_memory() -> None:
    victims = TemporalDifference(shared_by({name: value[:4] for name, value in moves().items()}))
    whole, pieces = (counted(victims, NOTHING, limit) for limit in (None, 20_000_000))
    torch.testing.assert_close(whole.error, pieces.error, atol=1e-6, rtol=0)
    assert torch.equal(whole.read.state, pieces.read.state)


def test_only_what_can_be_solved_for_is_counted() -> None:
    truth = moves()
    assert can_count(TemporalDifference(shared_by(truth)), NOTHING)
    for other in ({"residual": False}, {"error": "huber"}):
        assert not can_count(TemporalDifference(shared_by(truth, **other)), NOTHING)
    clipped = replace(shared_by(truth), defence={"method": "clipping", "norm": 1.0})
    assert not can_count(TemporalDifference(clipped), NOTHING)
    assert not can_count(TemporalDifference(shared_by(truth)), nothing_known("CartPole"))


VICTIMS = 6


def batches(size: int) -> dict[str, Tensor]:
    """Moves drawn from eight with replacement, since few places are met often."""
    every, generator = moves(), torch.Generator().manual_seed(0)
    some = torch.randperm(len(every["reward"]), generator=generator)[:8]
    drawn = some[torch.randint(len(some), (VICTIMS * size,), generator=generator)]
    return {name: value[drawn] for name, value in every.items()}


def who_met_all(wrong: int | None = None) -> TransitionPrior:
    """wrong: a place from which f foretells other moves than there are."""
    own = moves()
    if wrong is not None:
        there = own["state"].argmax(dim=1) == wrong
        own["next_state"] = torch.where(there[:, None], torch.eye(16)[14 - wrong], own["next_state"])
    return replace(believed(own), transitions=own, reward_range=(0.0, 1.0), reward_deviation=0.1)


def rows_of(parts: dict[str, Tensor], goes_on: Tensor) -> list[list[list[float]]]:
    """Each update's transitions in an order of their own numbers; after an end s' is not asked for."""
    flat = [parts[name].float() for name in ("state", "action")]
    flat += [parts["reward"].float()[..., None], parts["next_state"].float() * goes_on[..., None]]
    return [sorted(update.tolist()) for update in torch.cat(flat, dim=2).round(decimals=3) + 0.0]


def pairs_of(parts: dict[str, Tensor], size: int) -> Tensor:
    """(V, B), in order."""
    pairs = 4 * parts["state"].argmax(dim=-1) + parts["action"].argmax(dim=-1)
    return pairs.view(VICTIMS, size).sort(dim=1).values


def never() -> Read:
    """Algebra, which takes a hundred times as long."""
    raise AssertionError("what was counted is read")


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("size", [2, 16])
def test_every_transition_of_a_batch_is_found_however_often_it_stands_there(size: int, residual: bool) -> None:
    flat = batches(size)
    truth = {name: value.view(VICTIMS, size, *value.shape[1:]) for name, value in flat.items()}
    victims = TemporalDifference(shared_by(flat, residual=residual, size=size))
    place = Workplace({"0.3%": who_met_all()}, 4, Checkpoint(None, ""), lambda *said: None)
    found, trust = transition_best(Task(victims, place, never), settings("transition_best"))
    assert trust["claimed"].all()
    assert trust["as_good"].tolist() == [1] * VICTIMS
    assert not trust["matched"].any()
    assert float(gradient_error(victims, found).max()) < 1e-3
    found = {name: value[:, 0] for name, value in found.items()}
    assert torch.equal(found["terminated"].sum(dim=1), truth["terminated"].float().sum(dim=1))
    both = (rows_of(side, side["terminated"] == 0) for side in (found, truth))
    assert next(both) == next(both)


@pytest.mark.parametrize("residual", [False, True])
def test_no_count_is_claimed_that_a_wrong_model_makes_up(residual: bool) -> None:
    truth = batches(4)
    place = int(truth["state"].argmax(dim=1).mode().values)
    found = counted_pairs(TemporalDifference(shared_by(truth, residual=residual, size=4)), who_met_all(wrong=place))
    right = (pairs_of(vars(found.read), 4) == pairs_of(truth, 4)).all(dim=1)
    assert right[found.read.claimed[:, 0]].all()
    assert not found.read.claimed.all()
    # Who has no f knows how often a pair stands there only if all do once.
    if not residual:
        alone = counted_pairs(TemporalDifference(shared_by(truth, residual=False, size=4)), NOTHING)
        once = torch.tensor([len(set(pairs)) == 4 for pairs in pairs_of(truth, 4).tolist()])
        assert torch.equal(alone.read.claimed[:, 0], once)
        assert once.any()


def test_an_end_is_told_by_the_rewards_that_there_are() -> None:
    # Going on into a hole would take a reward that is none of theirs, however usual about as much is.
    truth, prior = moves(), who_met_all()
    found = attacked(shared_by(truth, residual=False), prior)["transition_best"]
    assert torch.equal(found.trust["terminated"] > 0, truth["terminated"])
    assert found.trust["claimed"].all()
    assert float(found.gradient_error.max()) < 1e-3
    assert found.trust["as_good"].isnan().all()


def test_a_stay_that_hardly_shows_makes_no_count_claimed_that_is_wrong() -> None:
    # Left is best everywhere: of a stay at 8 a residual gradient leaves (1 - gamma)^2 Q, as little as of more at 0.
    every = moves()
    pairs = 4 * every["state"].argmax(dim=1) + every["action"].argmax(dim=1)
    drawn = torch.tensor([8 * 4, 1 * 4, *[13 * 4 + 2] * 14])
    truth = {name: value[(pairs == drawn[:, None]).int().argmax(dim=1)] for name, value in every.items()}
    found = counted_pairs(TemporalDifference(shared_by(truth, size=16, best=0)), who_met_all())
    assert float(found.as_good) > 1
    assert not found.read.claimed.any()


def test_places_that_look_alike_are_not_claimed() -> None:
    truth = batches(4)
    dead = tuple(truth["state"].argmax(dim=1).unique()[:2].tolist())
    found = counted_pairs(TemporalDifference(shared_by(truth, dead=dead, residual=False, size=4)), who_met_all())
    assert not found.read.claimed.any()


def test_noise_on_a_batch_is_averaged_and_nothing_claimed() -> None:
    truth, generator = batches(4), torch.Generator().manual_seed(1)
    update = shared_by(truth, residual=False, size=4)
    noisy = {
        name: value + 1e-4 * torch.randn(value.shape, generator=generator) for name, value in update.gradients.items()
    }
    told = replace(update, gradients=noisy, defence={"method": "gaussian_noise", "variance": 1e-8})
    found = counted_pairs(TemporalDifference(told), who_met_all())
    assert torch.equal(pairs_of(vars(found.read), 4), pairs_of(truth, 4))
    assert not found.read.claimed.any()


def test_only_batches_of_which_every_pair_is_known_are_counted() -> None:
    truth = batches(4)
    assert can_count_pairs(TemporalDifference(shared_by(truth, size=4)), who_met_all())
    assert can_count_pairs(TemporalDifference(shared_by(truth, size=4, residual=False)), NOTHING)
    assert not can_count_pairs(TemporalDifference(shared_by(truth, size=4)), NOTHING)
    assert not can_count_pairs(TemporalDifference(shared_by(truth)), who_met_all())
    assert not can_count_pairs(TemporalDifference(shared_by(truth, size=4, error="huber")), who_met_all())
