"""Defences: each does what it says to one victim's update, together they are a chain, and the server knows which."""

import math
from pathlib import Path

import attack_cases
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from modules import ActorCritic, NatureLike, TwoObservations, q_network, transitions
from safetensors import safe_open

import rlleak
from rlleak.configuration.defences import defence_settings
from rlleak.configuration.loading import load_study, read_yaml
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.sharing.defences import applied, defend, message_bytes
from rlleak.sharing.privacy import epsilon
from rlleak.sharing.sending import Client, Sent
from rlleak.sharing.update import SharedUpdate

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = {name: defence_settings(entry) for name, entry in read_yaml(CONFIG / "defences.yaml").items()}
few = hypothesis_settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def updates(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """A gradient of a few tensors of very different sizes, some of them 0."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    shapes = {"hidden.0.weight": (draw(st.integers(2, 9)), 37), "hidden.0.bias": (7,), "head.weight": (3, 7)}
    scale = draw(st.sampled_from((1e-4, 1.0, 30.0)))
    gradients = {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    gradients["head.weight"] *= draw(st.sampled_from((0.0, 1.0)))
    return gradients


def sent(gradients: dict[str, torch.Tensor], *steps: dict, seed: int = 0) -> Sent:
    return applied(Sent(gradients), Client(torch.Generator().manual_seed(seed)), defence_settings(list(steps)))


def flat(gradients) -> torch.Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


@few
@given(updates(), st.floats(0.01, 10.0))
def test_what_is_clipped_is_no_longer_than_the_norm_and_points_the_same_way(gradients, norm: float) -> None:
    before, after = flat(gradients), flat(sent(gradients, {"method": "clipping", "norm": norm}).gradients)
    assert float(after.norm()) <= norm * (1 + 1e-5)
    assert torch.equal(after, before) == bool(before.double().norm() <= norm)
    torch.testing.assert_close(after * before.norm(), before * after.norm(), rtol=1e-4, atol=1e-6)


@few
@given(updates(), st.floats(0.0, 60.0))
def test_a_signal_to_noise_ratio_is_a_relative_deviation(gradients, decibels: float) -> None:
    by_ratio = sent(gradients, {"method": "gaussian_noise", "snr_db": decibels})
    by_deviation = sent(gradients, {"method": "gaussian_noise", "relative_deviation": 10 ** (-decibels / 20)})
    assert torch.equal(flat(by_ratio.gradients), flat(by_deviation.gradients))
    noise = float((flat(by_ratio.gradients) - flat(gradients)).norm() / flat(gradients).norm())
    assert -20 * math.log10(noise) == pytest.approx(decibels, abs=2.5)


def test_a_variance_is_of_each_number_whatever_the_gradient() -> None:
    gradients = {"head.weight": torch.full((100, 100), 50.0)}
    noise = sent(gradients, {"method": "gaussian_noise", "variance": 0.01}).gradients["head.weight"] - 50
    assert float(noise.var()) == pytest.approx(0.01, rel=0.1)


@few
@given(updates(), st.sampled_from(("float16", "int8", "sign")))
def test_rounding_keeps_zeros_signs_and_no_more_than_its_levels(gradients, method: str) -> None:
    rounded = sent(gradients, {"method": method}).gradients
    for name, gradient in gradients.items():
        assert bool((rounded[name][gradient == 0] == 0).all())
        assert bool((rounded[name] * gradient >= 0).all())
        if method == "int8":
            assert float((rounded[name] - gradient).abs().max()) <= float(gradient.abs().max()) / 127 * 0.51
            assert len(rounded[name].unique()) <= 255
        if method == "sign":
            assert len(rounded[name].abs().unique()) <= 1 + int((gradient == 0).any())


def test_random_levels_are_right_on_average() -> None:
    gradient = {"head.weight": torch.linspace(-1, 1, 40).view(4, 10)}
    step = {"method": "qsgd", "levels": 4, "bucket": 16}
    mean = torch.stack([sent(gradient, step, seed=seed).gradients["head.weight"] for seed in range(3000)]).mean(dim=0)
    torch.testing.assert_close(mean, gradient["head.weight"], rtol=0, atol=0.04)
    length = gradient["head.weight"].flatten()[:16].norm()
    levels = sent(gradient, step).gradients["head.weight"].flatten()[:16] / length * 4
    torch.testing.assert_close(levels, levels.round())


@few
@given(updates(), st.floats(0.02, 1.0), st.sampled_from(("top_k", "random_k")))
def test_sparse_updates_are_exact_where_they_are_known_and_zero_elsewhere(gradients, share: float, method: str) -> None:
    sparse = sent(gradients, {"method": method, "share": share})
    before, after, known = flat(gradients), flat(sparse.gradients), flat(sparse.known)
    assert int(known.sum()) == max(1, round(share * len(before))) == sparse.numbers
    assert torch.equal(after, before * known)
    if method == "top_k" and not bool(known.all()):
        assert float(before[known].abs().min()) >= float(before[~known].abs().max())


@few
@given(updates())
def test_what_did_not_leave_stays_unsent_whatever_follows(gradients) -> None:
    follow = ({"method": "gaussian_noise", "variance": 1.0}, {"method": "int8"}, {"method": "sign"})
    for step in follow:
        chain = sent(gradients, {"method": "random_k", "share": 0.3}, step)
        assert not bool(flat(chain.gradients)[~flat(chain.known)].any())
    twice = sent(gradients, {"method": "random_k", "share": 0.5}, {"method": "top_k", "share": 0.5})
    once = sent(gradients, {"method": "random_k", "share": 0.5})
    assert bool((flat(once.known) | ~flat(twice.known)).all())


@pytest.mark.parametrize(
    ("parts", "gone"),
    [
        (["biases"], lambda name: name.endswith("bias")),
        (["first_layer"], lambda name: name.startswith(("convolutions.0", "vector"))),
        (["body"], lambda name: not name.startswith("head")),
        (["biases", "body"], lambda name: name != "head.weight"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_what_is_withheld_is_gone_and_the_server_knows_it(parts: list[str], gone) -> None:
    _, _, update = attack_cases.victims(2)
    shared = defend(update, {"method": "withheld", "parts": parts}, 0, [0, 1])
    for name in update.gradients:
        assert shared.lacks(name) == gone(name)
        assert torch.equal(shared.gradients[name], update.gradients[name] * (not gone(name)))


def test_withholding_everything_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="leaves nothing"):
        applied(
            Sent({"head.weight": torch.ones(1, 1), "head.bias": torch.ones(1)}),
            Client(torch.Generator()),
            {"method": "withheld", "parts": ["biases", "first_layer"]},
        )


def test_pruning_takes_the_inputs_that_change_least_with_the_observation_for_their_size() -> None:
    network, batch, update = attack_cases.victims(1)
    settings = defence_settings({"method": "pruned_representation", "share": 0.4, "probes": 400})
    shared = defend(update, settings, 0, [0], batch.observation)
    features = network.features(batch.observation)[0].detach()
    image, vector = batch.observation["image"], batch.observation["vector"]
    jacobians = torch.autograd.functional.jacobian(
        lambda image, vector: network.features({"image": image, "vector": vector})[0], (image, vector)
    )
    slope = torch.cat([jacobian.flatten(1) for jacobian in jacobians], dim=1).norm(dim=1)
    score = torch.where(features != 0, features.abs() / slope.clamp(min=1e-12), 0.0)
    expected = score.topk(round(0.4 * int((features != 0).sum()))).indices
    pruned = ~(shared.gradients["hidden.0.weight"][0] != 0).any(dim=0) & (features != 0)
    found = pruned.nonzero()[:, 0]
    assert len(found) == len(expected)
    assert len(set(found.tolist()) & set(expected.tolist())) >= 0.85 * len(expected)
    # What was 0 before cannot be told from what was pruned.
    assert not bool(shared.known["hidden.0.weight"][0, :, features == 0].any())


def test_pruning_needs_the_network_and_says_so() -> None:
    with pytest.raises(ConfigurationError, match="needs the network"):
        rlleak.share(q_network(), "dqn", transitions(1), defence={"method": "pruned_representation", "share": 0.5})


def test_epsilon_is_opacus_and_infinite_without_clipping() -> None:
    mechanism = {"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 1.0}
    once = epsilon(defence_settings(mechanism))
    assert once == pytest.approx(4.73, abs=0.02)  # the Gaussian mechanism at sigma 1, delta 1e-5, by Renyi divergence
    assert epsilon(defence_settings(mechanism | {"noise_multiplier": 2.0})) < once
    assert epsilon(defence_settings(mechanism | {"rounds": 10})) > once
    assert epsilon(defence_settings([mechanism, "int8"])) == once
    # What data choose before the noise is not noisy.
    assert epsilon(defence_settings([mechanism, {"method": "top_k", "share": 0.1}])) == once
    assert epsilon(defence_settings([{"method": "top_k", "share": 0.1}, mechanism])) == math.inf
    # Pruning looks at the observation, and not at the noisy update alone: behind the noise it is no post-processing.
    assert epsilon(defence_settings([mechanism, {"method": "pruned_representation", "share": 0.1}])) == math.inf
    for unbounded in ("none", {"method": "gaussian_noise", "variance": 100.0}, {"method": "clipping", "norm": 1}):
        assert epsilon(defence_settings(unbounded)) == math.inf


def test_error_feedback_before_the_noise_undoes_what_sampling_gains_each_update() -> None:
    sampled = {"method": "clipped_gaussian", "norm": 1.0, "noise_multiplier": 1.0, "rounds": 10, "sample_rate": 0.1}
    fed_back = {"method": "random_k", "share": 0.1, "error_feedback": True}
    always = epsilon(defence_settings(sampled | {"sample_rate": 1.0}))
    assert epsilon(defence_settings(sampled)) < always / 2
    assert epsilon(defence_settings([sampled, fed_back])) == epsilon(defence_settings(sampled))
    assert epsilon(defence_settings([fed_back, sampled])) == always


def test_noise_of_the_mechanism_is_in_units_of_the_norm() -> None:
    gradients = {"head.weight": torch.randn(200, 200)}
    mechanism = {"method": "clipped_gaussian", "norm": 0.5, "noise_multiplier": 2.0}
    noise = sent(gradients, mechanism).gradients["head.weight"]
    assert float(noise.std()) == pytest.approx(1.0, rel=0.05)


def test_bytes_are_what_the_message_takes() -> None:
    _, _, update = attack_cases.victims(1)
    spec = update.architecture
    numbers = sum(torch.Size(shape).numel() for shape in spec.parameter_shapes.values())
    tensors = len(spec.parameter_shapes)

    def of(given) -> int:
        return message_bytes(defence_settings(given), spec)

    assert of("none") == 4 * numbers
    assert of("float16") == 2 * numbers
    assert of("int8") == numbers + 4 * tensors
    assert of({"method": "random_k", "share": 0.1}) == 4 * round(0.1 * numbers) + 8
    assert of({"method": "top_k", "share": 0.01}) < 0.015 * 4 * numbers
    assert of({"method": "withheld", "parts": ["body"]}) == 4 * (48 * 7 + 7)
    assert of([{"method": "top_k", "share": 0.1}, "int8"]) < of({"method": "top_k", "share": 0.1})
    assert of(["sign", {"method": "gaussian_noise", "variance": 1.0}]) >= 4 * numbers


def test_every_shipped_defence_is_shared_read_again_and_known(tmp_path: Path) -> None:
    _, batch, update = attack_cases.victims(2)
    for name, settings in SHIPPED.items():
        if settings["method"] == "local_steps":
            continue  # they need several transitions and a network to train: test_local_steps.py
        shared = defend(update, settings, 3, [4, 9], batch.observation)
        shared.save(tmp_path / "shared.safetensors")
        read = SharedUpdate.load(tmp_path / "shared.safetensors")
        assert dict(read.defence) == settings, name
        assert set(read.known) == set(shared.known)
        assert all(torch.equal(read.known[key], shared.known[key]) for key in shared.known)
        alone = defend(
            update.select(slice(1, 2)), settings, 3, [9], {key: part[1:] for key, part in batch.observation.items()}
        )
        for key, gradient in alone.gradients.items():
            assert torch.equal(gradient[0], shared.gradients[key][1]), name


def test_the_server_learns_parameters_and_no_draws(tmp_path: Path) -> None:
    _, _, update = attack_cases.victims(1)
    defend(update, SHIPPED["random_10"], 12345, [7]).save(tmp_path / "shared.safetensors")
    with safe_open(str(tmp_path / "shared.safetensors"), framework="pt") as handle:
        assert "12345" not in handle.metadata()["description"]
        assert {key.partition("/")[0] for key in handle.keys()} == {"parameter", "gradient", "known"}  # noqa: SIM118


def test_what_is_known_must_fit(tmp_path: Path) -> None:
    _, _, update = attack_cases.victims(2)
    shared = defend(update, SHIPPED["random_10"], 0, [0, 1])
    shared.known["head.bias"] = shared.known["head.bias"][:, :3]
    with pytest.raises(CorruptArtefactError, match=r"known of 'head\.bias'"):
        shared.check()


def test_a_clipped_update_says_that_it_was_shortened() -> None:
    _, _, update = attack_cases.victims(2)
    assert not defend(update, {"method": "clipping", "norm": 1e5}, 0, [0, 1]).loss.get("shortened")
    assert defend(update, {"method": "clipping", "norm": 1e-3}, 0, [0, 1]).loss["shortened"]
    assert defend(update, defence_settings(SHIPPED["dp_weak"] | {"norm": 1e5}), 0, [0, 1]).loss["shortened"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "gaussian_noise", "variance": -1e-3}, "variance: Input should be greater than 0, not -0.001"),
        ({"method": "gaussian_noise", "variance": 1e9}, "variance: Input should be less than or equal to 100"),
        ({"method": "gaussian_noise"}, "give either"),
        ({"method": "gaussian_noise", "snr_db": float("nan")}, "snr_db"),
        ({"method": "top_k", "share": 1.5}, "share: Input should be less than or equal to 1, not 1.5"),
        ({"method": "random_k", "share": 0}, "share: Input should be greater than 0, not 0"),
        ({"method": "qsgd", "levels": 0}, "levels"),
        ({"method": "clipping", "norm": 0}, "norm"),
        ({"method": "clipped_gaussian", "norm": 1, "noise_multiplier": 1, "delta": 1}, "delta"),
        ({"method": "withheld", "parts": ["bias"]}, "parts"),
        ({"method": "withheld", "parts": []}, "parts"),
        ({"method": "top_k", "shares": 0.1}, "did you mean 'share'"),
        ([{"method": name, "share": 0.1, "error_feedback": True} for name in ("top_k", "random_k")], "kept once"),
        ("int9", "int9"),
        ([{"method": "top_k", "share": 0.1}, "int9"], "int9"),
        ([], "steps"),
    ],
    ids=lambda value: None,
)
def test_values_out_of_range_are_named_in_one_line(given, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        rlleak.share(q_network(), "dqn", transitions(1), defence=given)
    assert "\n" not in str(caught.value)


def test_float16_that_overflows_is_refused_and_names_the_tensor() -> None:
    with pytest.raises(ConfigurationError, match=r"'head\.weight' overflows"):
        sent({"head.weight": torch.full((2, 2), 1e6)}, {"method": "float16"})


def test_float16_leaves_it_to_the_server_to_leave_out_what_was_spoilt_before() -> None:
    spoilt = {"head.weight": torch.tensor([1.0, torch.nan, -torch.inf])}
    assert torch.equal(
        sent(spoilt, {"method": "float16"}).gradients["head.weight"].isfinite(), torch.tensor([1, 0, 0]).bool()
    )


@pytest.mark.parametrize("method", ["top_k", "random_k"])
@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
def test_one_spoilt_update_does_not_spoil_what_is_kept_for_the_next(method: str, spoilt: float) -> None:
    defence = defence_settings({"method": method, "share": 0.3, "error_feedback": True})
    good, bad = torch.arange(1.0, 11.0), torch.arange(1.0, 11.0)
    bad[3] = spoilt
    first = applied(Sent({"weight": bad}), Client(torch.Generator().manual_seed(0)), defence)
    second = applied(Sent({"weight": good}), Client(torch.Generator().manual_seed(1), kept=first.kept), defence)
    assert bool(second.gradients["weight"].isfinite().all())
    assert first.kept["weight"].count_nonzero() > 0


def test_a_users_module_shares_behind_the_same_defences() -> None:
    network, batch = NatureLike(), transitions(2, (3, 20, 20), actions=5)
    plain = rlleak.share(network, "dqn", batch, batch_size=1, observation_space=(3, 20, 20))
    update = rlleak.share(
        network, "dqn", batch, batch_size=1, observation_space=(3, 20, 20), defence=[{"method": "top_k", "share": 0.1}]
    )
    assert update.defence["method"] == "composed"
    count = sum(int(mask[0].sum()) for mask in update.known.values())
    numbers = sum(value[0].numel() for value in plain.gradients.values())
    assert count == pytest.approx(0.1 * numbers, abs=2)
    for name, mask in update.known.items():
        torch.testing.assert_close(update.gradients[name][mask], plain.gradients[name][mask])
    assert len(update.select(slice(0, 1)).known["head.weight"]) == 1
    noise = {"method": "gaussian_noise", "variance": 1e-4}
    other, again = (
        rlleak.share(network, "dqn", batch, observation_space=(3, 20, 20), defence=noise, seed=seed) for seed in (1, 2)
    )
    assert not torch.equal(other.gradients["head.bias"], again.gradients["head.bias"])


def test_a_users_layers_are_withheld_by_what_they_are() -> None:
    network = TwoObservations()
    batch = {
        "observation": {"camera": torch.rand(1, 16, 16, 3), "box": torch.rand(1, 4)},
        "action": torch.tensor([1]),
        "reward": torch.tensor([0.5]),
        "target": torch.tensor([0.5]),
    }
    defence = {"method": "withheld", "parts": ["first_layer"]}
    update = rlleak.share(network, "dqn", batch, defence=defence)
    assert {name for name in update.gradients if update.lacks(name)} == {
        "convolutions.0.weight", "convolutions.0.bias", "vector.weight", "vector.bias"
    }  # fmt: skip
    assert not bool(update.sent["eye.weight"].any())
    assert bool(update.sent["joint.weight"].any())


def test_a_step_is_defended_as_it_leaves() -> None:
    network = ActorCritic()
    batch = transitions(1)
    how = {"form": "step", "learning_rate": 0.1, "forward": lambda module, x: module(x)["logits"]}
    update = rlleak.share(network, "dqn", batch, defence={"method": "clipping", "norm": 1e-3}, **how)
    length = torch.stack([value.norm() for value in update.sent.values()]).norm()
    assert float(length) == pytest.approx(1e-3, rel=1e-4)
    assert update.loss["shortened"]


def test_no_shipped_defence_is_refused_by_the_study() -> None:
    study = load_study(read_yaml(CONFIG / "config.yaml"), CONFIG)
    assert set(study.defences) == set(SHIPPED)
