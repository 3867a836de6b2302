"""Environments of the study of transitions: what is said of them holds, and what they are asked for they give."""

from typing import get_args

import pytest

from rlleak.configuration.axes import CHANNELS, Setting, channels_of, inputs_of
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.learners.specification import NetworkSpec


def test_every_environment_is_a_setting_and_no_other_but_the_rooms() -> None:
    assert set(get_args(Setting)) == {*CHANNELS, *ENVIRONMENTS}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_network_can_be_built_on_every_environments_inputs(name: str) -> None:
    environment = ENVIRONMENTS[name]
    value, actor = (NetworkSpec(hidden=(8,), **inputs) for inputs in (inputs_of(name), environment.actor_inputs))
    assert actor.linear_inputs == environment.state_size
    assert value.linear_inputs == environment.state_size + environment.actions * environment.continuous
    assert value.outputs == (1 if environment.continuous else environment.actions)
    assert len(channels_of(name)) == (environment.image_shape or (0,))[0]
