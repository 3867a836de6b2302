"""RGIA and its baselines: run together, each is what it is alone; priors tell apart what gradients do not."""

import time
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transition_victims import GUESSED, prior_of_world, settings, shared_by

from rlleak.attacks import checkpoints
from rlleak.attacks.optimisation import Variable
from rlleak.attacks.transitions import ATTACKS
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.quasi_newton import QuasiNewton
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction, load_all, save_all
from rlleak.attacks.transitions.running import run_together
from rlleak.attacks.transitions.searching import gradient_error, row_numbers
from rlleak.attacks.transitions.tuning import errors_against
from rlleak.configuration.attacks import StageSettings, TransitionSettings
from rlleak.errors import ConfigurationError, CorruptArtefactError, ResourceError
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.transition_prior import nothing_known
from rlleak.sharing.update import SharedUpdate

PRIORS = {"0.3%": prior_of_world()}
ALL = {
    "gia": settings("gia"),
    "dlg": settings("dlg"),
    "idlg": settings("idlg"),
    "ig": settings("ig", tv_weight=0.1),
    "rgia": settings("rgia", alpha=0.01, beta=0.1, gamma=0.1),
    "rgia, strong": settings("rgia", alpha=0.1, beta=1, gamma=3, step_size=0.3),
    "transition_prior_only": settings("transition_prior_only", alpha=0.1, beta=1, gamma=1),
}


def run(update: SharedUpdate, attacks: dict[str, TransitionSettings], **told) -> dict[str, TransitionReconstruction]:
    return run_together(update, attacks, {**PRIORS, "none": nothing_known("Hopper")}, **{"seed": 4, **told})


def same(one: TransitionReconstruction, other: TransitionReconstruction, tolerance: float = 1e-4) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in GUESSED]
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)


@pytest.mark.parametrize("residual", [False, True])
def test_run_together_each_attack_is_what_it_is_alone(residual: bool) -> None:
    update, _ = shared_by(2, 2, residual, dtype=torch.float64)  # L-BFGS makes much of float32's rounding
    found = run(update, ALL)
    for name, asked in ALL.items():
        assert same(found[name], run(update, {name: asked})[name]), name
        assert found[name].state.shape == (2, asked.restarts, 2, 11)
        assert torch.isfinite(found[name].gradient_error).all()


def test_rows_that_are_cut_to_fit_into_memory_end_where_they_would_have_ended() -> None:
    update, _ = shared_by(3, dtype=torch.float64)
    # Signed Adam makes steps of the angle's derivative by the reward, which is 0 to rounding.
    attacks = {name: asked for name, asked in ALL.items() if name != "ig"}
    whole = run(update, attacks)
    held = 2 * sum(value.numel() for group in (update.gradients, update.parameters) for value in group.values())
    limit = 8 * (held + 2 * row_numbers(TemporalDifference(update), quasi_newton=True))
    cut = run(update, attacks, memory_limit=limit)
    for name in attacks:
        assert same(whole[name], cut[name]), name
    with pytest.raises(ResourceError, match="raise memory_limit_gb"):
        run(update, attacks, memory_limit=8 * held)


def test_an_attack_that_was_killed_ends_as_one_that_was_not(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    update, _ = shared_by(2)
    attacks = {"rgia": ALL["rgia"], "dlg": ALL["dlg"], "best": settings("transition_best", gamma=0.1)}

    def killed(stage: str, done: int, total: int, loss: float) -> None:
        if done > total // 2 and "adam" in stage:
            raise KeyboardInterrupt

    file, told = tmp_path / "checkpoint.safetensors", []
    with pytest.raises(KeyboardInterrupt):
        run(update, attacks, checkpoint=file, progress=killed)
    assert file.is_file()
    resumed = run(update, attacks, checkpoint=file, progress=lambda stage, done, *rest: told.append((stage, done)))
    assert min(done for stage, done in told if "adam" in stage) > 10
    whole = run(update, attacks)
    for name in attacks:
        assert same(resumed[name], whole[name], 1e-6), name


def test_the_time_before_an_attack_was_killed_counts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    update, _ = shared_by(1)
    attacks = {name: settings(name, restarts=1) for name in ("gia", "dlg")}

    def killed(stage: str, done: int, total: int, loss: float) -> None:
        time.sleep(0.1)  # 20 times per stage
        if "adam" in stage and done > total // 2:
            raise KeyboardInterrupt

    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(update, attacks, checkpoint=file, progress=killed)
    resumed = run(update, attacks, checkpoint=file)
    assert resumed["dlg"].metadata["seconds_per_victim"] >= 2
    assert resumed["gia"].metadata["seconds_per_victim"] >= 0.9


def test_gradient_errors_are_cut_over_restarts_too(monkeypatch) -> None:
    update, _ = shared_by(2, dtype=torch.float64)
    victims, rows = TemporalDifference(update), []
    guess = {
        name: value.clone() for name, value in run(update, {"a": settings("gia", restarts=6)})["a"].components.items()
    }
    whole, errors = gradient_error(victims, guess), TemporalDifference.errors

    def watched(own: TemporalDifference, part: dict[str, torch.Tensor], *told: object) -> object:
        rows.append(len(part["reward"]))
        return errors(own, part, *told)

    monkeypatch.setattr(TemporalDifference, "errors", watched)
    held = 2 * sum(value.numel() for group in (update.gradients, update.parameters) for value in group.values())
    cut = gradient_error(victims, guess, 8 * (held + 8 * row_numbers(victims)))
    assert max(rows) <= 2
    torch.testing.assert_close(cut, whole)


def test_regularisers_find_the_next_state_that_the_gradient_is_silent_about() -> None:
    update, truth = shared_by(6)
    long = {"iterations": 400, "restarts": 3, "step_size": 0.3}
    attacks = {name: ALL[name].model_copy(update=long) for name in ("gia", "rgia", "transition_prior_only")}
    found = {name: errors_of(result.preferred, truth) for name, result in run(update, attacks).items()}
    assert found["rgia"]["next_state"] < 0.1 * found["gia"]["next_state"]
    assert found["gia"]["state"] < 0.1 * found["transition_prior_only"]["state"]
    assert found["rgia"]["state"] < 0.1 * found["transition_prior_only"]["state"]


def errors_of(found: TransitionReconstruction, truth: dict[str, torch.Tensor]) -> dict[str, float]:
    """Median over victims of each component's mean squared error; one transition each."""
    off = {name: (getattr(found, name)[:, 0] - truth[name]).square().flatten(1).mean(dim=1) for name in GUESSED}
    return {name: float(value.median()) for name, value in off.items()}


def test_without_a_gradient_nothing_of_the_gradient_is_used() -> None:
    update, _ = shared_by(2)
    asked = {"only": ALL["transition_prior_only"]}
    other = {name: value * (1 if name.startswith("head") else 3) for name, value in update.gradients.items()}
    first, second = run(update, asked)["only"], run(replace(update, gradients=other), asked)["only"]
    assert same(first, second, 0)


def test_the_attacker_tries_step_sizes_on_its_own_transitions_and_says_what_it_found() -> None:
    update, _ = shared_by(2)
    asked = settings("rgia", gamma=0.1, step_size=None, candidates=(1e-6, 0.3), iterations=60, search_iterations=60)
    found = run(update, {"rgia": asked})["rgia"]
    tuning = found.metadata["tuning"]
    assert tuning["step_size"] == 0.3
    assert tuning["errors"]["0.3"] < tuning["errors"]["1e-06"]
    blind = asked.model_copy(update={"prior": "none"})  # no transitions of its own: it draws them from what it believes
    assert run(update, {"rgia": blind})["rgia"].metadata["tuning"]["step_size"] == 0.3


def test_the_order_of_a_batch_is_nobodys_error() -> None:
    _, truth = shared_by(2, 3)
    flat = {name: value.flatten(0, 1) for name, value in truth.items()}
    guess = {name: value[:, [2, 0, 1]][:, None] for name, value in truth.items()}
    assert float(errors_against(flat, guess, PRIORS["0.3%"]).max()) < 1e-9
    assert float(errors_against(flat, {name: value * 0 for name, value in guess.items()}, PRIORS["0.3%"]).min()) > 0.1


def test_what_idlg_reads_fulfils_bellmans_equation() -> None:
    update, truth = shared_by(3)
    asked = settings("idlg", iterations=200, restarts=4, step_size=1.0)
    found, victims = run(update, {"idlg": asked})["idlg"].preferred, TemporalDifference(update)
    state, action, following = (getattr(found, name)[:, 0, 0] for name in ("state", "action", "next_state"))
    target = found.reward[:, 0, 0] + 0.99 * victims.value(following)
    miss = victims.network(victims.observation(state, action))[:, 0] - target
    torch.testing.assert_close(2 * miss, update.gradients["head.bias"][:, 0], rtol=1e-3, atol=1e-4)
    assert errors_of(found, truth)["state"] < 1e-3


def test_quasi_newton_is_torchs() -> None:
    def bowl(values: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        x = values["x"].detach().requires_grad_()
        with torch.enable_grad():
            loss = (x - 1).square() @ torch.tensor([1.0, 10.0]) + (x.prod(dim=1) - 1).square()
            return loss.detach(), {"x": torch.autograd.grad(loss.sum(), x)[0]}

    starts = torch.tensor([[3.0, -2.0], [-1.0, 0.5]])
    stage = StageSettings(step_size=1.0, iterations=20)
    mine = QuasiNewton(bowl, {"x": Variable(starts)}, stage, 0, torch.full((2,), 0.7))
    for _ in range(15):
        mine.iterate()
    for row, start in enumerate(starts):
        x = start.clone().requires_grad_()
        theirs = torch.optim.LBFGS([x], lr=0.7, max_iter=1, history_size=10)

        def closure(x=x, theirs=theirs) -> torch.Tensor:
            theirs.zero_grad()
            loss = (x - 1).square() @ torch.tensor([1.0, 10.0]) + (x.prod() - 1).square()
            loss.backward()
            return loss

        for _ in range(15):
            theirs.step(closure)
        torch.testing.assert_close(mine.values["x"][row], x.detach(), rtol=1e-3, atol=1e-4)


def test_a_step_without_curvature_makes_quasi_newton_forget_nothing() -> None:
    def nothing(values: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        raise AssertionError

    stage = StageSettings(step_size=1.0, iterations=5)
    mine = QuasiNewton(nothing, {"x": Variable(torch.zeros(2, 3))}, stage, 0, torch.ones(2))
    step = torch.ones(2, 3)
    for number in range(12):
        mine._remember(step * (number + 1), step)
    remembered = [mine.steps[:, 1], mine.changes[:, 1], mine.weights[:, 1], mine.scale[1]]
    before = [part.clone() for part in remembered]
    mine._remember(step, torch.tensor([[1.0], [-1.0]]) * step)
    assert all(torch.equal(now, was) for now, was in zip(remembered, before, strict=True))
    assert mine.steps[-2:, 0, 0].tolist() == [12, 1]


@given(st.integers(0, 10**6), st.integers(1, 15))
@hypothesis_settings(max_examples=15, deadline=None, derandomize=True)
def test_two_transitions_share_a_semi_gradient_and_one_of_them_is_impossible(seed: int, wrong: int) -> None:
    """Pseudo-solutions: any s' explains a semi-gradient, with the reward that Bellman's equation then asks for."""
    spec = NetworkSpec(vector_size=16, hidden=(64,), outputs=4)
    parameters = {name: value.detach().double() for name, value in build_network(spec, seed).named_parameters()}
    nothing = {name: value.new_zeros(1, *value.shape) for name, value in parameters.items()}
    one_hot = torch.eye(16, dtype=torch.float64)
    # FrozenLake from its first place to the right: the second place, never any other.
    true = {"state": one_hot[:1], "action": torch.eye(4)[2:3].double(), "next_state": one_hot[1:2]}
    true |= {"reward": torch.zeros(1).double()}
    for residual in (False, True):
        loss = {"kind": "dqn", "gamma": 0.99, "residual": residual}
        victims = TemporalDifference(SharedUpdate(spec, parameters, nothing, loss))
        impossible = true | {"next_state": one_hot[[wrong if wrong != 1 else 0]]}
        impossible["reward"] = 0.99 * (victims.value(true["next_state"]) - victims.value(impossible["next_state"]))
        shared, other = victims.share(true), victims.share(impossible)
        apart = max(float((shared.gradients[name] - other.gradients[name]).abs().max()) for name in shared.gradients)
        size = max(float(value.abs().max()) for value in shared.gradients.values())
        assert (apart < 1e-12 * size) == (not residual)
        guess = {name: value[None, None] for name, value in impossible.items()}
        error = float(gradient_error(TemporalDifference(shared), guess))
        assert (error < 1e-7) if not residual else (error > 1e-3)


def test_reconstructions_are_read_as_they_were_written(tmp_path) -> None:
    update, _ = shared_by(3)
    found = run(update, {"gia": ALL["gia"], "rgia": ALL["rgia"]})
    save_all(tmp_path / "found.safetensors", found)
    read = load_all(tmp_path / "found.safetensors")
    assert set(read) == set(found)
    for name, own in read.items():
        assert same(own, found[name], 0)
        assert own.metadata["attack"] == name
        assert torch.equal(own.trust["loss"], found[name].trust["loss"])
        best = found[name].trust["loss"].argmin(dim=1)
        assert torch.equal(own.chosen, best)
        assert torch.equal(own.preferred.reward[:, 0], own.reward[torch.arange(3), best])
    update.save(tmp_path / "shared.safetensors")
    with pytest.raises(CorruptArtefactError, match="no transition reconstructions"):
        load_all(tmp_path / "shared.safetensors")


def test_what_does_not_fit_is_said_in_one_line() -> None:
    update, _ = shared_by(1)
    wrong = {
        "was not learnt": (update, {"a": settings("gia", prior="1%")}, PRIORS),
        "has no regularisers, and gamma": (update, {"a": settings("gia", gamma=1)}, PRIORS),
        "about states of shape": (update, {"a": settings("gia")}, {"0.3%": nothing_known("Pong")}),
        "take dqn and critic updates": (replace(update, loss={"kind": "ppo"}), {"a": settings("gia")}, PRIORS),
        "unknown attack method on transitions": (update, {"a": settings("gai")}, PRIORS),
    }
    for message, arguments in wrong.items():
        with pytest.raises(ConfigurationError, match=message) as caught:
            run_together(*arguments, seed=0)
        assert "\n" not in str(caught.value)


def test_a_model_that_did_not_learn_is_flagged_and_its_term_off() -> None:
    update, _ = shared_by(1)
    unlearnt = {"0.3%": prior_of_world(held_out_error=2.0)}
    with_model, without = settings("rgia", gamma=1), settings("rgia", gamma=0)
    found = run_together(update, {"on": with_model, "off": without}, unlearnt, seed=4)
    assert found["on"].trust["model_learnt"].tolist() == [0]
    assert same(found["on"], found["off"])


def test_a_victim_that_shared_nothing_is_flagged_and_harms_nobody() -> None:
    update, _ = shared_by(2)
    gradients = {name: value.clone() for name, value in update.gradients.items()}
    for value in gradients.values():
        value[0] = 0
    attacks = ALL | {name: settings(name) for name in ATTACKS if name not in ALL}
    found = run(replace(update, gradients=gradients), attacks)
    whole = run(update, attacks)
    for name, own in found.items():
        assert own.trust["zero_update"].tolist() == [1, 0], name
        for component in GUESSED:
            assert torch.isfinite(getattr(own, component)).all(), (name, component)
            torch.testing.assert_close(
                getattr(own, component)[1], getattr(whole[name], component)[1], rtol=1e-3, atol=1e-3
            )


def test_tuning_compares_with_the_attackers_own_transitions_alone(monkeypatch) -> None:
    update, _ = shared_by(2)
    seen = []
    own = PRIORS["0.3%"].transitions["state"]

    def watched(truth, *rest):
        seen.append(truth["state"])
        return errors_against(truth, *rest)

    monkeypatch.setattr("rlleak.attacks.transitions.running.errors_against", watched)
    run(update, {"rgia": settings("rgia", step_size=None, candidates=(0.1, 0.3))})
    assert seen
    for state, row in product(seen, range(8)):
        assert (own == state[row]).all(dim=1).any()
