"""The functions of the workflow's scripts, which need no workflow."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.configuration.attacks import AttackSettings
from rlleak.learners.specification import NetworkSpec
from rlleak.registry import Method
from rlleak.sharing.update import SharedUpdate, capture
from rlleak.sharing.victims import Training, prepare_training
from rlleak.simulators.experience import Experience

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow/scripts"
ARCHITECTURE = {
    "image_shape": [1, 20, 20],
    "vector_size": 4,
    "convolutions": [{"channels": 3, "kernel": 5, "stride": 3}],
    "vector_width": 5,
    "hidden": [8],
    "outputs": 7,
}
CONSTANTS = {"dqn": {"gamma": 0.9}, "reinforce": {"gamma": 0.9, "entropy_weight": 0.01}}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def experience(victims: int = 3, side: int = 20) -> Experience:
    rng = np.random.default_rng(0)
    views = {
        "rgb": rng.integers(0, 256, (victims, side, side, 3), dtype=np.uint8),
        "depth": rng.uniform(0.5, 12, (victims, side, side)).astype(np.float32),
        "box": np.tile(np.array([-0.5, -0.5, 0.5, 0.5], np.float32), (victims, 1)),
    }
    following = {f"next_{name}": value[::-1].copy() for name, value in views.items()}
    return Experience(
        **views,
        **following,
        action=np.arange(victims, dtype=np.int64),
        reward=np.full(victims, 0.5, np.float32),
        return_to_go=np.full(victims, 2.0, np.float32),
        terminated=np.array([False] * (victims - 1) + [True]),
        layout=np.full(victims, 1, np.int64),
        target=np.zeros(victims, np.int64),
        victim=np.arange(victims, dtype=np.int64),
        targets=("Mug",),
    )


def training(learner: str) -> Training:
    return prepare_training(
        experience(),
        learner=learner,
        setting="S2",
        architecture=ARCHITECTURE,
        constants=CONSTANTS[learner],
        network_seed=3,
        depth_limit=10.0,
    )


def test_dqn_learns_from_one_step_and_its_target_is_the_networks_own() -> None:
    network, loss, batch = training("dqn")
    following = network(batch.next_observation).amax(dim=1).detach()
    following[-1] = 0  # terminated
    torch.testing.assert_close(batch.target, 0.5 + loss.gamma * following)


def test_reinforce_weighs_its_action_with_the_return() -> None:
    assert training("reinforce").batch.reward.tolist() == [2.0, 2.0, 2.0]


def test_learners_share_one_initialised_network() -> None:
    for one, other in zip(*(training(name).network.parameters() for name in CONSTANTS), strict=True):
        assert torch.equal(one, other)


def test_what_is_shared_holds_no_seed_no_layout_and_no_observation(tmp_path: Path) -> None:
    path = tmp_path / "shared.safetensors"
    script("share").main(training("dqn"), [0, 1, 2], path, 1, {"method": "none"}, 0)
    tensors, description = read_tensors(path, "shared update")
    assert all(name.startswith(("parameter/", "gradient/")) for name in tensors)
    text = json.dumps(description)
    assert not any(word in text for word in ("seed", "layout", "victim", "room"))
    assert len(SharedUpdate.load(path)) == 3


def test_what_is_withheld_is_the_truth_about_what_is_shared(tmp_path: Path) -> None:
    prepared, path = training("dqn"), tmp_path / "private.safetensors"
    script("withhold").main(prepared, experience(), 10.0, path)
    private = read_tensors(path, "private side")[0]
    error = private["predicted_q"] - private["target_q"]
    shared = capture(*prepared).gradients["head.bias"]
    torch.testing.assert_close(shared.gather(1, private["action"][:, None])[:, 0], 2 * error)


def test_an_attack_gets_public_knowledge_only_if_it_declares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, seen = script("invert"), {}

    class Attacks:
        def load(self, name: str):
            def attack(shared, settings, *, seed, knowledge):
                seen[name] = {"seed": seed, **knowledge}

            return attack

    monkeypatch.setattr(module, "ATTACKS", Attacks())
    methods = {"blind": Method("", ()), "informed": Method("", (), knows=("public",))}
    monkeypatch.setattr(module, "METHODS", methods)
    public = tmp_path / "public.safetensors"
    write_tensors(public, "public rooms", {"image": torch.ones(1)}, {})
    for name in ("blind", "informed"):
        module.invert(None, AttackSettings(method=name), {"public": public}, seed=1)
    assert "public" not in seen["blind"]
    assert seen["informed"]["public"]["image"].tolist() == [1.0]


def test_scores_that_are_not_numbers_become_null() -> None:
    assert script("train_detector").without_nan({"AP50": {"Mug": float("nan"), "Bed": 0.5}}) == {
        "AP50": {"Mug": None, "Bed": 0.5}
    }


def test_the_architecture_of_the_scripts_is_valid() -> None:
    assert NetworkSpec.model_validate(ARCHITECTURE).linear_inputs == 3 * 6 * 6 + 5


def test_scripts_of_many_small_jobs_start_without_what_few_of_them_need() -> None:
    """Each import is paid for once per job, by hundreds of jobs."""
    program = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
import invert, share, withhold
from rlleak.metrics import METRICS, TRANSITION_METRICS
print(*[name for name in ("pandas", "pyarrow") if name in sys.modules])
import score, score_transitions
loaded = [registry.load(name) for registry in (METRICS, TRANSITION_METRICS) for name in registry]
print(*[name for name in ("scipy", "skimage", "sklearn", "rich") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", ""]
