"""Priors over images: total variation without data, and a denoiser learnt on public views."""

import dataclasses
import importlib.util
import math
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.priors.denoiser import DenoiserNetwork, LearntPrior
from rlleak.priors.learning import BATCH, learn
from rlleak.priors.variation import TotalVariation, adjoint, gradient
from rlleak.simulators.experience import Experience
from rlleak.simulators.layouts import detector_layouts
from rlleak.simulators.views import Views

torch.set_num_threads(1)
SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"


def stripes(count: int, channels: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    """Images (count, channels, side, side) of two colours that meet along a straight line."""
    generator = torch.Generator().manual_seed(seed)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angle = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    side_of = (row - side / 2) * angle.sin() + (column - side / 2) * angle.cos() > 0
    colours = torch.rand(2, count, channels, 1, 1, generator=generator)
    return torch.where(side_of[:, None], colours[0], colours[1])


def mean_square(image: Tensor, truth: Tensor) -> float:
    return float((image - truth).square().mean())


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 100))
def test_the_adjoint_of_the_gradient_is_its_transpose(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)
    field = torch.randn(2, 2, 3, height, width, generator=generator, dtype=torch.float64)
    assert torch.allclose((gradient(image) * field).sum(), (image * adjoint(field)).sum())


def test_total_variations_step_is_its_proximal_point() -> None:
    noisy = stripes(2) + 0.1 * torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    deviation = torch.tensor([0.05, 0.2])

    def objective(image: Tensor) -> Tensor:
        length = gradient(image).square().sum(dim=(1, 2)).sqrt().sum(dim=(1, 2))
        return 0.5 * (image - noisy).square().flatten(1).sum(dim=1) + deviation * length

    found = TotalVariation(steps=400)(noisy, deviation)
    generator = torch.Generator().manual_seed(1)
    others = [found + 0.003 * torch.randn(found.shape, generator=generator) for _ in range(5)]
    others += [stripes(2), noisy, 0.99 * found + 0.01 * noisy]
    assert all((objective(found) <= objective(other) + 1e-4).all() for other in others)


def test_total_variation_removes_noise_and_leaves_flat_images() -> None:
    clean = stripes(3)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    prior, deviation = TotalVariation(), torch.full((3,), 0.1)
    assert mean_square(prior(noisy, deviation), clean) < 0.2 * mean_square(noisy, clean)
    prior.reset()
    flat = torch.full((3, 2, 32, 32), 0.3)
    assert torch.allclose(prior(flat, deviation), flat)


def test_total_variation_goes_on_where_it_ended() -> None:
    noisy = stripes(2) + 0.1 * torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    deviation = torch.full((2,), 0.1)
    exact = TotalVariation(steps=600)(noisy, deviation)
    prior = TotalVariation(steps=10)
    first = mean_square(prior(noisy, deviation), exact)
    assert mean_square(prior(noisy, deviation), exact) < 0.5 * first


def test_a_few_steps_of_learning_beat_doing_nothing_on_images_not_seen() -> None:
    told: list[tuple[int, int]] = []
    prior = learn(
        stripes(64),
        stripes(16, seed=1),
        iterations=300,
        seed=3,
        widths=(16,),
        progress=lambda done, total, loss: told.append((done, total)),
    )
    assert told[-1] == (300, 300)
    for level, measured in prior.description["held_out"].items():
        assert measured["noisy"] == pytest.approx(-20 * math.log10(float(level)), abs=1.5)
    assert prior.description["held_out"]["0.1"]["learnt"] > prior.description["held_out"]["0.1"]["noisy"] + 1
    clean = stripes(4, seed=9)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert mean_square(prior(noisy, torch.full((4,), 0.1)), clean) < 0.8 * mean_square(noisy, clean)


def test_learning_depends_on_its_seed_and_not_on_what_it_is_measured_on() -> None:
    size = {"iterations": 3, "widths": (8, 8), "blocks": 1}
    learnt = [
        learn(stripes(16), stripes(2, seed=held_out), seed=seed, **size) for held_out, seed in ((1, 0), (2, 0), (1, 1))
    ]
    one, measured_elsewhere, other_seed = (prior.network.state_dict() for prior in learnt)
    assert all(torch.equal(one[name], measured_elsewhere[name]) for name in one)
    assert not all(torch.equal(one[name], other_seed[name]) for name in one)
    assert learnt[0].description["held_out"] != learnt[1].description["held_out"]


@pytest.mark.parametrize("side", [(16, 16), (17, 30), (150, 150)])
def test_a_denoiser_takes_any_size_and_scales_with_its_input(side: tuple[int, int]) -> None:
    network = DenoiserNetwork(3, (8, 12), 1)
    image = torch.rand(2, 3, *side)
    deviation = torch.tensor([0.1, 0.02])
    with torch.no_grad():
        cleaned, doubled = network(image, deviation), network(2 * image, 2 * deviation)
        assert cleaned.shape == image.shape
        assert torch.allclose(doubled, 2 * cleaned, atol=1e-5)
        alone = network(image[1:], deviation[1:])
    assert torch.allclose(alone, cleaned[1:], atol=1e-5)


def a_prior(channels: int = 2) -> LearntPrior:
    return LearntPrior(DenoiserNetwork(channels, (8, 12), 1), {"channels": channels, "widths": [8, 12], "blocks": 1})


def test_a_prior_is_the_same_after_its_file(tmp_path: Path) -> None:
    prior, image, deviation = a_prior(), torch.rand(2, 2, 20, 20), torch.tensor([0.1, 0.2])
    prior.save(tmp_path / "prior.safetensors")
    again = LearntPrior.load(tmp_path / "prior.safetensors")
    assert torch.equal(again(image, deviation), prior(image, deviation))
    assert again.description == prior.description


def test_a_priors_answer_has_the_type_it_was_asked_in() -> None:
    image = torch.rand(1, 2, 20, 20, dtype=torch.float64)
    assert a_prior()(image, torch.tensor([0.1], dtype=torch.float64)).dtype == torch.float64


def test_files_that_are_no_prior_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "prior.safetensors"
    a_prior().save(file)
    tensors, description = read_tensors(file, "image prior")
    description.pop("kind", None)
    missing = {name: tensor for name, tensor in tensors.items() if name != "tail.weight"}
    broken = [(missing, description), (tensors, {"channels": 2}), (tensors, description | {"widths": [8, 16]})]
    for parts, described in broken:
        write_tensors(file, "image prior", parts, described)
        with pytest.raises(CorruptArtefactError, match="no whole prior") as caught:
            LearntPrior.load(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(CorruptArtefactError, match="does not exist"):
        LearntPrior.load(tmp_path / "absent.safetensors")


def test_a_prior_for_other_channels_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 channels and these have 4"):
        a_prior(2)(torch.rand(1, 4, 20, 20), torch.tensor([0.1]))


@pytest.mark.parametrize(
    ("images", "held_out", "said"),
    [
        (stripes(BATCH - 1), stripes(2), "at least"),
        (stripes(BATCH), stripes(2)[:0], "at least"),
        (stripes(BATCH), stripes(2, channels=3), "same channels"),
        (stripes(BATCH, side=8), stripes(2, side=8), "16 x 16"),
    ],
)
def test_too_little_to_learn_from_is_said(images: Tensor, held_out: Tensor, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        learn(images, held_out, iterations=1, seed=0)


def views(per_layout: int) -> Views:
    """Views of one layout to learn from and one held out, for each room type."""
    training, held_out = detector_layouts("rooms", 4, 4)
    layout = np.repeat(np.array([*training, *held_out]), per_layout)
    rng = np.random.default_rng(0)
    return Views(
        rgb=rng.integers(0, 256, (len(layout), 32, 32, 3)).astype(np.uint8),
        depth=rng.uniform(0, 20, (len(layout), 32, 32)).astype(np.float32),
        layout=layout.astype(np.int64),
        boxes=np.zeros((0, 4), np.float32),
        view=np.zeros(0, np.int64),
        kind=np.zeros(0, np.int64),
        pixels=np.zeros(0, np.int64),
        types=("Mug",),
    )


def script() -> types.ModuleType:
    specification = importlib.util.spec_from_file_location("learn_prior", SCRIPTS / "learn_prior.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("setting", "channels"), [("S1", 4), ("S2", 1)])
def test_the_script_learns_from_some_layouts_and_measures_on_others(
    tmp_path: Path, setting: str, channels: int, capsys: pytest.CaptureFixture
) -> None:
    seen = views(per_layout=3)
    seen.save(tmp_path / "views.safetensors")
    file = tmp_path / f"prior.{setting}.safetensors"
    arguments = {"simulator": "rooms", "setting": setting, "depth_limit": 10.0, "iterations": 2, "seed": 1}
    script().main(tmp_path / "views.safetensors", file, {"seed": 1}, **arguments)
    prior = LearntPrior.load(file)
    assert prior.channels == channels
    # Four layouts to learn from and four held out for the detector, of which one is held out here too.
    assert prior.description["images"] == 7 * 3
    assert prior.description["provenance"] == {"seed": 1}
    assert "noise of 0.1: noisy" in capsys.readouterr().out


def test_no_layout_is_both_learnt_from_and_measured_on() -> None:
    seen = views(per_layout=2)
    # Each layout's depth is its number.
    seen = dataclasses.replace(seen, depth=np.zeros_like(seen.depth) + seen.layout[:, None, None])
    parts = script().both_parts(seen, "rooms", "S2", 1000.0)
    learnt, measured = (set((1000 * part[:, 0, 0, 0]).round().int().tolist()) for part in parts)
    assert not learnt & measured
    assert learnt | measured == set(seen.layout.tolist())
    assert measured <= set(detector_layouts("rooms")[1])


def test_views_are_read_as_a_policy_network_reads_them() -> None:
    seen = views(per_layout=1)
    for setting in ("S1", "S2"):
        images = seen.images(setting, 10.0)
        # The environment's own reading of the same pixels.
        stand_in = types.SimpleNamespace(rgb=seen.rgb, depth=seen.depth, box=np.zeros((len(seen), 4), np.float32))
        assert torch.equal(images, Experience.observations(stand_in, setting, 10.0)["image"])
    with pytest.raises(ConfigurationError, match="unknown setting"):
        seen.images("S9", 10.0)
