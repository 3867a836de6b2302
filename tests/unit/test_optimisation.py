"""A stage of an attack: its schedule, its steps, the best that it keeps, and the settings that it refuses."""

import pytest
import torch
from pydantic import ValidationError

from rlleak.attacks import checkpoints
from rlleak.attacks.optimisation import EPSILON, Variable, minimise, step_share
from rlleak.configuration.attacks import StageSettings


@pytest.mark.parametrize(
    ("schedule", "last"), [("constant", 1.0), ("cosine", 0.01), ("exponential", 0.01), ("steps", 1e-3)]
)
def test_a_schedule_goes_from_the_whole_step_to_its_end_whatever_the_length(schedule: str, last: float) -> None:
    for iterations in (10, 1000):
        stage = StageSettings(schedule=schedule, final_step=0.01, iterations=iterations)
        shares = [step_share(stage, iteration) for iteration in range(iterations)]
        assert shares[0] == 1.0
        assert shares[-1] == pytest.approx(last)
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("optimiser", ["adam", "signed_adam"])
def test_steps_are_those_of_adam_as_torch_has_it_and_stay_in_the_box(optimiser: str) -> None:
    generator = torch.Generator().manual_seed(6)
    target = torch.rand(3, 4, 5, 6, generator=generator) * 2 - 0.5
    start = torch.rand(3, 4, 5, 6, generator=generator)
    stage = StageSettings(optimiser=optimiser, step_size=0.05, schedule="constant", iterations=30)
    plain = start.clone().requires_grad_()
    reference = torch.optim.Adam([plain], lr=0.05, betas=(stage.momentum, 0.999), eps=EPSILON)
    best = torch.full((3,), torch.inf)
    for _ in range(30):
        difference = (plain - target).detach()
        best = torch.minimum(best, difference.square().flatten(1).sum(dim=1))
        plain.grad = difference.sign() if optimiser == "signed_adam" else difference
        reference.step()
        plain.data.clamp_(0, 1)

    def evaluate(values):
        difference = values["image"] - target
        return difference.square().flatten(1).sum(dim=1), {"image": difference}

    variables = {"image": Variable(start, bounds=(0.0, 1.0))}
    found, loss = minimise(evaluate, variables, stage, "work", checkpoints.Checkpoint(None, ""))
    torch.testing.assert_close(loss, best)
    assert float(found["image"].min()) >= 0
    assert float(found["image"].max()) <= 1


def test_the_best_of_each_row_is_kept_though_later_ones_are_worse_or_not_numbers() -> None:
    losses = iter(torch.tensor([[3.0, 1.0], [2.0, torch.nan], [4.0, torch.inf]]))
    values = iter(torch.tensor([[30.0, 10.0], [20.0, torch.nan], [40.0, torch.nan]]))

    def evaluate(current):
        current["x"].copy_(next(values)[:, None])
        return next(losses), {"x": torch.zeros(2, 1)}

    stage = StageSettings(step_size=0.1, iterations=3)
    found, loss = minimise(
        evaluate, {"x": Variable(torch.zeros(2, 1))}, stage, "work", checkpoints.Checkpoint(None, "")
    )
    assert loss.tolist() == [2.0, 1.0]
    assert found["x"].flatten().tolist() == [20.0, 10.0]


def test_settings_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValidationError, match="did you mean 'step_size'"):
        StageSettings(step_sise=0.1)
    for wrong, said in (
        ({"step_size": 0}, "step_size\n.*greater than 0"),
        ({"iterations": 0}, "iterations\n.*greater than or equal to 1"),
        ({"candidates": (0.1, -1)}, "candidates must be above 0"),
        ({"optimiser": "sgd"}, "'adam' or 'signed_adam'"),
        ({"final_step": 2}, "final_step\n.*less than or equal to 1"),
    ):
        with pytest.raises(ValidationError, match=said):
            StageSettings(**wrong)
