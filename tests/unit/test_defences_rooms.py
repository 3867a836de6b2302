"""Attackers who know the defence, on small real updates: never worse than who does not, and honest about themselves."""

from pathlib import Path

import attack_cases
import pytest
import torch

from rlleak.attacks import ATTACKS
from rlleak.attacks.linear_algebra import solve_linear, solve_linear_part
from rlleak.configuration.defences import defence_settings
from rlleak.configuration.loading import read_yaml
from rlleak.sharing.defences import defend
from rlleak.sharing.update import SharedUpdate

ENTRIES = read_yaml(Path(__file__).parents[2] / "config/defences.yaml")
# Several local steps are no function of one gradient; those updates are captured, and tested, elsewhere.
OF_ONE_GRADIENT = [name for name, entry in ENTRIES.items() if "local_steps" not in str(entry)]


def defended(update: SharedUpdate, batch, given) -> SharedUpdate:
    return defend(update, defence_settings(given), 1, range(len(update)), batch.observation)


def run(method: str, update: SharedUpdate, public=None, iterations: int = 30, **changes):
    settings = attack_cases.settings(method, iterations, **changes)
    return ATTACKS.load(method)(update, settings, seed=0, knowledge={"public": public} if public else {})


def rooms(count: int = 2):
    """Victims' transitions and updates, and rooms of the attacker's own that are like them."""
    _, batch, update = attack_cases.victims(count)
    _, own, _ = attack_cases.victims(4, seed=5)
    public = {**own.observation, "action": own.action, "target_q": own.target, "predicted_q": own.target}
    return batch, update, public


def error(found, batch, component: str = "vector") -> float:
    return float((getattr(found, component) - batch.observation[component]).abs().mean())


@pytest.mark.parametrize("name", OF_ONE_GRADIENT)
def test_no_defence_makes_an_attack_end_in_an_error(name: str) -> None:
    batch, update, public = rooms()
    shared = defended(update, batch, ENTRIES[name])
    for method in ("closed_form", "peel", "best"):
        found = run(method, shared, public if method == "best" else None, iterations=3)
        for component in ("image", "vector", "target_q"):
            value = getattr(found, component, None)
            assert value is None or bool(torch.isfinite(value).all()), (method, component)


@pytest.mark.parametrize(
    "given",
    [
        {"method": "random_k", "share": 0.5},
        {"method": "top_k", "share": 0.1},
        {"method": "withheld", "parts": ["biases"]},
        {"method": "withheld", "parts": ["first_layer"]},
    ],
    ids=lambda given: f"{given['method']} {given.get('parts', '')}",
)
def test_who_knows_what_arrived_is_no_further_off_than_who_does_not(given: dict) -> None:
    batch, update, _ = rooms(3)
    shared = defended(update, batch, given)
    adaptive, naive = (run("closed_form", shared, adaptive=known) for known in (True, False))
    assert error(adaptive, batch) < 0.02 < error(naive, batch)


@pytest.mark.parametrize("given", ["float16", "int8", "sign", {"method": "gaussian_noise", "snr_db": 30}])
def test_rounding_and_noise_are_told_from_an_update_as_it_is(given) -> None:
    batch, update, public = rooms()
    assert not run("peel", update).trust["assumption_failed"].any()
    for method in ("closed_form", "peel", "best"):
        assert run(method, defended(update, batch, given), public, 3).trust["assumption_failed"].all(), method


def test_masks_that_no_bias_confirms_are_not_trusted_unless_all_equations_hold() -> None:
    batch, update, _ = rooms()
    found = run("peel", defended(update, batch, {"method": "withheld", "parts": ["biases"]}))
    off = (found.image - batch.observation["image"]).abs().mean(dim=(1, 2, 3)) > 0.01
    assert bool((found.trust["assumption_failed"].bool() | ~off).all())


def test_a_withheld_first_layer_hides_no_image_that_the_second_determines() -> None:
    batch, update, _ = rooms()
    found = run("peel", defended(update, batch, {"method": "withheld", "parts": ["first_layer"]}), iterations=60)
    taken_for_0 = run(
        "peel", defended(update, batch, {"method": "withheld", "parts": ["first_layer"]}), iterations=60, adaptive=False
    )
    assert error(found, batch, "image") < 0.8 * error(taken_for_0, batch, "image")


def test_the_vector_under_noise_is_read_off_what_its_layer_put_out() -> None:
    batch, update, _ = rooms(4)
    noisy = defended(update, batch, {"method": "gaussian_noise", "snr_db": 20})
    own = solve_linear_part(noisy).layers["vector"].input
    by_its_own_gradient = float((own - batch.observation["vector"]).abs().mean())
    assert error(run("closed_form", noisy), batch) < 0.7 * by_its_own_gradient


@pytest.mark.parametrize("given", ["sign", {"method": "gaussian_noise", "variance": 10.0}])
def test_where_nothing_is_left_the_best_attack_says_what_a_guess_says(given) -> None:
    batch, update, public = rooms()
    shared = defended(update, batch, given)
    found, guess = run("best", shared, public), run("prior_only", shared, public)
    torch.testing.assert_close(found.image, guess.image)
    torch.testing.assert_close(found.vector, guess.vector)
    assert found.trust["nothing_heard"].all()


def test_how_much_of_an_input_noise_leaves_is_foretold() -> None:
    generator = torch.Generator().manual_seed(0)
    delta, inputs = torch.randn(80, generator=generator), torch.randn(400, generator=generator)
    for strength in (0.5, 3.0, 6.0):
        noise = torch.randn(80, 400, generator=generator) / (strength * (80 * 400) ** 0.25)
        layer = solve_linear((torch.outer(delta / delta.norm(), inputs / inputs.norm()) + noise)[None], None)
        cosine = torch.nn.functional.cosine_similarity(layer.input[0], inputs.double(), dim=0) ** 2
        assert float(layer.overlap) == pytest.approx(float(cosine), abs=0.12)
        assert bool(layer.heard) == (strength > 1)
