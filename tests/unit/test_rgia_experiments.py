"""RGIA's experiments are valid, their claims can be judged, and a variant is what its name says."""

import published_samples as samples
import pytest
import transition_samples as transitions
import yaml
from transition_samples import NAMES

from rlleak.configuration.experiments import Experiment, Term
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.publishing.labels import attack_label, swept
from rlleak.publishing.metrics_table import caption_of
from rlleak.publishing.statements import state

CONFIG = samples.ROOT / "config"


def study(scale: str):
    return load_study({**read_yaml(CONFIG / "config.yaml"), "experiments": list(NAMES), "scale": scale}, CONFIG)


@pytest.mark.parametrize("scale", ["smoke", "reduced", "paper"])
def test_every_experiment_is_valid_and_runs_something_at_every_scale(scale: str) -> None:
    loaded = study(scale)
    for experiment in loaded.experiments:
        assert loaded.cells(experiment.id)
    for cell in loaded.cells():
        assert loaded.on_transitions(cell.attack)
        beside = {axis: value for axis, value in cell.axes.items() if axis != "attack"}
        assert cell.attack in loaded.together(**beside)


def test_claims_can_be_stated_and_no_two_experiments_share_one() -> None:
    every = [Experiment.model_validate(yaml.safe_load(path.read_text())) for path in CONFIG.glob("experiments/*.yaml")]
    ids = [claim.id for experiment in every for claim in experiment.claims]
    assert len(ids) == len(set(ids))
    for experiment in transitions.EXPERIMENTS.values():
        assert all(state(claim, experiment) for claim in experiment.claims)


def test_the_summarys_60_percent_are_a_factor() -> None:
    claims = {claim.id: claim for claim in transitions.EXPERIMENTS["rgia_consistency"].claims}
    assert (claims["hopper_ed"].op, claims["hopper_ed"].factor) == ("<", 0.4)
    assert (claims["hopper_ss"].op, claims["hopper_ss"].factor) == (">", 2)


def test_a_variant_is_what_its_name_says_and_rgia_in_everything_else() -> None:
    attacks = study("reduced").transition_attacks
    usual = attacks["rgia"].model_dump()
    amounts = {"100": 100, "300": 300, "0.1%": 1000, "0.3%": 3000, "0.5%": 5000, "1%": 10_000}
    seen = set()
    for name, settings in attacks.items():
        if not (level := swept(name)):
            continue
        seen.add(level[0])
        own = settings.model_dump()
        value = own.pop(level[0])
        assert level[1] == (amounts[value] if level[0] == "prior" else value), name
        assert own == {key: kept for key, kept in usual.items() if key != level[0]}, name
    assert seen == {"alpha", "beta", "gamma", "prior"}


@pytest.mark.parametrize("key", ["alpha", "beta", "gamma"])
def test_every_sweep_holds_rgias_own_weight(key: str) -> None:
    attacks = study("reduced").transition_attacks
    assert getattr(attacks["rgia"], key) in {level[1] for name in attacks if (level := swept(name)) and level[0] == key}


def test_variants_are_named_by_what_they_vary() -> None:
    assert attack_label("rgia_gamma_0_01") == "RGIA, γ = 0.01"
    assert attack_label("rgia_prior_10000") == "RGIA, 10,000 transitions"
    assert attack_label("rgia_prior_biased") == "RGIA, biased prior"
    assert swept("rgia") is None


@pytest.mark.parametrize("name", NAMES)
def test_captions_say_whose_formulas_and_which_environments(name: str) -> None:
    experiment = transitions.EXPERIMENTS[name].model_dump(mode="json")
    for publication in transitions.EXPERIMENTS[name].publishes:
        caption = caption_of(experiment, publication.name, "reduced", "rooms")
        assert caption.endswith("(reduced scale, environments of gymnasium)")
        if publication.kind == "table":
            assert "ours" in caption


def test_no_number_of_ours_stands_where_the_papers_would() -> None:
    for experiment in transitions.EXPERIMENTS.values():
        for claim in experiment.claims:
            assert isinstance(claim.right, Term) or claim.source == "ours", claim.id
