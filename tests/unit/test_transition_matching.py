"""The engine behind attacks on transitions is autograd's arithmetic, for any network, batch and kind of gradient."""

import pytest
import torch
from torch import Tensor

from rlleak.attacks.transitions.gradients import SharedGradients
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.learners.critic import CriticLoss, policy
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.sharing.update import SharedUpdate

MLP = NetworkSpec(vector_size=7, hidden=(40, 36), outputs=1)
SMOOTH = NetworkSpec(vector_size=5, hidden=(16,), outputs=3, activation="tanh")
IMAGE = NetworkSpec(
    image_shape=(2, 9, 9),
    convolutions=(Convolution(channels=6, kernel=4, stride=2), Convolution(channels=5, kernel=2, stride=1, padding=1)),
    hidden=(24,),
    outputs=3,
)
DRIVING = IMAGE.model_copy(update={"vector_size": 2, "vector_width": 4, "outputs": 1})
ACTIONS = {MLP: 2, DRIVING: 2}
"""How many numbers an action has, where it is continuous."""


def drawn(spec: NetworkSpec, rows: int, size: int, seed: int) -> dict[str, Tensor]:
    """A guess at `size` transitions in each of so many rows."""
    generator = torch.Generator().manual_seed(seed)
    shape = spec.image_shape or (spec.vector_size - ACTIONS.get(spec, 0),)
    state, following = (torch.randn(rows, size, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    action = torch.randn(rows, size, ACTIONS.get(spec, spec.outputs), generator=generator, dtype=torch.float64)
    reward = torch.randn(rows, size, generator=generator, dtype=torch.float64)
    action = action.tanh() if spec in ACTIONS else action.softmax(dim=2)
    return {"state": state, "next_state": following, "action": action, "reward": reward}


def told(spec: NetworkSpec, residual: bool, size: int, victims: int = 2) -> TemporalDifference:
    """What a server has of some victims, and their loss: of this network, in float64."""
    network = build_network(spec, 0).double()
    loss = DQNLoss(residual=residual)
    if spec in ACTIONS:
        inputs = {"vector_size": spec.vector_size - ACTIONS[spec], "outputs": ACTIONS[spec]}
        actor = spec.model_copy(update=inputs | ({} if inputs["vector_size"] else {"vector_width": 0}))
        loss = CriticLoss(residual=residual, actor=build_network(actor, 1).double())
    gradients = {
        name: torch.zeros(victims, *shape, dtype=torch.float64) for name, shape in spec.parameter_shapes.items()
    }
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    empty = SharedUpdate(spec, parameters, gradients, loss.constants, size, others=loss.others)
    truth = drawn(spec, victims, size, 5)
    return TemporalDifference(
        TemporalDifference(empty).share({name: value.flatten(0, 1) for name, value in truth.items()})
    )


def plain(problem: TemporalDifference, guess: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """The gradient of one row by autograd, with a graph: the loss as one writes it down."""
    network, loss = problem.rebuilt()
    state, following, action, reward = (guess[name][row] for name in ("state", "next_state", "action", "reward"))
    if problem.continuous:
        kind = "image" if state.dim() == 4 else "vector"
        chosen = policy(loss.actor, {kind: following})
        value = network(problem.observation(state, action))[:, 0]
        best = network(problem.observation(following, chosen))[:, 0]
    else:
        value = (network(problem.state_of(state)) * action).sum(dim=1)
        best = network(problem.state_of(following)).max(dim=1).values
    names, parameters = zip(*network.named_parameters(), strict=True)
    if problem.residual:
        found = torch.autograd.grad((value - reward - 0.99 * best).square().mean(), parameters, create_graph=True)
    else:
        # The target's derivative by the parameters is left out, by what it is made of it is not.
        miss = value - reward - 0.99 * best
        found = torch.autograd.grad(value, parameters, 2 * miss / len(reward), create_graph=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("distance", ["difference", "angle"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("spec", [MLP, SMOOTH, IMAGE, DRIVING], ids=["mlp", "tanh", "image", "driving"])
def test_distance_and_derivative_are_autograds(spec: NetworkSpec, residual: bool, size: int, distance: str) -> None:
    problem, victims, candidates = told(spec, residual, size), 2, 3
    guess = {name: value.requires_grad_() for name, value in drawn(spec, victims * candidates, size, 9).items()}
    target = SharedGradients(problem.update, problem.samples)
    errors = problem.errors(guess)
    deltas = problem.network.backward(errors.trace, errors.error)
    products = target.products(deltas, errors.trace.inputs, victims * candidates, candidates)
    mine = getattr(target, distance)(products)

    expected = []
    for row in range(victims * candidates):
        found, shared = plain(problem, guess, row), problem.update.gradients
        own = torch.cat([value.flatten() for value in found.values()])
        given = torch.cat([shared[name][row // candidates].flatten() for name in found])
        if distance == "difference":
            expected.append((own - given).square().sum() / given.square().sum())
        else:
            expected.append(1 - own @ given / (own.norm() * given.norm()))
    expected = torch.stack(expected).view(victims, candidates)
    torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-11)
    pairs = [torch.autograd.grad(loss.sum(), list(guess.values()), allow_unused=True) for loss in (mine, expected)]
    for name, own, other in zip(guess, *pairs, strict=True):
        if name == "next_state" and not residual and distance == "angle" and size == 1:
            continue  # of one transition's direction the target is no part: rounding on both sides
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("residual", [False, True])
def test_a_shared_gradient_is_met_by_the_transitions_that_made_it(residual: bool) -> None:
    problem = told(MLP, residual, 3)
    truth, target = drawn(MLP, 2, 3, 5), SharedGradients(problem.update, problem.samples)
    errors = problem.errors(truth)
    deltas = problem.network.backward(errors.trace, errors.error)
    products = target.products(deltas, errors.trace.inputs, 2, 1)
    assert float(target.difference(products).max()) < 1e-12


def test_factors_stand_for_a_gradient_only_where_they_say_it_all() -> None:
    problem = told(NetworkSpec(vector_size=40, hidden=(64, 64), outputs=3), False, 1)
    exact = SharedGradients(problem.update, 1).targets["hidden.1"]
    assert exact.left is not None
    noisy = {name: value + 1e-3 * torch.randn_like(value) for name, value in problem.update.gradients.items()}
    noisy = SharedUpdate(**vars(problem.update) | {"gradients": noisy})
    assert SharedGradients(noisy, 1).targets["hidden.1"].left is None
