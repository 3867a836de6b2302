"""Sharing: the server's file and the private file are two, each is read as written, and a broken one is refused."""

from pathlib import Path

import attack_cases
import numpy as np
import pytest
import torch
from safetensors import safe_open

from rlleak.artefacts import write_tensors
from rlleak.errors import CorruptArtefactError
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.reinforce import ReinforceLoss
from rlleak.sharing.private import PrivateSide, withhold
from rlleak.sharing.update import SharedUpdate, capture


def test_a_captured_gradient_is_that_of_its_own_transitions_alone() -> None:
    network, batch, update = attack_cases.victims(3)
    loss = DQNLoss()
    alone = torch.autograd.grad(loss(network(batch.select(1).observation), batch.select(1)), list(network.parameters()))
    for (name, _), gradient in zip(network.named_parameters(), alone, strict=True):
        assert torch.equal(update.gradients[name][1], gradient)
    pair = capture(network, loss, batch.select(slice(0, 2)), batch_size=2)
    assert len(pair) == 1
    mean = {name: value[:2].mean(dim=0) for name, value in update.gradients.items()}
    for name, gradient in pair.gradients.items():
        torch.testing.assert_close(gradient[0], mean[name])


def test_a_shared_update_is_read_as_it_was_written_and_can_be_cut(tmp_path: Path) -> None:
    _, _, update = attack_cases.victims(3)
    update.save(tmp_path / "shared.safetensors")
    read = SharedUpdate.load(tmp_path / "shared.safetensors")
    assert read.architecture == update.architecture
    assert dict(read.loss) == {
        "kind": "dqn",
        "gamma": 0.99,
        "error": "squared",
        "double": False,
        "residual": False,
    }
    for name, gradient in update.gradients.items():
        assert torch.equal(read.gradients[name], gradient)
    assert len(read.select(slice(1, 3))) == 2


def test_the_shared_file_says_nothing_of_the_victims(tmp_path: Path) -> None:
    _, _, update = attack_cases.victims(2)
    update.save(tmp_path / "shared.safetensors")
    with safe_open(str(tmp_path / "shared.safetensors"), framework="pt") as handle:
        groups = {key.partition("/")[0] for key in handle.keys()}  # noqa: SIM118
        words = handle.metadata()["description"]
    assert groups == {"parameter", "gradient"}
    for secret in ("seed", "layout", "victim", "action", "reward"):
        assert secret not in words


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "file not fully covered"),
        ("shape", r"'head\.bias' has shape \(2, 3\), its architecture says \(2, 7\)"),
        ("missing", r"\['head\.bias'\] do not fit"),
        ("nan", r"'head\.bias' holds NaN or Inf"),
        ("other kind", "no shared update but reconstruction"),
    ],
    ids=["truncated", "shape", "missing", "nan", "other kind"],
)
def test_a_shared_file_that_is_not_whole_is_refused_in_one_line(kind: str, said: str, tmp_path: Path) -> None:
    _, _, update = attack_cases.victims(2)
    path = tmp_path / "shared.safetensors"
    if kind == "shape":
        update.gradients["head.bias"] = update.gradients["head.bias"][:, :3]
    elif kind == "missing":
        del update.gradients["head.bias"]
    elif kind == "nan":
        update.gradients["head.bias"][0, 0] = float("inf")
    update.save(path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "other kind":
        write_tensors(path, "reconstruction", {"a": torch.zeros(1)}, {})
    with pytest.raises(CorruptArtefactError, match=said) as caught:
        SharedUpdate.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("learner", ["dqn", "reinforce"])
def test_the_private_side_is_read_as_it_was_written(learner: str, tmp_path: Path) -> None:
    network, batch, _ = attack_cases.victims(2, learner)
    loss = DQNLoss() if learner == "dqn" else ReinforceLoss()
    private = withhold(network, loss, batch, np.array([5, 430]), np.array([0, 3]), depth_limit=8.0)
    private.save(tmp_path / "private.safetensors")
    read = PrivateSide.load(tmp_path / "private.safetensors")
    assert read.layout.tolist() == [5, 430]
    assert read.depth_limit == 8.0
    assert torch.equal(read.image, batch.observation["image"])
    assert torch.equal(read.victim, torch.tensor([0, 3]))
    if learner == "dqn":
        assert read.reward is None
        assert torch.equal(read.target_q, batch.target)
    else:
        assert read.target_q is None
        torch.testing.assert_close(read.probabilities.sum(dim=1), torch.ones(2))


def test_a_file_that_is_no_private_side_is_refused(tmp_path: Path) -> None:
    _, _, update = attack_cases.victims(2)
    update.save(tmp_path / "shared.safetensors")
    with pytest.raises(CorruptArtefactError, match="holds no private side but shared update"):
        PrivateSide.load(tmp_path / "shared.safetensors")
    write_tensors(tmp_path / "odd.safetensors", "private side", {"vector": torch.zeros(2, 4)}, {"depth_limit": 1})
    with pytest.raises(CorruptArtefactError, match="does not hold a private side"):
        PrivateSide.load(tmp_path / "odd.safetensors")
