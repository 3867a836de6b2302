"""The scripts that learn a prior of transitions and score what attacks make of them, without a workflow."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_scripts import script
from transition_worlds import hopper_transitions
from true_transitions import PLACE, private_side, reconstruction_of

from rlleak.attacks.transitions.reconstruction import save_all
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.errors import CorruptArtefactError
from rlleak.priors.transition_prior import TransitionPrior, nothing_known
from rlleak.simulators.environments import collect
from rlleak.simulators.transitions import Transitions

torch.set_num_threads(1)


def learn(folder: Path, own: Transitions, amount: str) -> TransitionPrior:
    own.save(folder / "experience.safetensors")
    paths = folder / "experience.safetensors", folder / "prior.safetensors"
    script("learn_transition_prior").main(*paths, {"seed": 3}, setting="Hopper", amount=amount, epochs=1, seed=0)
    return TransitionPrior.load(paths[1])


def test_a_prior_is_learnt_from_a_file_and_its_log_says_how_good_f_is(tmp_path: Path, capsys) -> None:
    prior = learn(tmp_path, hopper_transitions(300), "300")
    assert prior.learnt
    assert prior.metadata["provenance"] == {"seed": 3}
    assert "Hopper, 300: f foretells transitions not seen (error" in capsys.readouterr().out


def test_a_model_that_did_not_learn_is_said_in_one_line(tmp_path: Path, capsys) -> None:
    still = hopper_transitions(100)
    still.next_observation["vector"][:] = still.observation["vector"]
    assert not learn(tmp_path, still, "100").learnt
    assert "f is no better than no change" in capsys.readouterr().out.splitlines()[-1]
    assert not learn(tmp_path, still, "none").learnt


def test_scores_of_a_file_hold_the_simulators_word_on_what_is_possible(tmp_path: Path) -> None:
    lived = collect("Hopper", [0, 1, 2], 1, 0, gamma=0.99)
    private = replace(
        private_side("Hopper", batch=1),
        vector=torch.from_numpy(lived.observation["vector"]),
        next_vector=torch.from_numpy(lived.next_observation["vector"]),
        continuous_action=torch.from_numpy(lived.action),
        reward=torch.from_numpy(lived.reward),
    )
    true, impossible = (reconstruction_of(private, "Hopper", 1) for _ in range(2))
    impossible.next_state.add_(1.0)
    save_all(tmp_path / "found.safetensors", {"rgia": true, "gia": impossible})
    private.save(tmp_path / "private.safetensors")
    nothing_known("Hopper").save(tmp_path / "units.safetensors")
    # The attacker has met the first victim's transition, and another.
    collect("Hopper", [0, 7], 1, 0, gamma=0.99).save(tmp_path / "public.safetensors")
    paths = [tmp_path / f"{name}.safetensors" for name in ("found", "private", "units", "public")]
    axes = PLACE | {"setting": "Hopper", "batch": 1}
    limits = TransitionThresholds().model_dump()
    table = script("score_transitions").score_files(*paths, axes, 3, limits)
    means = table.groupby(["attack", "metric"])["value"].mean()
    assert means["rgia", "te"] < 1e-3
    assert means["gia", "te"] == pytest.approx(1, abs=1e-2)
    assert means["rgia", "mse"] == 0
    assert table[table["metric"] == "in_prior"]["value"].tolist() == [1, 0, 0] * 2
    with pytest.raises(CorruptArtefactError, match="holds 3 transitions, not 4"):
        script("score_transitions").score_files(*paths, axes, 4, limits)
