"""What QGI is compared with: objectives that optimise action and target, the prior alone, and the search for all."""

from pathlib import Path

import attack_cases
import pytest
import torch
import yaml

from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.prior_only import prior_only
from rlleak.attacks.tuning import tune
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError

OBJECTIVE = ("dlg_optimised_action", "dlg_ruled_action", "inverting_gradients")
CONFIGURED = yaml.safe_load((Path(__file__).parents[2] / "config" / "attacks.yaml").read_text())


@pytest.mark.parametrize("method", OBJECTIVE)
def test_an_objective_based_baseline_gives_box_action_and_q_values_but_no_image(method: str) -> None:
    _, batch, update = attack_cases.victims(4)
    found = ATTACKS.load(method)(update, attack_cases.settings(method, iterations=20), seed=3)
    assert set(found.components) == {"vector", "action", "predicted_q", "target_q"}
    if method != "dlg_optimised_action":
        assert found.action.tolist() == batch.action.tolist()


def test_dlg_recovers_box_and_target_where_it_converges() -> None:
    _, batch, update = attack_cases.victims(6)
    found = ATTACKS.load("dlg_ruled_action")(update, attack_cases.settings("dlg_ruled_action", 600), seed=3)
    converged = found.trust["matching_loss_vector"] < 1e-8
    assert converged.any()
    torch.testing.assert_close(found.target_q[converged], batch.target[converged], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.vector[converged], batch.observation["vector"][converged], rtol=0, atol=1e-2)


def test_the_prior_guesses_the_public_mean_and_never_reads_a_gradient() -> None:
    _, batch, update = attack_cases.victims(3)
    for gradient in update.gradients.values():
        gradient.normal_()
    public = {
        "image": batch.observation["image"],
        "vector": batch.observation["vector"],
        "action": torch.tensor([5, 2, 5]),
    }
    found = prior_only(update, AttackSettings(method="prior_only"), seed=3, knowledge={"public": public})
    torch.testing.assert_close(found.image[2], batch.observation["image"].mean(dim=0))
    torch.testing.assert_close(found.vector[0], batch.observation["vector"].mean(dim=0))
    assert found.action.tolist() == [5, 5, 5]
    with pytest.raises(ConfigurationError, match="set public_victims"):
        prior_only(update, AttackSettings(method="prior_only"), seed=3)


def public_rooms():
    _, batch, update = attack_cases.victims(3, seed=11)
    return update, batch.observation


def test_tuning_takes_the_step_sizes_that_err_least_on_public_rooms() -> None:
    update, truth = public_rooms()
    untuned = attack_cases.settings("qgi")
    untuned = untuned.with_stage("vector", candidates=(1e-4, 0.3), step_size=None)
    untuned = untuned.with_stage("image", candidates=(0.1, 1e-4), step_size=None)
    iterations = {"vector": 500, "image": 400}
    search = {"vector": 60, "image": 30}
    tuned, trace = tune(untuned, update, truth, iterations=iterations, search_iterations=search, seed=3)
    assert (tuned.vector.step_size, tuned.image.step_size) == (0.3, 0.1)
    assert (tuned.vector.iterations, tuned.image.iterations) == (500, 400)
    assert trace["vector"]["error"]["adam 0.3"] < trace["vector"]["error"]["adam 0.0001"]
    assert trace["image"]["error"]["adam 0.1"] < trace["image"]["error"]["adam 0.0001"]


def test_tuning_leaves_an_attack_without_stages_as_it_is() -> None:
    update, truth = public_rooms()
    settings = AttackSettings(method="prior_only")
    tuned, trace = tune(settings, update, truth, iterations={}, search_iterations={}, seed=3)
    assert tuned == settings
    assert trace == {}


@pytest.mark.parametrize("name", list(CONFIGURED))
def test_every_configured_attack_is_valid_and_known(name: str) -> None:
    settings = AttackSettings.model_validate(CONFIGURED[name])
    assert settings.method in ATTACKS
    assert METHODS[settings.method].learners


def test_compared_methods_search_and_run_under_equal_terms() -> None:
    settings = {name: AttackSettings.model_validate(entry) for name, entry in CONFIGURED.items()}
    for name in OBJECTIVE:
        assert len(settings[name].vector.candidates) == len(settings["qgi"].vector.candidates)
        assert settings[name].restarts == settings["qgi"].restarts
    for stage in ("vector", "image"):
        joint, separate = (getattr(settings[name], stage) for name in ("qgi_joint", "qgi"))
        assert len(joint.candidates) == len(separate.candidates)
