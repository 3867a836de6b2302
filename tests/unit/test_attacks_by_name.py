"""An attack by its name, with settings of its own, changed by their names."""

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from modules import q_network, transitions

import rlleak
from rlleak.attacks import ATTACKS
from rlleak.attacks.defaults import attack_for, changed, default_settings
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.priors.variation import TotalVariation


def test_every_attack_has_settings_of_its_own_that_agree_with_the_configurations() -> None:
    entries = yaml.safe_load((Path(__file__).parents[2] / "config" / "attacks.yaml").read_text())
    for name in ATTACKS:
        own = default_settings(name)
        assert all(stage.step_size and stage.iterations for stage in own.stages.values()), name
        for entry in entries.values():
            if entry["method"] != name or "step_size" in str(entry):
                continue
            configured = AttackSettings.model_validate(entry)
            assert set(own.stages) == set(configured.stages)
            for stage, told in configured.stages.items():
                mine = getattr(own, stage)
                assert mine.step_size in told.candidates
                assert (mine.optimiser, mine.schedule, mine.final_step) == (
                    told.optimiser,
                    told.schedule,
                    told.final_step,
                )


def test_an_attack_is_changed_by_its_settings_names() -> None:
    settings = changed(default_settings("qgi"), {"iterations": 7, "tv_weight": 0.5})
    assert {stage.iterations for stage in settings.stages.values()} == {7}
    assert settings.tv_weight == 0.5
    with pytest.raises(ConfigurationError, match="did you mean 'tv_weight'"):
        changed(settings, {"tv_wait": 1})
    with pytest.raises(ConfigurationError, match="'restarts'") as caught:
        changed(settings, {"restarts": 0})
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="unknown setting"):
        changed(default_settings("closed_form"), {"iterations": 7})


def test_without_a_name_the_first_attack_that_takes_the_update_runs() -> None:
    update = rlleak.share(q_network(), "dqn", transitions(1))
    assert attack_for(update) in ("best", "peel")
    assert rlleak.attack(update).metadata["attack"] == attack_for(update)
    with pytest.raises(ConfigurationError, match="did you mean 'peel'"):
        rlleak.attack("peal", update)
    with pytest.raises(ConfigurationError, match="needs an update"):
        rlleak.attack("peel")


def test_settings_name_their_attack_wherever_they_stand() -> None:
    update = rlleak.share(q_network(), "dqn", transitions(1))
    chosen = changed(default_settings("closed_form"), {"restarts": 2})
    for arguments in ((update, chosen), (None, update, chosen), ("closed_form", update, chosen)):
        found = rlleak.attack(*arguments).metadata
        assert (found["attack"], found["settings"]["restarts"]) == ("closed_form", 2)
    assert rlleak.attack(update, settings=chosen, restarts=3).metadata["settings"]["restarts"] == 3
    with pytest.raises(ConfigurationError, match="settings are for 'closed_form', not 'peel'"):
        rlleak.attack("peel", update, chosen)


@pytest.mark.parametrize("settings", ["closed_form", {"restarts": 2}], ids=["name", "dictionary"])
def test_what_are_no_settings_is_refused_in_one_line(settings: object) -> None:
    update = rlleak.share(q_network(), "dqn", transitions(1))
    for arguments in ((update, settings), ("closed_form", update, settings)):
        with pytest.raises(ConfigurationError, match=rf"not a {type(settings).__name__}; .* iterations=100") as caught:
            rlleak.attack(*arguments)
        assert "\n" not in str(caught.value)


def test_a_batch_without_an_attacks_name_is_told_apart() -> None:
    update = rlleak.share(q_network(), "dqn", transitions(2))
    assert rlleak.attack(update).metadata["attack"] == "batch_heads"
    assert attack_for(dataclasses.replace(update, loss={"kind": "actor_critic"})) == "batch_heads"
    with pytest.raises(ConfigurationError, match="no attack takes other updates over 2 transitions"):
        rlleak.attack(dataclasses.replace(update, loss={"kind": "other"}))


def test_a_device_that_is_not_there_is_said_in_one_line(monkeypatch) -> None:
    update = rlleak.share(q_network(), "dqn", transitions(1))
    with pytest.raises(ConfigurationError, match="device 'tpu9' is none that torch knows"):
        rlleak.attack(update, device="tpu9")
    for device in ("mps", "meta"):
        with pytest.raises(ConfigurationError, match=f"do not run on device '{device}'; choose cpu or cuda"):
            rlleak.attack(update, device=device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="torch sees no GPU"):
        rlleak.attack(update, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ResourceError, match="device is 'cuda:1', but torch sees 1 GPUs"):
        rlleak.attack(update, device="cuda:1")


def test_an_attack_is_told_what_it_knows_and_nothing_else() -> None:
    update = rlleak.share(q_network(), "dqn", transitions(1))
    with pytest.raises(ConfigurationError, match="'best' is told of prior and public besides, not of 'pubic'"):
        rlleak.attack("best", update, knowledge={"pubic": {}})
    with pytest.raises(ConfigurationError, match="'public' is no mapping"):
        rlleak.attack("best", update, knowledge={"public": torch.rand(2, 6)})
    with pytest.raises(ConfigurationError, match="'qgi' is told of nothing besides, not of 'prior'"):
        rlleak.attack("qgi", update, knowledge={"prior": TotalVariation()})
