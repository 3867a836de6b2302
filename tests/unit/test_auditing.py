"""Audits: counts are those of brute force, verdicts come true when measured, saved policies are read and not run."""

import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import modules
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rlleak
from rlleak.auditing.__main__ import main
from rlleak.auditing.counting import DIRECTION, EXACT, LIKELY, PRIOR, active_shares, count
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.networks import load_network
from rlleak.learners.reading import read
from rlleak.learners.stored import load_policy


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
    assert layer.gradient_equations == first.weight.numel()
    assert layer.forward_equations == int((output > 0).sum())


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
    assert audit.observations == {"observation": [6]}
    assert not audit.random_observations
    with pytest.raises(ConfigurationError, match="needs observation_space"):
        rlleak.audit(modules.ActorCritic())
    with pytest.raises(ConfigurationError, match="did you mean 'peel'"):
        rlleak.audit(modules.ActorCritic(), (6,), attacks=["peal"])


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


def test_no_update_to_make_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one update"):
        rlleak.audit(modules.ActorCritic(), (6,), updates=0)


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


def nature_tensors(prefix: str, actions: int = 6) -> dict[str, Tensor]:
    shapes = {"cnn.0": (32, 4, 8, 8), "cnn.2": (64, 32, 4, 4), "cnn.4": (64, 64, 3, 3), "linear.0": (16, 64)}
    made = {}
    for name, shape in shapes.items():
        made[f"{prefix}{name}.weight"], made[f"{prefix}{name}.bias"] = (
            torch.randn(shape) / 20,
            torch.randn(shape[0]) / 20,
        )
    return made


def dense(made: dict[str, Tensor], name: str, outputs: int, inputs: int) -> None:
    made[f"{name}.weight"], made[f"{name}.bias"] = torch.randn(outputs, inputs) / 4, torch.randn(outputs) / 4


def sb3_archive(path: Path, tensors: dict[str, Tensor]) -> Path:
    """An archive with the members and tensor names that stable-baselines3 2.9 writes; made by hand."""
    buffer = BytesIO()
    torch.save(tensors, buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": "gASVnot-to-be-read"}}))
        archive.writestr("policy.pth", buffer.getvalue())
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return path


# 36x36: what the convolutions of Mnih et al. 2015 bring down to one pixel.
SMALL_IMAGE = (4, 36, 36)


def test_a_stable_baselines3_dqn_is_read_from_its_tensors(tmp_path: Path) -> None:
    tensors = nature_tensors("q_net.features_extractor.") | nature_tensors("q_net_target.features_extractor.")
    dense(tensors, "q_net.q_net.0", 6, 16)
    dense(tensors, "q_net_target.q_net.0", 6, 16)
    stored = load_policy(sb3_archive(tmp_path / "dqn.zip", tensors), SMALL_IMAGE)
    spec = read(stored.network, stored.inputs).branches[0].spec
    assert [layer.stride for layer in spec.convolutions] == [4, 2, 1]
    assert (spec.hidden, spec.outputs, spec.activation) == ((16,), 6, "relu")
    assert any("strides 4, 2, 1" in assumption for assumption in stored.assumptions)
    image = torch.randint(0, 256, (2, *SMALL_IMAGE)).float()
    features = image / 255
    for name, stride in (("0", 4), ("2", 2), ("4", 1)):
        weight, bias = (tensors[f"q_net.features_extractor.cnn.{name}.{kind}"] for kind in ("weight", "bias"))
        features = torch.relu(nn.functional.conv2d(features, weight, bias, stride))
    for name in ("features_extractor.linear.0", "q_net.0"):
        features = nn.functional.linear(
            features.flatten(1), tensors[f"q_net.{name}.weight"], tensors[f"q_net.{name}.bias"]
        )
        features = torch.relu(features) if "linear" in name else features
    torch.testing.assert_close(stored.network(image).detach(), features, rtol=1e-4, atol=1e-5)


def test_a_stable_baselines3_ppo_keeps_actor_and_critic_apart_or_together(tmp_path: Path) -> None:
    apart: dict[str, Tensor] = {}
    for side in ("policy", "value"):
        dense(apart, f"mlp_extractor.{side}_net.0", 8, 5)
        dense(apart, f"mlp_extractor.{side}_net.2", 8, 8)
    dense(apart, "action_net", 3, 8)
    dense(apart, "value_net", 1, 8)
    audit = rlleak.audit(sb3_archive(tmp_path / "mlp.zip", apart), (5,))
    assert [branch.name for branch in audit.branches] == ["policy", "value"]
    assert audit.branches[0].activation == "tanh"
    together = nature_tensors("features_extractor.") | nature_tensors("pi_features_extractor.")
    dense(together, "action_net", 3, 16)
    dense(together, "value_net", 1, 16)
    stored = load_policy(sb3_archive(tmp_path / "cnn.zip", together), SMALL_IMAGE)
    assert read(stored.network, stored.inputs).branches[0].outputs == ("policy", "value")


def test_cleanrls_state_dicts_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    agent, network = modules.CleanRLAgent(), modules.NatureLike()
    torch.save(agent.state_dict(), tmp_path / "ppo.cleanrl_model")
    torch.save(network.state_dict(), tmp_path / "dqn.pt")
    stored = load_policy(tmp_path / "ppo.cleanrl_model", (6,))
    seen = torch.rand(3, 6)
    policy, value = stored.network(seen)
    assert torch.equal(policy, agent.actor(seen))
    assert torch.equal(value, agent.critic(seen))
    stored = load_policy(tmp_path / "dqn.pt", (3, 20, 20), strides=(2, 1))
    image = torch.randint(0, 256, (2, 3, 20, 20)).float()
    torch.testing.assert_close(stored.network(image), network(image))
    assert not any("strides" in assumption for assumption in stored.assumptions)


def test_strides_are_those_that_fit_the_sizes_and_are_asked_for_where_none_do(tmp_path: Path) -> None:
    torch.save(modules.NatureLike().state_dict(), tmp_path / "dqn.pt")
    stored = load_policy(tmp_path / "dqn.pt", (3, 60, 60))
    assert list(stored.network.strides.values()) == [4, 2]
    with pytest.raises(ConfigurationError, match="0 choices of strides"):
        load_policy(tmp_path / "dqn.pt", (3, 300, 300))
    with pytest.raises(ConfigurationError, match="reads 3 channels"):
        load_policy(tmp_path / "dqn.pt", (4, 20, 20))


class Trap:
    """What a malicious checkpoint holds."""

    def __reduce__(self):
        return (Path.touch, (Path(self.where),))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["pt", "zip"])
def test_nothing_in_a_policys_file_is_ever_run(kind: str, tmp_path: Path) -> None:
    trap = Trap()
    trap.where = str(tmp_path / "sprung")
    path = tmp_path / f"policy.{kind}"
    if kind == "pt":
        torch.save({"network.0.weight": torch.zeros(2, 3), "payload": trap}, path)
    else:
        sb3_archive(path, {"q_net.q_net.0.weight": torch.zeros(2, 3)})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data", pickle.dumps(trap))
            archive.writestr("policy.pth", pickle.dumps(trap))
    with pytest.raises(CorruptArtefactError) as caught:
        load_policy(path, (3,))
    assert not (tmp_path / "sprung").exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a policy", b"PK\x03\x04broken"])
def test_a_file_that_is_no_policy_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    for name in ("policy.zip", "policy.pt", "policy.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptArtefactError) as caught:
            load_policy(tmp_path / name, (3,))
        assert "\n" not in str(caught.value)
    with pytest.raises(CorruptArtefactError):
        load_policy(tmp_path / "absent.zip", (3,))


def test_the_command_prints_a_table_and_saves_the_audit(tmp_path: Path, capsys, monkeypatch) -> None:
    torch.save(modules.CleanRLAgent().state_dict(), tmp_path / "ppo.cleanrl_model")
    given_ = [str(tmp_path / "ppo.cleanrl_model"), "--observation", "6", "--out", str(tmp_path / "audit")]
    assert main(given_) == 0
    assert (tmp_path / "audit" / "audit.html").exists()
    assert "Counted: policy" in capsys.readouterr().out
    assert main(["modules:CleanRLAgent", "--observation", "6", "--attacks", "none"]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "absent.zip"), "--observation", "6"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert main(["modules:Nobody", "--observation", "6"]) == 1
    assert main(["modules:CleanRLAgent", "--observation", "six"]) == 1
