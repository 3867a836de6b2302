"""What every test of the workflow starts from."""

from pathlib import Path

import pytest
from checkouts import Checkout, copy_workflow


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return copy_workflow(tmp_path / "checkout")
