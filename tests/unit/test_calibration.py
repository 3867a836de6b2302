"""What attacks choose by is tried on public rooms that the attacker's own knowledge has not seen."""

from types import SimpleNamespace

import numpy as np
import pytest

from rlleak.attacks.defaults import default_settings
from rlleak.benchmarks.calibration import CONSTANTS, main, unseen
from rlleak.errors import ConfigurationError
from rlleak.simulators.layouts import PUBLIC_LAYOUTS, layout_of_victim


def test_rooms_are_public_and_new_to_the_prior_and_to_the_guess() -> None:
    views = SimpleNamespace(layout=np.array([layout_of_victim(index, public=True) for index in (0, 2)]))
    remembered = SimpleNamespace(layout=np.array([layout_of_victim(1, public=True)]))
    victims = unseen(views, remembered)
    assert victims[0] == 3
    assert {layout_of_victim(index, public=True) for index in victims} <= set(PUBLIC_LAYOUTS)


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_value_in_use_is_among_those_that_were_tried(name: str) -> None:
    constant = CONSTANTS[name]
    group, field = constant.where
    assert getattr(getattr(default_settings(constant.attack), group), field) in constant.values
    tried = [getattr(getattr(constant.settings_at(value), group), field) for value in constant.values]
    assert tuple(tried) == constant.values


def test_an_unknown_constant_is_named() -> None:
    with pytest.raises(ConfigurationError, match="lowd"):
        main(["lowd"])
    with pytest.raises(ConfigurationError, match="did you mean 'loud'"):
        main(["--check", "heard", "lowd"])
    main(["--check", "heard"])
