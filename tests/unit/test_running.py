"""An attack survives being cut, killed and starved, and refuses what it cannot take."""

import copy
from dataclasses import replace
from pathlib import Path

import attack_cases
import pytest
import torch

from rlleak.attacks import ATTACKS, METHODS, checkpoints
from rlleak.attacks.qgi import qgi
from rlleak.attacks.running import attack, network_bytes, victim_bytes
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.priors.denoiser import DenoiserNetwork, LearntPrior


class KilledError(Exception):
    """Stands for the signal that kills a job."""


@pytest.mark.parametrize("stage", ["vector", "image"])
def test_a_resumed_attack_gives_the_same_bytes_as_an_uninterrupted_one(stage, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    _, _, update = attack_cases.victims(3)
    chosen = attack_cases.settings("qgi", iterations=20)
    whole = qgi(update, chosen, seed=4)
    done = []

    def kill(name: str, iteration: int, total: int, loss: float) -> None:
        done.append(name)
        if name.startswith(stage) and iteration == 15:
            raise KilledError

    path = tmp_path / "work.safetensors"
    with pytest.raises(KilledError):
        qgi(update, chosen, seed=4, checkpoint=path, progress=kill)
    before = len(done)
    resumed = qgi(update, chosen, seed=4, checkpoint=path, progress=lambda name, *rest: done.append(name))
    assert len(done) - before < 40 - 12, "the work was done again from the start"
    for name, value in whole.components.items():
        assert torch.equal(value, resumed.components[name]), name
    for name, value in whole.trust.items():
        assert torch.equal(value, resumed.trust[name]), name


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_checkpoint_of_other_work_or_a_broken_one_is_ignored(content, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    _, _, update = attack_cases.victims(2)
    path = tmp_path / "work.safetensors"
    if content is None:
        qgi(update, attack_cases.settings("qgi", iterations=5), seed=5, checkpoint=path)
        assert path.is_file()
    else:
        path.write_bytes(content)
    chosen = attack_cases.settings("qgi", iterations=5)
    found = qgi(update, chosen, seed=4, checkpoint=path)
    assert torch.equal(found.image, qgi(update, chosen, seed=4).image)


def learnt(seed: int = 0, **description: object) -> LearntPrior:
    torch.manual_seed(seed)
    return LearntPrior(DenoiserNetwork(1, (4, 4), 1), {"channels": 1} | description)


@pytest.mark.parametrize(
    ("known", "other"),
    [
        ({}, {"prior": learnt()}),
        ({"prior": learnt()}, {"prior": learnt(seed=1)}),
        ({"prior": learnt()}, {"prior": learnt(held_out={"0.1": {"learnt": 1, "variation": 2}})}),
        ({"public": {"image": torch.zeros(2, 3)}}, {"public": {"image": torch.tensor([[0, 1.0, -1], [0, 0, 0]])}}),
    ],
    ids=["prior or none", "another prior", "a prior that does not help", "other rooms"],
)
def test_a_checkpoint_is_taken_by_who_knows_the_same_and_nobody_else(known, other, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    _, _, update = attack_cases.victims(2)
    chosen, path = attack_cases.settings("qgi", iterations=5), tmp_path / "work.safetensors"

    def stages(knowledge: dict) -> set[str]:
        done = []
        kept = {"checkpoint": path, "progress": lambda name, *rest: done.append(name)}
        qgi(update, chosen, seed=4, knowledge=knowledge, **kept)
        return set(done)

    whole = stages(known)
    assert not stages(copy.deepcopy(known))
    assert stages(other) == whole


def test_a_checkpoint_of_the_same_victims_in_another_order_is_ignored(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.0)
    _, _, update = attack_cases.victims(2)
    chosen, path = attack_cases.settings("qgi", iterations=5), tmp_path / "work.safetensors"
    turned = replace(update, gradients={name: value.flip(0) for name, value in update.gradients.items()})
    first = qgi(update, chosen, seed=4, checkpoint=path)
    second = qgi(turned, chosen, seed=4, checkpoint=path)
    torch.testing.assert_close(second.vector, first.vector.flip(0), rtol=0, atol=1e-3)


def test_a_checkpoint_is_of_an_update_with_what_is_known_of_it(tmp_path) -> None:
    _, _, update = attack_cases.victims(2)
    mask = torch.ones_like(update.gradients["head.bias"], dtype=torch.bool)
    others = [replace(update, known={"head.bias": mask}), replace(update, defence={"method": "int8"})]
    names = [checkpoints.fingerprint(each, {}, 0, 1, {}) for each in (update, *others)]
    assert len(set(names)) == 3
    assert checkpoints.fingerprint(update, {}, 0, 1, {}) == names[0]


def test_results_do_not_depend_on_how_victims_are_cut() -> None:
    _, _, update = attack_cases.victims(5)
    chosen = attack_cases.settings("qgi", iterations=10, restarts=2)
    whole = qgi(update, chosen, seed=4)
    shared = sum(value.numel() * 4 for value in update.parameters.values())
    cut = qgi(update, chosen, seed=4, memory_limit=shared + 2 * victim_bytes(update, chosen))
    alone = qgi(update.select(slice(3, 4)), chosen, seed=4)
    torch.testing.assert_close(cut.vector, whole.vector, rtol=0, atol=1e-3)
    torch.testing.assert_close(alone.vector, whole.vector[3:4], rtol=0, atol=1e-3)
    # Adam's first steps have one size, so a pixel whose derivative is all rounding may go either way.
    assert float((cut.image - whole.image).abs().mean()) < 1e-3


def test_what_an_attack_says_of_some_victims_only_is_unknown_of_the_others() -> None:
    _, _, update = attack_cases.victims(2)

    def steps(chunk) -> dict[str, torch.Tensor]:
        said = {"trust/matched": torch.ones(1)} if chunk.key == "1-1" else {}
        return {"action": torch.zeros(1, dtype=torch.int64), **said}

    steps.__name__ = "closed_form"
    found = attack(weighs=lambda update, settings: 1)(steps)(
        update, attack_cases.settings("closed_form"), seed=4, memory_limit=network_bytes(update) + 1
    )
    assert found.trust["matched"].isnan().tolist() == [True, False]


def test_the_restart_of_lowest_matching_loss_wins() -> None:
    _, _, update = attack_cases.victims(3)
    single = qgi(update, attack_cases.settings("qgi", iterations=15), seed=4)
    several = qgi(update, attack_cases.settings("qgi", iterations=15, restarts=4), seed=4)
    assert (several.trust["matching_loss_vector"] <= single.trust["matching_loss_vector"] * 1.001).all()
    assert (several.trust["matching_loss_vector"] < single.trust["matching_loss_vector"] * 0.999).any()


def test_too_little_memory_for_one_victim_is_said_in_one_line() -> None:
    _, _, update = attack_cases.victims(2)
    with pytest.raises(ResourceError, match="raise memory_limit_gb") as caught:
        qgi(update, attack_cases.settings("qgi"), seed=4, memory_limit=1000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [name for name in ATTACKS if name != "prior_only"])
def test_a_victim_that_shared_nothing_is_flagged_and_harms_nobody(method: str) -> None:
    _, _, update = attack_cases.victims(2, METHODS[method].learners[0])
    gradients = {name: value.clone() for name, value in update.gradients.items()}
    for value in gradients.values():
        value[0] = 0
    chosen = attack_cases.settings(method, iterations=5)
    found = ATTACKS.load(method)(replace(update, gradients=gradients), chosen, seed=4)
    assert found.trust["zero_update"].tolist() == [1, 0]
    for name, value in {**found.components, **found.trust}.items():
        # Nothing known about a layer has an infinite condition.
        assert not value.isnan().any() if name.startswith("condition_") else torch.isfinite(value.float()).all(), name
    sound = ATTACKS.load(method)(update, chosen, seed=4)
    torch.testing.assert_close(found.vector[1], sound.vector[1], rtol=0, atol=1e-3)


def test_an_attack_refuses_what_it_cannot_take() -> None:
    _, _, reinforce = attack_cases.victims(2, "reinforce")
    with pytest.raises(ConfigurationError, match="takes dqn updates, not reinforce"):
        qgi(reinforce, attack_cases.settings("qgi"), seed=4)
    _, _, update = attack_cases.victims(2)
    with pytest.raises(ConfigurationError, match="over one transition, not 2"):
        qgi(replace(update, batch_size=2), attack_cases.settings("qgi"), seed=4)
    untuned = attack_cases.settings("qgi").with_stage("image", step_size=None)
    with pytest.raises(ConfigurationError, match=r"image\.step_size is not set"):
        qgi(update, untuned, seed=4)
    _, _, biasless = attack_cases.victims(2, spec=attack_cases.SMALL.model_copy(update={"bias": False}))
    with pytest.raises(ConfigurationError, match="the network has none"):
        qgi(biasless, attack_cases.settings("qgi"), seed=4)
