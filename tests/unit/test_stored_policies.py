"""Saved policies are read and not run, and a file that is none is refused in one line."""

import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import modules
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import rlleak
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.reading import read
from rlleak.learners.stored import load_policy


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


class EncoderAndHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(6, 16), *(nn.Linear(16, 16) for _ in range(5))]
        self.encoder = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, seen: Tensor) -> Tensor:
        return self.head(self.encoder(seen))


def test_layers_act_in_the_files_order_and_by_number(tmp_path: Path) -> None:
    """Safetensors name 'encoder.10' before 'encoder.2', and both parts of the network have a layer '0'."""
    network, seen = EncoderAndHead(), torch.rand(2, 6)
    torch.save({"epoch": 3, "model_state_dict": network.state_dict(), "best": {}}, tmp_path / "checkpoint.pt")
    torch.save({f"_orig_mod.{name}": value for name, value in network.state_dict().items()}, tmp_path / "compiled.pt")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    for path in sorted(tmp_path.iterdir()):
        stored = load_policy(path, (6,))
        assert torch.equal(stored.network(seen), network(seen)), path.name
        assert any("in the order encoder.0, encoder.2, " in assumption for assumption in stored.assumptions)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("actor.mu.0", "critic.qf0.0"), "takes actions too"),
        (("quantile_net.quantile_net.0", "quantile_net_target.quantile_net.0"), "distributions over values"),
        (("features_extractor.0", "vf_features_extractor.0", "action_net", "value_net"), "critic's own extractor"),
    ],
    ids=lambda value: None,
)
def test_saved_policies_that_are_no_known_chain_are_refused_by_what_they_are(names, said, tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for name in names:
        dense(tensors, name, 6, 6)
    torch.save(tensors, tmp_path / "policy.pt")
    with pytest.raises(ConfigurationError, match=said):
        load_policy(tmp_path / "policy.pt", (6,))


class Trap:
    """What a malicious checkpoint holds."""

    def __reduce__(self):
        return (Path.touch, (Path(self.where),))


@pytest.mark.filterwarnings("error:Detected pickle protocol")
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
    pickle.loads(pickle.dumps(trap))  # the test's own bytes, to see that what was refused would have sprung
    assert (tmp_path / "sprung").exists(), "the trap is none"


@pytest.mark.parametrize("content", [b"", b"not a policy", b"PK\x03\x04broken"])
def test_a_file_that_is_no_policy_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    for name in ("policy.zip", "policy.pt", "policy.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptArtefactError) as caught:
            load_policy(tmp_path / name, (3,))
        assert "\n" not in str(caught.value)
    with pytest.raises(CorruptArtefactError):
        load_policy(tmp_path / "absent.zip", (3,))
