"""How long the engine's hot functions take: `python -m pytest tests/bench` (pytest-benchmark; asserts nothing)."""

import pytest
import torch

from rlleak.attacks.layers import Layer
from rlleak.attacks.optimisation import Adam, Variable
from rlleak.attacks.variation import VariationDerivative
from rlleak.attacks.weights import Weight
from rlleak.benchmarks.cases import Case, engine, reference, shared_update
from rlleak.configuration.attacks import StageSettings

torch.set_num_threads(1)
VICTIMS = 8
LAYERS = {"1": (4, 32, 8, 4, 150), "2": (32, 64, 4, 2, 36), "3": (64, 64, 3, 1, 17)}


@pytest.mark.parametrize("target", ["exact", "noisy"])
@pytest.mark.parametrize("scene", ["S1", "S2"])
def test_one_iteration(benchmark, scene: str, target: str) -> None:
    case = Case("matching", scene, VICTIMS, 1, target)
    benchmark(engine(shared_update(case), case))


def test_one_iteration_of_plain_autograd(benchmark) -> None:
    benchmark(reference(shared_update(Case("matching", "S1", 1, 1))))


@pytest.mark.parametrize("number", LAYERS)
@pytest.mark.parametrize("function", ["convolve", "convolve_transposed", "own_gradients"])
def test_a_convolution(benchmark, number: str, function: str) -> None:
    inputs, outputs, kernel, stride, side = LAYERS[number]
    layer = Layer("convolution", torch.randn(outputs, inputs, kernel, kernel), None, stride, 0, side, side)
    blocks, errors = layer.blocks_buffer("input", VICTIMS).normal_(), layer.errors_buffer("error", VICTIMS).normal_()
    if function == "convolve":
        benchmark(layer.convolve, blocks, layer.rows_buffer("output", VICTIMS))
    elif function == "convolve_transposed":
        benchmark(layer.convolve_transposed, errors, layer.grown_buffer("error", VICTIMS))
    else:
        benchmark(layer.own_gradients, blocks, errors)


@pytest.mark.parametrize("function", ["up", "down"])
def test_a_wide_linear_layer(benchmark, function: str) -> None:
    weight = Weight(torch.randn(512, 14464))
    benchmark(getattr(weight, function), torch.randn(VICTIMS, 14464 if function == "up" else 512))


def test_total_variation(benchmark) -> None:
    image = torch.rand(VICTIMS, 4, 150, 150).contiguous(memory_format=torch.channels_last)
    benchmark(VariationDerivative(0.1).add, image, torch.zeros_like(image))


def test_adam(benchmark) -> None:
    variable = Variable(torch.rand(VICTIMS, 4, 150, 150), bounds=(0.0, 1.0))
    values = {"image": variable.start}
    optimiser = Adam(values, {"image": variable}, StageSettings(step_size=0.1, iterations=1000))
    benchmark(optimiser.step, {"image": torch.randn_like(variable.start)}, 0)
