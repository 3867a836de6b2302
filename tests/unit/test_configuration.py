"""The configuration that is shipped is valid, its models refuse what they should, and the schemas are theirs."""

import shutil
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from rlleak.configuration.axes import ACTIONS, CHANNELS, Cell
from rlleak.configuration.experiments import Claim, Experiment, Term
from rlleak.configuration.loading import load_study, read_yaml, study_of
from rlleak.configuration.scales import Scale
from rlleak.configuration.schemas import schemas
from rlleak.configuration.study import Study
from rlleak.errors import ConfigurationError
from rlleak.learners.specification import NetworkSpec
from rlleak.simulators import active_perception
from rlleak.simulators.controller import SimulatorOptions

ROOT = Path(__file__).resolve().parents[2]
WHERE = {"learner": "dqn", "attack": "qgi", "setting": "S1"}
TERM = {"metric": "iou", "where": WHERE}
CLAIM = {"id": "c", "where": "Table I", "quote": "q", "kind": "relation", "left": TERM, "op": ">", "right": 0.5}


def study(**changes: object) -> Study:
    return load_study({**read_yaml(ROOT / "config/config.yaml"), **changes}, ROOT / "config")


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
@pytest.mark.parametrize("simulator", ["rooms", "thor"])
def test_the_shipped_configuration_is_valid(scale: str, simulator: str) -> None:
    assert study(scale=scale, simulator=simulator).cells()


def test_the_paper_scale_has_the_papers_sizes() -> None:
    scale = study(scale="paper").scale
    assert scale.victims == 240
    assert scale.iterations.vector == scale.iterations.image == 20_000


def test_experiments_share_their_cells() -> None:
    everything = study()
    separately = [cell for experiment in everything.experiments for cell in everything.cells(experiment.id)]
    assert len(everything.cells()) == len(set(separately)) < len(separately)


def test_schemas_are_those_of_the_models() -> None:
    folder = ROOT / "workflow/schemas"
    assert {path.name for path in folder.iterdir()} == set(schemas())
    for name, content in schemas().items():
        assert folder.joinpath(name).read_text() == content, "type: make schemas"


def test_a_setting_decides_what_a_network_sees() -> None:
    shape = study().configuration.networks["mnih2015"]
    colour, depth = (NetworkSpec.model_validate(shape.architecture(setting)) for setting in ("S1", "S2"))
    assert colour.image_shape == (4, 150, 150)
    assert depth.image_shape == (1, 150, 150)
    assert colour.outputs == 7
    assert colour.vector_size == 4


def test_actions_and_channels_are_those_of_the_task() -> None:
    assert ACTIONS == active_perception.ACTIONS
    assert {setting: len(channels) for setting, channels in CHANNELS.items()} == active_perception.CHANNELS


def test_the_player_and_the_task_take_what_the_configuration_says() -> None:
    configuration = study().configuration
    simulation = configuration.simulation.model_dump()
    perception = configuration.perception.model_dump(exclude={"warm_up"})
    assert simulation.items() <= vars(SimulatorOptions(**simulation)).items()
    assert perception.items() <= vars(active_perception.TaskOptions(**perception)).items()


@pytest.mark.parametrize(("victims", "each", "cut"), [(24, 12, [12, 12]), (25, 12, [12, 12, 1]), (4, 4, [4])])
def test_shards_hold_every_victim_once(victims: int, each: int, cut: list[int]) -> None:
    content = study(scale="smoke").scale.model_dump() | {"victims": victims, "victims_per_shard": each}
    content["candidates"]["rooms"] = 120
    scale = Scale.model_validate(content)
    shards = [scale.shard(index) for index in range(scale.shards)]
    assert [len(shard) for shard in shards] == cut
    assert [victim for shard in shards for victim in shard] == list(range(victims))


def test_a_claim_is_comparable_by_its_kind() -> None:
    value = Claim.model_validate({**CLAIM, "kind": "value"})
    assert value.comparable_on.simulators == ("thor",)
    assert value.comparable_on.scales == ("paper",)
    relation = Claim.model_validate(CLAIM)
    assert relation.comparable_on.simulators == ("rooms", "thor")
    assert "smoke" not in relation.comparable_on.scales


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"op": "within"}, "a tolerance belongs to op 'within'"),
        ({"tolerance": 1.0}, "a tolerance belongs to op 'within'"),
        ({"op": "within", "tolerance": 1.0, "margin": 2.0}, "a margin has no meaning with op 'within'"),
        ({"comparable_on": {"simulators": ["rooms"], "scales": ["smoke"]}}, "scale smoke judges nothing"),
        ({"left": {**TERM, "threshold": 0.5}}, "a threshold belongs to count_above"),
        ({"left": {**TERM, "statistic": "count_above"}}, "a threshold belongs to count_above"),
        ({"quote": ""}, "quote\n.*at least 1 character"),
        ({"each": "layout"}, "each\n.*'room_type'"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_with_the_reason(changes: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Claim.model_validate({**CLAIM, **changes})


def test_a_count_needs_its_threshold() -> None:
    assert Term.model_validate({**TERM, "statistic": "count_above", "threshold": 0.9999}).threshold == 0.9999


def test_cells_are_the_union_of_the_products() -> None:
    part = {"learner": ["dqn"], "attack": ["qgi"], "setting": ["S1", "S2"]}
    content = {"id": "e", "paper": "p", "title": "t", "metrics": ["iou"], "grid": [part, {**part, "setting": ["S2"]}]}
    cells = Experiment.model_validate(content).cells(network_seeds=2)
    assert len(cells) == 4
    assert cells[0] == Cell("dqn", "mnih2015", "S1", 0, "qgi")
    kept = load_study(read_yaml(ROOT / "config/config.yaml"), ROOT / "config")
    assert kept.path(cells[0]) == "dqn/mnih2015/S1/random/batch1/any/float32/seed0/none/qgi"


def test_nothing_validated_can_change() -> None:
    with pytest.raises(ValidationError):
        study().configuration.scale = "paper"


def test_an_experiment_that_is_not_configured_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'qgi_table1'"):
        study().experiment("qgi_table11")


def test_a_private_seed_that_the_attacker_has_too_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="private and attacker are the same"):
        study(seeds={"private": 7, "attacker": 7})


RGIA = {"learner": ["critic"], "attack": ["rgia"], "setting": ["Hopper"], "network": ["mlp256"]}
ROOMS = {"learner": ["dqn"], "attack": ["qgi"], "setting": ["S1"], "network": ["mnih2015"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": ["S1"]}, "setting 'S1' is none"),
        ({"learner": ["dqn"]}, "does not fit the actions of Hopper"),
        ({"batch": [2], "actions": ["shared"]}, "leave out 'actions'"),
        ({"network": ["value_head"]}, "has outputs set"),
        ({"network": ["mnih2015_trained"]}, "whose layers differ"),
        ({"defence": ["local_2"]}, "2 local steps, more than batch 1"),
        (ROOMS | {"batch": [1, 4]}, "over one transition, not batch 4"),
        (ROOMS | {"policy": ["trained"]}, "policy 'trained' is of environments"),
        ({"claims": [CLAIM], "defence": ["nune"]}, "unknown defence 'nune'; did you mean 'none'"),
    ],
)
def test_parts_of_a_product_that_do_not_fit_are_refused_before_anything_runs(
    change: dict, message: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    grid = RGIA | change
    claims = grid.pop("claims", [])
    content = {"id": "tiny", "paper": "p", "title": "t", "metrics": ["mse"], "grid": [grid], "claims": claims}
    (tmp_path / "config/experiments/tiny.yaml").write_text(yaml.safe_dump(content))
    configured = read_yaml(ROOT / "config/config.yaml") | {"experiments": ["tiny"]}
    with pytest.raises(ConfigurationError, match=message):
        load_study(configured, tmp_path / "config")


def test_the_attacker_plays_at_least_what_errors_are_measured_in() -> None:
    kept = study(experiments=["rgia_main"])
    assert kept.prior_size("Hopper", "random") >= 3000
    assert kept.prior_size("Hopper", "trained") == 0


def test_two_experiments_cannot_publish_the_same_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    content = read_yaml(ROOT / "config/experiments/rgia_main.yaml") | {"id": "again"}
    (tmp_path / "config/experiments/again.yaml").write_text(yaml.safe_dump(content))
    configured = read_yaml(ROOT / "config/config.yaml") | {"experiments": ["rgia_main", "again"]}
    with pytest.raises(ConfigurationError, match=r"again\.yaml: publishes .* rgia_main\.yaml does already"):
        load_study(configured, tmp_path / "config")


HOPPER = {"metric": "mse", "where": {"learner": "critic", "attack": "rgia", "setting": "Hopper", "network": "mlp256"}}
ABOUT = {**CLAIM, "left": HOPPER}


def worded(tmp_path: Path, file: str = "", text: str = "", **changes: object) -> str:
    """What is said of an experiment with these changes, or of a file with this text behind its own; "": nothing."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    content = {"id": "tiny", "paper": "p", "title": "t", "metrics": ["mse"], "grid": [RGIA], **changes}
    (folder / "experiments/tiny.yaml").write_text(yaml.safe_dump(content))
    configured = read_yaml(folder / "config.yaml") | {"experiments": ["tiny"], "scale": "smoke"}
    (folder / "config.yaml").write_text(yaml.safe_dump(configured))
    if file:
        path = folder / file
        path.write_bytes(path.read_bytes() + text.encode("latin-1"))
    try:
        study_of([], folder)
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": [RGIA | {"setting": ["Hoper"]}]}, "grid.0.setting.0: unknown 'Hoper'; did you mean 'Hopper'?"),
        ({"grid": [RGIA | {"attack": []}]}, "grid.0.attack: Give at least one"),
        ({"grid": [RGIA | {"scales": ["paper"]}]}, "scale smoke runs nothing of its grid"),
        ({"claims": [{**ABOUT, "left": {**HOPPER, "metric": "mes"}}]}, "metric 'mes'; did you mean 'mse'?"),
        (
            {
                "claims": [{**ABOUT, "left": {**HOPPER, "metric": "iou"}}],
                "metrics": ["mse", "iou"],
                "grid": [RGIA, ROOMS],
            },
            "claim 'c' about rgia: unknown metric of transitions 'iou'",
        ),
        ({"metrics": ["mse", "iou"]}, "metric 'iou' is measured of no attack in the grid; leave it out"),
        ({"metrics": ["mes"]}, "unknown metric 'mes'; did you mean 'mse'?"),
        (
            {"claims": [{**ABOUT, "left": {**HOPPER, "where": HOPPER["where"] | {"batch": 8}}}]},
            "the grid does not run (batch 8; there is: 1)",
        ),
        ({"claims": [{**ABOUT, "right": {"metrik": "mse"}}]}, "claims.0.right: unknown key 'metrik'; did you mean"),
        (
            {"grid": [RGIA | {"attack": ["guess"], "batch": [8]}], "file": "transition_attacks.yaml"}
            | {"text": "guess: {method: transition_prior_only, prior: weights}"},
            "attack 'guess' guesses batch 8 by transitions of its own, and prior 'weights' holds 0",
        ),
        ({"claims": [{**ABOUT, "right": float("nan")}]}, "finite number"),
        (
            {"publishes": [{"kind": "figure", "name": "federated_demo", "builder": "fig4", "caption": "c"}]},
            "tiny.yaml: publishes figure 'federated_demo', and rule plot_federated_demo does already",
        ),
        ({"file": "experiments/tiny.yaml", "text": "title: again"}, "'title' stands twice"),
        ({"file": "attacks.yaml", "text": "q/gi: {method: prior_only}"}, "letters, digits and _, not 'q/gi'"),
        ({"file": "defences.yaml", "text": "mine: {method: clippping}"}, "mine: unknown method 'clippping'; did you"),
        ({"file": "defences.yaml", "text": "mine:"}, "mine: Input should be keys with values, not null"),
        ({"file": "federation.yaml", "text": "\xff"}, "federation.yaml: is not text in UTF-8"),
    ],
)
def test_a_hurried_mistake_ends_in_one_line(changes: dict, said: str, tmp_path: Path) -> None:
    line = worded(tmp_path, **changes)
    assert said in line
    assert "\n" not in line


def test_without_a_mistake_nothing_is_said(tmp_path: Path) -> None:
    assert worded(tmp_path, claims=[ABOUT]) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"experiments": ["rgia_main", "rgia_main"]}, "experiments name 'rgia_main' twice"),
        ({"memory_limit_gb": float("inf")}, "memory_limit_gb: Input should be a finite number"),
        (
            {"networks": {"bent": {"vector_width": 0, "hidden": [-5]}}},
            "networks.bent.hidden.0: .* greater than 0, not -5",
        ),
        ({"device": "cudaa"}, "device: unknown 'cudaa'; did you mean 'cuda'"),
    ],
)
def test_a_value_that_nobody_means_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        study(**changes)


def test_a_network_left_by_a_training_that_there_is_not_is_refused_in_rooms_too() -> None:
    networks = read_yaml(ROOT / "config/config.yaml")["networks"]
    left = {**networks["mnih2015"], "trained": {"federation": "mnih2014"}}
    with pytest.raises(ConfigurationError, match="unknown network 'mnih2014'; did you mean 'mnih2015"):
        study(networks=networks | {"mnih2015_trained": left})


def test_an_empty_configuration_and_a_word_without_a_key_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigurationError, match="keys with values, not null"):
        study_of(["scale=smoke"], tmp_path)
    with pytest.raises(ConfigurationError, match="'smoke' sets no key; write key=value"):
        study_of(["smoke"], tmp_path)
