"""The axes of a study: each stage's files are keyed by what it depends on, and claims mean what they meant before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from rlleak.configuration.attacks import AttackSettings
from rlleak.configuration.axes import Cell
from rlleak.configuration.defences import DefenceSettings, GaussianNoise
from rlleak.configuration.experiments import Experiment, Product, Selection, measures
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.configuration.names import KINDS_OF_NAMES, registry
from rlleak.errors import ConfigurationError
from rlleak.sharing import DEFENCES

CONFIG = Path(__file__).resolve().parents[2] / "config"
PART = {"learner": ["dqn"], "attack": ["qgi"], "setting": ["S1"]}
CELL = Cell("dqn", "mnih2015", "S1", 0, "qgi")


def study(**changes: object):
    return load_study({**read_yaml(CONFIG / "config.yaml"), **changes}, CONFIG)


def test_an_update_does_not_depend_on_defence_and_attack_but_what_is_made_of_it_does() -> None:
    other = Cell("dqn", "mnih2015", "S1", 0, "peel", defence="noise_1e2")
    assert CELL.update == other.update
    assert study().path(CELL) != study().path(other)


@pytest.mark.parametrize(
    "change", [{"batch": 2}, {"actions": "shared", "batch": 2}, {"precision": "float64"}, {"policy": "trained"}]
)
def test_an_update_depends_on_every_other_axis(change: dict) -> None:
    assert Cell("dqn", "mnih2015", "S1", 0, "qgi", **change).update != CELL.update


def test_a_claim_that_names_no_new_axis_is_about_single_undefended_transitions() -> None:
    where = Selection(learner="dqn", attack="qgi", setting="S1")
    assert where.holds(CELL)
    for change in ({"batch": 2}, {"precision": "float64"}, {"defence": "noise_1e2"}, {"actions": "shared"}):
        assert not where.holds(Cell("dqn", "mnih2015", "S1", 0, "qgi", **change))
    assert where.holds(Cell("dqn", "narrow", "S1", 3, "qgi"))


def test_one_transition_cannot_share_its_action() -> None:
    with pytest.raises(ValidationError, match="a batch of 1"):
        Product.model_validate({**PART, "batch": [1, 2], "actions": ["shared"]})


def cells_run(scale: str, **part: object) -> list[Cell]:
    """What a scale runs of an experiment with one product."""
    loaded = study(scale=scale)
    content = {"id": "e", "paper": "p", "title": "t", "metrics": ["iou"], "grid": [{**PART, **part}]}
    return replace(loaded, experiments=(Experiment.model_validate(content),)).cells()


def test_batches_beyond_a_clients_replay_are_left_out_and_in_environments_none() -> None:
    assert [cell.batch for cell in cells_run("smoke", batch=[1, 2, 50])] == [1, 2]
    assert [cell.batch for cell in cells_run("reduced", batch=[1, 2, 50])] == [1, 2]
    game = {"attack": ["rgia"], "setting": ["Pong"], "batch": [1, 2, 50]}
    assert [cell.batch for cell in cells_run("reduced", **game)] == [1, 2, 50]
    assert [cell.batch for cell in cells_run("smoke", **game)] == [1, 2]


def test_a_scale_may_run_few_levels_of_a_defence() -> None:
    levels = ["none", "noise_1e3", "noise_1e2", "noise_1e1"]
    assert {cell.defence for cell in cells_run("smoke", defence=levels)} == {"none", "noise_1e1"}
    assert {cell.defence for cell in cells_run("paper", defence=levels)} == set(levels)
    assert len(cells_run("smoke")) == 1
    game = {"attack": ["rgia", "training"], "setting": ["Pong"], "defence": levels}
    assert {cell.defence for cell in cells_run("reduced", **game)} == set(levels)
    assert len(cells_run("smoke", **game)) == 4


def test_a_product_may_say_at_which_scales_it_runs() -> None:
    assert cells_run("paper", scales=["paper"])
    assert not cells_run("reduced", scales=["paper"])


def test_slow_attacks_and_defended_victims_are_few_and_clients_have_shards_of_their_own() -> None:
    reduced = study(scale="reduced")
    scale = reduced.scale
    met = {
        attack: sum(
            scale.in_shard(shard, scale.updates(1, reduced.meets_few(attack, "none")))
            for shard in reduced.shards(Cell("dqn", "mnih2015", "S1", 0, attack))
        )
        for attack in ("qgi", "peel")
    }
    assert met == {"qgi": scale.victims, "peel": scale.few_victims}
    assert reduced.meets_few("qgi", "noise_1e2")
    clients = [place for shard in reduced.shards(Cell("dqn", "mnih2015", "S1", 0, "batch_heads", batch=4))
               for place in scale.client_shard(shard)]  # fmt: skip
    assert clients == list(range(scale.replay.clients))


def test_an_attack_without_choices_is_not_tuned() -> None:
    assert not study().is_tuned("closed_form")
    assert not study().is_tuned("best")
    assert study().is_tuned("qgi")
    assert not study().is_tuned("prior_only")


def test_a_joint_attack_is_marked_where_its_budget_is_the_sum() -> None:
    attacks = study().attacks
    assert attacks["qgi_joint"].joint
    assert not attacks["qgi"].joint


def test_what_an_attack_says_of_itself_is_listed_by_its_beginning() -> None:
    assert measures(("iou", "trust_rank_*"), "trust_rank_hidden.0")
    assert not measures(("iou", "trust_rank_*"), "trust_condition_hidden.0")
    with pytest.raises(ValidationError):
        Experiment.model_validate({"id": "e", "paper": "p", "title": "t", "metrics": ["psnr*"], "grid": [PART]})


def test_every_kind_of_defence_has_a_model() -> None:
    schema = TypeAdapter(DefenceSettings).json_schema()
    assert set(DEFENCES) == set(schema["discriminator"]["mapping"])
    with pytest.raises(ValidationError, match="either"):
        GaussianNoise(method="gaussian_noise", variance=1.0, relative_deviation=1.0)


@pytest.mark.parametrize("kind", KINDS_OF_NAMES)
def test_behind_every_name_stands_what_it_names(kind: str) -> None:
    for name in registry(kind):
        registry(kind).load(name)


def test_an_unknown_defence_is_named(tmp_path: Path) -> None:
    import shutil

    import yaml

    shutil.copytree(CONFIG, tmp_path / "config")
    path = tmp_path / "config/experiments/qgi_fig1.yaml"
    content = yaml.safe_load(path.read_text())
    content["grid"][0]["defence"] = ["noise_1e7"]
    content["claims"] = []
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match="unknown defence 'noise_1e7'; did you mean 'noise_1e"):
        load_study({**read_yaml(CONFIG / "config.yaml"), "experiments": ["qgi_fig1"]}, tmp_path / "config")


def test_optimisers_are_tried_with_each_step_size() -> None:
    image = {"optimisers": ["adam", "signed_adam"], "candidates": [0.1, 0.3]}
    tries = AttackSettings.model_validate({"method": "qgi", "image": image}).image.tries
    assert len(tries) == 4
    assert {(one["optimiser"], one["step_size"]) for one in tries} == {
        (optimiser, step) for optimiser in ("adam", "signed_adam") for step in (0.1, 0.3)
    }


def test_a_value_head_has_one_output_and_is_no_part_of_training() -> None:
    shape = study().configuration.networks["value_head"].architecture("S1")
    assert shape["outputs"] == 1
    assert "trained" not in study().configuration.networks["mnih2015_trained"].architecture("S1")


def test_numbers_of_a_private_order_do_not_depend_on_the_machine() -> None:
    from rlleak.simulators.layouts import shuffled

    order = shuffled(24, seed=5)
    assert sorted(order) == list(range(24))
    assert order != shuffled(24, seed=6)
    assert all(sorted(victim % 4 for victim in order[start : start + 4]) == [0, 1, 2, 3] for start in range(0, 24, 4))
    places = np.array([shuffled(24, seed).index(0) for seed in range(2000)])
    share = np.bincount(places, minlength=24) / 2000
    assert share.max() < 0.075  # 1/24 = 0.042: no place is victim 0's


def test_noise_has_the_length_that_is_asked_for_and_depends_on_the_victim_alone() -> None:
    from rlleak.learners.specification import NetworkSpec
    from rlleak.sharing.defences import defend
    from rlleak.sharing.update import SharedUpdate

    spec = NetworkSpec(vector_size=30, hidden=(40,), outputs=7)
    generator = torch.Generator().manual_seed(0)
    gradients = {
        name: torch.randn((3, *shape), generator=generator) * 10.0**place
        for place, (name, shape) in enumerate(spec.parameter_shapes.items())
    }
    update = SharedUpdate(spec, {name: value[0] for name, value in gradients.items()}, gradients, {"kind": "dqn"})
    noisy = defend(update, {"method": "gaussian_noise", "relative_deviation": 0.1, "variance": None}, 3, [5, 6, 7])

    def flat(one: SharedUpdate) -> torch.Tensor:
        return torch.cat([gradient.flatten(1) for gradient in one.gradients.values()], dim=1)

    lengths = (flat(noisy) - flat(update)).norm(dim=1) / flat(update).norm(dim=1)
    assert lengths.tolist() == pytest.approx([0.1] * 3, rel=0.1)
    alone = defend(update.select(slice(1, 2)), {"method": "gaussian_noise", "relative_deviation": 0.1}, 3, [6])
    assert torch.equal(flat(alone)[0], flat(noisy)[1])
    other = defend(update.select(slice(1, 2)), {"method": "gaussian_noise", "relative_deviation": 0.1}, 4, [6])
    assert not torch.equal(flat(other), flat(alone))
    untouched = defend(update, {"method": "none"}, 3, [5, 6, 7])
    assert torch.equal(flat(untouched), flat(update))
