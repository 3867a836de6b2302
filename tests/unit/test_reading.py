"""Reading a module: the network that attacks see is the user's, and what they cannot handle is refused by name."""

import modules
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from rlleak.errors import ConfigurationError
from rlleak.learners.networks import build_network, load_network
from rlleak.learners.reading import Reading, read
from rlleak.learners.specification import Convolution, NetworkSpec


def output_of(reading: Reading, module: nn.Module, named: dict[str, torch.Tensor], branch: int = 0) -> torch.Tensor:
    """What the network that attacks see gives for the module's observations."""
    network = load_network(reading.branches[branch].spec, reading.parameters(dict(module.named_parameters()), branch))
    return network(reading.network_input(named, branch)).detach()


@st.composite
def sequentials(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Chains of convolutions and linear layers, and the shape of their observation."""
    activation = draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.ELU, nn.SiLU, nn.Sigmoid, nn.GELU, nn.LeakyReLU]))
    torch.manual_seed(draw(st.integers(0, 999)))
    bias, layers = draw(st.booleans()), []
    shape = draw(st.sampled_from([(5,), (3, 4), (2, 12, 10)]))
    if len(shape) == 3:
        channels = shape[0]
        for _ in range(draw(st.integers(0, 2))):
            kernel, padding = draw(st.integers(1, 3)), draw(st.integers(0, 1))
            layers += [nn.Conv2d(channels, 3, kernel, draw(st.integers(1, 2)), padding, bias=bias), activation()]
            channels = 3
    layers.append(nn.Flatten())
    width = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
    for _ in range(draw(st.integers(0, 2))):
        layers += [nn.Linear(width, 6, bias=bias), activation()]
        width = 6
    return nn.Sequential(*layers, nn.Linear(width, draw(st.integers(1, 4)), bias=bias)), shape


@given(sequentials(), st.sampled_from([None, (-1.0, 1.0), (0.0, 255.0), (-3.0, 9.0)]))
@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
def test_any_chain_is_read_and_its_gradient_is_that_of_the_network_attacks_see(made, bounds) -> None:
    module, shape = made
    reading = read(module, shape if bounds is None else Box(*bounds, shape))
    low, high = bounds or (0.0, 1.0)
    named = {"observation": low + (high - low) * torch.rand(3, *shape)}
    true = module(named["observation"])
    torch.testing.assert_close(output_of(reading, module, named), true.detach(), rtol=1e-3, atol=1e-3)
    gradients = dict(
        zip(
            dict(module.named_parameters()),
            torch.autograd.grad(true.square().sum(), list(module.parameters())),
            strict=True,
        )
    )
    network = load_network(reading.branches[0].spec, reading.parameters(dict(module.named_parameters())))
    own = torch.autograd.grad(network(reading.network_input(named)).square().sum(), list(network.parameters()))
    for (name, mine), expected in zip(reading.gradients(gradients).items(), own, strict=True):
        assert float((mine - expected).norm()) <= 1e-3 * float(expected.norm()) + 1e-4, name
    seen = reading.observation(reading.network_input(named))["observation"]
    read_ones = ~seen.isnan()
    torch.testing.assert_close(seen[read_ones], named["observation"][read_ones], rtol=1e-4, atol=1e-3)
    assert bool(read_ones.all())


def test_a_modules_scaling_of_bytes_is_kept_and_attacks_see_an_image_in_0_1() -> None:
    module = modules.NatureLike()
    reading = read(module, Box(0, 255, (3, 20, 20), dtype=np.uint8))
    named = {"observation": torch.randint(0, 256, (2, 3, 20, 20)).float()}
    image = reading.network_input(named)["image"]
    torch.testing.assert_close(image, named["observation"] / 255)
    assert reading.folded[0] == {}
    torch.testing.assert_close(reading.observation({"image": image})["observation"], named["observation"])
    spec = reading.branches[0].spec
    assert spec.convolutions == (
        Convolution(channels=8, kernel=4, stride=2),
        Convolution(channels=6, kernel=3, stride=1),
    )
    assert (spec.image_shape, spec.hidden, spec.outputs) == ((3, 20, 20), (32,), 5)


def test_bytes_without_scaling_go_into_the_first_weights() -> None:
    module = modules.NatureLike().network
    reading = read(module, Box(0, 255, (3, 20, 20), dtype=np.uint8))
    named = {"observation": torch.randint(0, 256, (2, 3, 20, 20)).float()}
    assert float(reading.network_input(named)["image"].max()) <= 1
    torch.testing.assert_close(
        output_of(reading, module, named), module(named["observation"]).detach(), rtol=1e-4, atol=1e-3
    )


def test_a_camera_with_channels_last_beside_a_box_is_read_in_the_specifications_order() -> None:
    module = modules.TwoObservations()
    reading = read(module, Dict(camera=Box(0, 1, (16, 16, 3)), box=Box(-1, 1, (4,))))
    spec = reading.branches[0].spec
    assert (spec.image_shape, spec.vector_size, spec.vector_width, spec.hidden) == ((3, 16, 16), 4, 7, (20,))
    named = {"box": torch.rand(2, 4), "camera": torch.rand(2, 16, 16, 3)}
    torch.testing.assert_close(output_of(reading, module, named), module(named).detach())
    back = reading.observation(reading.network_input(named))
    assert all(torch.equal(back[name], named[name]) for name in named)


def test_observations_are_passed_by_name_where_forward_names_them() -> None:
    class Named(modules.TwoObservations):
        def forward(self, camera, box):
            return super().forward({"camera": camera, "box": box})

    assert read(Named(), {"camera": (16, 16, 3), "box": (4,)}).inputs.style == "names"


def test_actor_and_critic_on_one_trunk_become_one_head_with_the_value_last() -> None:
    module = modules.ActorCritic()
    reading = read(module, (6,))
    assert reading.branches[0].outputs == ("policy", "value")
    assert reading.branches[0].spec.outputs == 5
    assert reading.unread == ("log_std",)
    named = {"observation": torch.rand(3, 6)}
    expected = module(named["observation"])
    torch.testing.assert_close(
        output_of(reading, module, named), torch.cat([expected["logits"], expected["value"][:, None]], dim=1).detach()
    )


def test_separate_actor_and_critic_are_two_branches() -> None:
    module = modules.CleanRLAgent()
    reading = read(module, (6,))
    named = {"observation": torch.rand(3, 6)}
    for branch, (name, part) in enumerate({"policy": module.actor, "value": module.critic}.items()):
        assert reading.branch_of(name) == branch
        torch.testing.assert_close(output_of(reading, module, named, branch), part(named["observation"]).detach())


def test_the_projects_own_network_is_read_as_its_specification() -> None:
    spec = NetworkSpec(
        image_shape=(2, 9, 9),
        vector_size=3,
        vector_width=4,
        convolutions=(Convolution(channels=4, kernel=3, stride=2, padding=1),),
        hidden=(8, 7),
        outputs=3,
    )
    network = build_network(spec, 0)
    reading = read(network, {"image": (2, 9, 9), "vector": (3,)})
    assert reading.branches[0].spec == spec
    mapped = reading.parameters(dict(network.named_parameters()))
    assert all(torch.equal(mapped[name], value) for name, value in network.named_parameters())


def image_net(*middle: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Flatten(), nn.Linear(width, 2))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.GRU(64, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.memory(x.flatten(2))[0][:, -1])


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8 * 24, 2)

    def forward(self, x):
        tokens = x.reshape(len(x), 24, 8)
        return self.head(self.look(tokens, tokens, tokens)[0].flatten(1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(192, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        features = torch.relu(self.first(x.flatten(1)))
        return self.head(features + torch.relu(self.second(features)))


class Dueling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.value, self.lead = nn.Linear(192, 8), nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, x):
        features = torch.relu(self.trunk(x.flatten(1)))
        lead = self.lead(features)
        return self.value(features) + lead - lead.mean(dim=1, keepdim=True)


class Asserting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(448, 2)

    def forward(self, x):
        assert x.shape[1] == 7, "seven channels"
        return self.head(x.flatten(1))


class TwiceUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.head = nn.Linear(192, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.relu(self.again(torch.relu(self.again(torch.relu(self.first(x.flatten(1))))))))


REFUSED = {
    "batch norm": (image_net(nn.BatchNorm2d(4), nn.ReLU(), width=144), "layer '1' is batch norm"),
    "layer norm": (image_net(nn.LayerNorm((4, 6, 6)), nn.ReLU(), width=144), "layer '1' is layer norm"),
    "dropout in training": (image_net(nn.ReLU(), nn.Dropout(), width=144), r"layer '2' is dropout.*network\.eval"),
    "pooling": (image_net(nn.ReLU(), nn.MaxPool2d(2), width=36), "layer '2' pools.*stride instead"),
    "dilation": (nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.Flatten(), nn.Linear(64, 2)), "layer '0'.*dilation"),
    "groups": (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Flatten(), nn.Linear(108, 2)), "layer '0'.*groups"),
    "recurrent": (Recurrent(), "layer 'memory' is recurrent"),
    "attention": (Attending(), "layer 'look' is attention"),
    "residual": (Residual(), "residual connection"),
    "dueling": (Dueling(), "dueling head"),
    "one layer twice": (TwiceUsed(), "layer 'again' is used twice"),
    "softmax": (nn.Sequential(nn.Flatten(), nn.Linear(192, 2), nn.Softmax(1)), "layer '2'.*logits"),
    "no activation": (image_net(width=144), "nothing stands between layers '0' and '2'"),
    "two activations": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 9), nn.Tanh(), nn.Linear(9, 2)),
        r"several activations \(relu, tanh\)",
    ),
    "some biases": (
        nn.Sequential(nn.Flatten(), nn.Linear(192, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)),
        "layer '1' has no bias and others have",
    ),
    "another slope": (
        nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.LeakyReLU(0.5), nn.Linear(9, 2)),
        "differs from its reading's",
    ),
    "embedding": (nn.Sequential(nn.Flatten(), nn.Embedding(9, 2), nn.Flatten(), nn.Linear(384, 2)), "is an embedding"),
    "a distribution": (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Unflatten(1, (3, 2))), r"shape \(3, 2\)"),
    "what the network asserts": (Asserting(), r"does not take .* \(seven channels\)"),
    "a shape that does not fit": (nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), r"observation \(3, 8, 8\)"),
    "no parameters": (nn.Flatten(), "has no parameters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_attack_can_handle_is_refused_naming_layer_and_reason_in_one_line(name: str) -> None:
    module, said = REFUSED[name]
    with pytest.raises(ConfigurationError, match=said) as caught:
        read(module.train(), (3, 8, 8))
    assert "\n" not in str(caught.value)


def test_dropout_is_followed_once_the_network_is_in_evaluation_mode() -> None:
    module = image_net(nn.ReLU(), nn.Dropout(), width=144).eval()
    assert read(module, (3, 8, 8)).branches[0].spec.outputs == 2


def test_reading_leaves_running_statistics_alone() -> None:
    module = image_net(nn.BatchNorm2d(4), nn.ReLU(), width=144).train()
    before = module[1].running_mean.clone()
    with pytest.raises(ConfigurationError):
        read(module, (3, 8, 8))
    assert torch.equal(module[1].running_mean, before)


def test_control_flow_that_no_tracer_follows_is_read() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)])

        def forward(self, x):
            if x.dim() > 2 and float(x.abs().max()) < 1e9:
                x = x.reshape(x.shape[0], -1)
            for layer in self.layers[:-1]:
                x = torch.relu(layer(x))
            return self.layers[-1](x)

    assert read(Branching(), (2, 2)).branches[0].spec.hidden == (6, 6)


def test_a_space_that_is_not_of_numbers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="give a gymnasium Box"):
        read(modules.ActorCritic(), Discrete(5))
