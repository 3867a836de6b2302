"""Audits: counts are those of brute force, verdicts come true when measured."""

import json
from pathlib import Path

import modules
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

import rlleak
from rlleak.auditing.__main__ import main
from rlleak.auditing.counting import active_shares, count
from rlleak.auditing.levels import DIRECTION, EXACT, LIKELY, PRIOR, SILENT
from rlleak.errors import ConfigurationError
from rlleak.learners.networks import load_network
from rlleak.learners.reading import read


@given(
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 2),
    st.integers(9, 14),
    st.integers(0, 99),
)
@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
def test_unknowns_and_equations_are_those_of_brute_force(channels, kernel, stride, padding, side, seed) -> None:
    torch.manual_seed(seed)
    first = nn.Conv2d(channels, 4, kernel, stride, padding)
    features = nn.Sequential(first, nn.ReLU(), nn.Flatten())
    width = features(torch.zeros(1, channels, side, side)).shape[1]
    network = nn.Sequential(*features, nn.Linear(width, 3))
    branch = read(network, (channels, side, side)).branches[0]
    image = torch.rand(1, channels, side, side, requires_grad=True)
    output = first(image)
    (touched,) = torch.autograd.grad(output.abs().sum(), image)
    own = load_network(branch.spec, read(network, (channels, side, side)).parameters(dict(network.named_parameters())))
    layer = {layer.role: layer for layer in count(branch, active_shares(own, {"image": image.detach()}))}[
        "convolutions.0"
    ]
    assert layer.unknowns == int((touched != 0).sum())
    # A kernel that is active nowhere gets no gradient.
    (reached,) = torch.autograd.grad(network(image).square().sum(), first.bias)
    assert layer.gradient_equations == int((reached != 0).sum()) * first.weight[0].numel()
    assert layer.forward_equations == int((output > 0).sum())


@pytest.mark.parametrize(("kind", "dead"), [(nn.ReLU, True), (nn.Tanh, False), (nn.LeakyReLU, False)])
def test_only_a_relu_keeps_gradients_from_what_is_below_0(kind: type[nn.Module], dead: bool) -> None:
    torch.manual_seed(0)
    network, seen = nn.Sequential(nn.Linear(6, 24), kind(), nn.Linear(24, 4)), torch.rand(1, 6)
    audit = rlleak.audit(network, observations=seen, measured=False)
    (gradient,) = torch.autograd.grad(network(seen).square().sum(), network[0].weight)
    assert audit.layers[1].gradient_equations == int((gradient != 0).sum())
    assert (audit.layers[1].gradient_equations < gradient.numel()) == dead


def test_below_a_layer_that_is_dead_nothing_is_said_to_leak() -> None:
    network = wide()
    with torch.no_grad():
        network[3].bias.fill_(-1e3)
    audit = rlleak.audit(network, (1, 10, 10), measured=False)
    assert levels(audit) == {"head": EXACT, "hidden.0": SILENT, "convolutions.0": SILENT}
    assert "no output of '3' is active" in audit.summary[0]
    assert "nothing" in str(audit)


@pytest.mark.parametrize("side", [20, 21])
def test_counts_are_those_of_the_certificate_that_the_attack_returns(side: int) -> None:
    """Of 21 rows and columns the network does not read the last."""
    torch.manual_seed(0)
    network = modules.NatureLike(side=side)
    named = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    audit = rlleak.audit(network, Box(0, 255, (3, side, side), dtype=np.uint8), observations=named, measured=False)
    update = rlleak.share(
        network, "dqn", {"obs": named, "action": torch.tensor([1]), "reward": torch.ones(1), "target": torch.ones(1)}
    )
    few = {"iterations": 5, "feature_iterations": 20, "activation_iterations": 5}
    trust = rlleak.attack("peel", update, peel=few).trust
    compared = 0
    for layer in audit.layers:
        if f"unknowns_{layer.role}" in trust and layer.role != "head":
            assert int(trust[f"unknowns_{layer.role}"]) == layer.unknowns, layer.role
            compared += 1
    assert compared >= 2


def levels(audit) -> dict[str, str]:
    return {layer.role: layer.level for layer in audit.layers}


def wide(bias: bool = True) -> nn.Module:
    """More equations than unknowns in every layer."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, 1, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 64, 48, bias=bias), nn.ReLU(),
        nn.Linear(48, 4, bias=bias),
    )  # fmt: skip


def test_a_verdict_of_exact_comes_true_and_a_solvable_image_is_solved() -> None:
    audit = rlleak.audit(wide(), (1, 10, 10), updates=2)
    assert levels(audit) == {"head": EXACT, "hidden.0": EXACT, "convolutions.0": LIKELY}
    found = {(row.attack, row.component): row for row in audit.measurements}
    assert found["closed_form", "features"].worst < 1e-5
    assert found["closed_form", "action"].median == 1
    assert found["closed_form", "target"].worst < 1e-3
    assert found["peel", "image"].worst > 50
    assert "every convolution below has equations enough" in audit.summary[0]


def test_what_was_measured_of_the_observation_stands_in_the_summary() -> None:
    audit = rlleak.audit(modules.ActorCritic(), (6,), attacks=["closed_form"])
    assert "closed_form gives back the vector with a relative error of" in audit.summary[-1]


def test_observations_say_their_own_shape_and_nothing_at_all_is_refused() -> None:
    seen = torch.rand(2, 6)
    audit = rlleak.audit(modules.ActorCritic(), observations=seen, attacks=["closed_form"])
    assert {row.updates for row in audit.measurements} == {2}
    few = rlleak.audit(modules.ActorCritic(), observations=seen, attacks=["closed_form"], updates=1)
    assert {row.updates for row in few.measurements} == {1}
    assert audit.observations == {"observation": [6]}
    assert not audit.random_observations
    with pytest.raises(ConfigurationError, match="needs observation_space"):
        rlleak.audit(modules.ActorCritic())
    with pytest.raises(ConfigurationError, match="did you mean 'peel'"):
        rlleak.audit(modules.ActorCritic(), (6,), attacks=["peal"])


@pytest.mark.parametrize(
    ("observations", "said"),
    [
        (torch.rand(2, 20, 20, 3), r"has shape \(2, 20, 20, 3\); expected \(2, 3, 20, 20\)"),
        (torch.rand(3, 20, 20), "shape"),
        (torch.full((2, 3, 20, 20), float("nan")), "holds NaN"),
        ({}, "there are no observations"),
        ({"left": torch.rand(2, 3, 20, 20), "right": torch.rand(2, 3, 20, 20)}, "has left, right and the network"),
        ({"left": torch.rand(2, 3, 20, 20), "right": torch.rand(3, 3, 20, 20)}, "there are 2 and 3 observations"),
        (torch.rand(0, 3, 20, 20), "at least one update"),
        (torch.rand(2, 3, 20, 20), r"go to \S+, and bytes were expected"),
        (torch.full((2, 3, 20, 20), 300.0), "go from 300 to 300, and 0 to 255 was assumed; give observation_space"),
    ],
    ids=lambda value: None,
)
def test_observations_that_the_network_does_not_take_are_refused_in_one_line(observations, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        rlleak.audit(modules.NatureLike(), (3, 20, 20), observations=observations, measured=False)
    assert "\n" not in str(caught.value)


def test_where_nobody_says_an_images_range_the_networks_own_scaling_does_and_the_audit_says_so() -> None:
    """Noise between 0 and 1 for a network that divides by 255 would be black, and any guess at it good."""
    network = modules.NatureLike()
    reading = read(network, (3, 20, 20))
    drawn = reading.inputs.random(2, torch.Generator().manual_seed(0), torch.zeros(1))
    assert float(reading.network_input(drawn)["image"].max()) > 0.99
    assert "goes from 0 to 255" in str(rlleak.audit(network, (3, 20, 20), measured=False))
    said = rlleak.audit(network, Box(0, 255, (3, 20, 20), dtype=np.uint8), measured=False).assumptions
    assert said == ()
    own = torch.randint(0, 256, (2, 3, 20, 20))
    with pytest.raises(ConfigurationError, match="and their space from 0 to 1"):
        rlleak.audit(network, Box(0, 1, (3, 20, 20)), observations=own, measured=False)


def test_settings_of_an_audit_reach_its_attacks_and_others_are_refused() -> None:
    def quality(settings: dict) -> float:
        audit = rlleak.audit(wide(), (1, 10, 10), attacks=["qgi"], updates=1, loss="dqn", settings=settings)
        return {row.component: row.median for row in audit.measurements}["image"]

    assert quality({"qgi": {"iterations": 60}}) > quality({"qgi": {"iterations": 1}})
    for settings, said in (
        ({"peel": {"iterations": 2}}, "'peel'; there is: qgi"),
        ({"iterations": 2}, "'iterations'; there is: qgi"),
        ({"qgi": {"iteration": 2}}, "did you mean 'iterations'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            quality(settings)


def test_updates_over_a_batch_are_told_apart_and_claims_compared() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))
    audit = rlleak.audit(network, (12,), batch_size=2, updates=3)
    found = {row.component: row for row in audit.measurements}
    assert found["claims true"].median == 1
    assert found["samples found"].median == 1
    assert "the features of 100% of a batch's samples" in audit.summary[-1]
    refused = rlleak.audit(network, (12,), batch_size=2, attacks=["closed_form"]).measurements[0]
    assert "one" in refused.note


def test_without_biases_a_linear_layer_gives_a_direction() -> None:
    audit = rlleak.audit(wide(bias=False), (1, 10, 10), attacks=["closed_form"])
    assert levels(audit)["hidden.0"] == DIRECTION
    assert "up to a factor" in audit.summary[0]
    assert all(row.flagged == 1 for row in audit.measurements)


def test_fewer_equations_than_unknowns_need_a_prior_and_the_layer_is_named() -> None:
    audit = rlleak.audit(modules.NatureLike(), (3, 20, 20), measured=False)
    assert levels(audit)["convolutions.0"] == PRIOR
    assert "'network.0'" in audit.summary[0]
    (first,) = (layer for layer in audit.layers if layer.role == "convolutions.0")
    assert first.with_batch < first.ratio
    assert first.with_stride < first.ratio


def test_actor_and_critic_of_their_own_are_audited_each() -> None:
    audit = rlleak.audit(modules.CleanRLAgent(), (6,), loss="ppo")
    assert [branch.name for branch in audit.branches] == ["policy", "value"]
    assert {row.branch for row in audit.measurements} == {"policy", "value"}
    assert all(row.worst < 1e-3 for row in audit.measurements if row.component == "vector")


def test_advantages_are_normalised_over_an_update_and_not_over_the_audit() -> None:
    audit = rlleak.audit(modules.ActorCritic(), (6,), loss="ppo", normalise_advantage=True, updates=4)
    found = {row.component: row for row in audit.measurements}
    assert found["reward"].worst < 1e-3


def test_a_clipped_update_is_flagged_and_its_observation_leaks_all_the_same() -> None:
    audit = rlleak.audit(modules.ActorCritic(), (6,), clip_norm=1e-3, attacks=["closed_form"])
    found = {row.component: row for row in audit.measurements}
    assert found["vector"].worst < 1e-4
    assert "hidden" in found["target"].note
    assert found["vector"].flagged == 1


def test_a_target_that_hubers_error_hides_is_no_wrong_one() -> None:
    network = modules.q_network()
    batch = {"obs": torch.rand(2, 6), "action": torch.tensor([1, 2]), "target": torch.tensor([0.5, 50.0])}
    audit = rlleak.audit(network, batch=batch, error="huber", attacks=["closed_form"])
    hidden, measured = (row for row in audit.measurements if row.component == "target")
    assert "hidden in 1 of 2 updates" in hidden.note
    assert measured.worst < 1e-3


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        ({}, None),
        ({"form": "step"}, None),
        ({"clip_norm": 1.0}, "how large the outputs' errors were stays hidden"),
        ({"precision": "float16"}, "they leave in float16:"),
        ({"form": "weight_difference"}, "they leave as a difference of rounded weights:"),
        ({"form": "step", "optimiser": "RMSprop"}, "they leave as the first step of RMSprop:"),
    ],
    ids=lambda value: None,
)
def test_the_summary_says_what_happens_to_a_gradient_underway(wire: dict, said: str | None) -> None:
    summary = rlleak.audit(modules.ActorCritic(), (6,), measured=False, **wire).summary
    assert len(summary) == 1 + (said is not None)
    assert said is None or said in summary[1]


@pytest.mark.parametrize("few", [{"updates": 0}, {"updates": -1}, {"batch_size": -1}])
def test_no_update_to_make_is_refused(few: dict) -> None:
    with pytest.raises(ConfigurationError, match="at least one update"):
        rlleak.audit(modules.ActorCritic(), (6,), **few)


def test_an_attack_that_refuses_says_why_in_the_table() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(256, 3))
    audit = rlleak.audit(network, (1, 10, 10))
    (refused,) = (row for row in audit.measurements if row.attack == "peel")
    assert "tanh" in refused.note
    assert "tanh" in str(audit)


def test_an_audit_prints_and_saves_json_and_html_that_say_the_same(tmp_path: Path) -> None:
    audit = rlleak.audit(wide(), (1, 10, 10), title="<b>mine</b>", attacks=["closed_form"])
    told, page = audit.save(tmp_path / "audit")
    content = json.loads(told.read_text())
    assert [layer["name"] for layer in content["branches"][0]["layers"]] == ["5", "3", "0"]
    assert content["branches"][0]["layers"][2]["equations_per_unknown"] == audit.layers[2].ratio
    html = page.read_text()
    assert "&lt;b&gt;mine" in html
    assert "<b>mine" not in html
    assert "src=" not in html
    assert "href=" not in html
    for text in (str(audit), html):
        assert f"{audit.layers[2].ratio:.2f}" in text
        assert "closed_form" in text
    assert audit._repr_html_() == audit.as_html()


def test_the_command_prints_a_table_and_saves_the_audit(tmp_path: Path, capsys, monkeypatch) -> None:
    torch.save(modules.CleanRLAgent().state_dict(), tmp_path / "ppo.cleanrl_model")
    given_ = [str(tmp_path / "ppo.cleanrl_model"), "--observation", "6", "--out", str(tmp_path / "audit")]
    assert main(given_) == 0
    assert (tmp_path / "audit" / "audit.html").exists()
    printed = capsys.readouterr().out
    assert "Counted: policy" in printed
    # Whole in a terminal of 80 columns; without columns that are about convolutions alone.
    assert "actor.2" in printed
    assert "stride" not in printed
    assert main(["modules:CleanRLAgent", "--observation", "6", "--attacks", "none"]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "absent.zip"), "--observation", "6"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert main(["modules:Nobody", "--observation", "6"]) == 1
    for wrong in (["--observation=-6"], ["--observation", "six"], ["--observation", "6", "--device", "gpu"]):
        assert main(["modules:CleanRLAgent", *wrong]) == 1
    (tmp_path / "file").touch()
    assert (
        main(["modules:CleanRLAgent", "--observation", "6", "--attacks", "none", "--out", str(tmp_path / "file")]) == 1
    )
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("error: ") == 5
