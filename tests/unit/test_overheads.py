"""What protection costs is measured on the real parts, and published with what was not run whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rlleak.artefacts import write_table
from rlleak.benchmarks import overheads as measuring
from rlleak.errors import CorruptArtefactError
from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.publishing.overheads import overheads_figure, overheads_table, read_overheads
from rlleak.sharing.victims import Training

SPEC = NetworkSpec(image_shape=None, vector_size=4, vector_width=0, hidden=(64, 64), outputs=2)
NUMBERS = 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2
DEFENCES = {
    "none": {"method": "none"},
    "sign": {"method": "sign"},
    "local_2": {"method": "local_steps", "steps": 2, "step_size": 0.01},
    "local_4": {"method": "local_steps", "steps": 4, "step_size": 0.01},
}


@pytest.fixture(scope="module")
def training() -> Training:
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        {"vector": torch.rand(6, 4, generator=generator)},
        action=torch.arange(6) % 2,
        reward=torch.ones(6),
        target=torch.rand(6, generator=generator),
    )
    return Training(build_network(SPEC, 0), DQNLoss(), batch)


@pytest.fixture(scope="module")
def measured(training: Training) -> pd.DataFrame:
    return pd.DataFrame(measuring.measure(training, 2, DEFENCES, [2, 3]))


def test_gradient_defences_and_protocols_each_have_a_row(measured: pd.DataFrame) -> None:
    found = list(zip(measured["protection"], measured["name"], measured["clients"].fillna(0), strict=True))
    assert found[:3] == [("gradient", "gradient", 0), ("defence", "sign", 0), ("defence", "local_2", 0)]
    assert [(protection, clients) for protection, _, clients in found[3:]] == [
        *(("secure aggregation", clients) for clients in (2, 3)),
        *(("encryption", clients) for clients in (2, 3)),
    ]
    assert (measured["parameters"] == NUMBERS).all()
    assert (measured["client_seconds"] > 0).all()
    protected = measured[measured["clients"].notna()]
    assert (protected["server_seconds"] > 0).all()
    assert (protected["error"] < 1e-4).all()


def test_the_range_of_sums_does_not_follow_from_private_updates() -> None:
    torch.manual_seed(0)
    made_up = [{"head.weight": torch.randn(2, 64)} for _ in range(2)]
    found = {}
    for length in (1e-3, 1.0, 1e3):
        sent = [
            measuring.shortened({name: length / 16 * value for name, value in update.items()}) for update in made_up
        ]
        assert all(float(update["head.weight"].norm()) < 1.0001 for update in sent)
        found[length] = [
            measuring.secure_aggregation_row(sent, 2)["error"],
            next(measuring.encryption_rows(sent, [2]))["error"],
        ]
    # A range that fits what was drawn would be as exact for all of them.
    for small, usual, long in zip(*found.values(), strict=True):
        assert small > 100 * usual
        assert long < 10 * usual


def test_bytes_are_those_of_the_messages(measured: pd.DataFrame) -> None:
    sent = measured.set_index(["protection", measured["clients"].fillna(0)])["sent_bytes"]
    assert sent["gradient", 0].item() == 4 * NUMBERS
    assert sent["defence", 0].iloc[0] < 4 * NUMBERS / 15  # two bits: a sign may be 0
    for clients in (2, 3):
        # Two keys; a sealed pair of shares for each other client; the update itself; a share of everybody's mask.
        keys, shares, masks = 2 * 32, (clients - 1) * (4 + 12 + 32 + 16), clients * (4 + 16)
        assert sent["secure aggregation", clients].item() == keys + shares + 4 * NUMBERS + masks
        assert sent["encryption", clients].item() > 10 * 4 * NUMBERS


def test_what_is_too_large_to_run_whole_says_so(training: Training, measured: pd.DataFrame, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "MOST_MASKED", 1)
    monkeypatch.setattr(measuring, "MOST_ENCRYPTED", 512)
    part = pd.DataFrame(measuring.measure(training, 2, {}, [2, 3])).set_index(["protection", "clients"])
    assert not part.loc["secure aggregation", "whole"].any()
    assert part.loc["secure aggregation", "error"].isna().all()
    assert part.loc[("encryption", 2), "whole"]
    assert not part.loc[("encryption", 3), "whole"]
    whole = measured.set_index(["protection", "clients"])
    for clients in (2, 3):
        key = ("secure aggregation", clients)
        assert part.loc[key, "sent_bytes"] == whole.loc[key, "sent_bytes"]
    scaled = measured["parameters"].iloc[0] / 512
    assert part.loc[("encryption", 3), "sent_bytes"] == pytest.approx(scaled * 131_200, rel=0.01)


def test_time_that_is_spent_inside_counts_once() -> None:
    clock = measuring.Clock()

    def busy() -> None:
        sum(range(2_000_000))

    with clock.of("server"):
        messages = clock.each("client", iter([b"a", b"b"]))
        assert list(messages) == [b"a", b"b"]
        with clock.of("client"):
            busy()
    assert clock.spent["server"] < 0.5 * clock.spent["client"]


@pytest.fixture
def published(measured: pd.DataFrame, tmp_path: Path) -> pd.DataFrame:
    small = measured.assign(learner="dqn", network="mlp64", setting="CartPole")
    large = small.assign(network="mnih2015", setting="S1", parameters=7_500_000, whole=small["clients"] != 3)
    for name, table in (("a", large), ("b", small)):
        write_table(tmp_path / f"{name}.parquet", table)
    return read_overheads([tmp_path / "a.parquet", tmp_path / "b.parquet"])


def test_the_table_has_each_networks_costs_and_says_what_was_scaled(published: pd.DataFrame) -> None:
    table = overheads_table(published)
    frame = table.frame()
    assert list(frame["clients"]) == ["", "", "", "2", "3", "2", "3"]
    assert table.columns[0] == "mlp64 (CartPole, 5 k): client [ms]"
    gradient = published.loc[0, "client_seconds"]
    assert frame["mlp64 (CartPole, 5 k): client [ms]"].iloc[0] == pytest.approx(gradient * 1e3)
    assert np.isnan(frame["mnih2015 (S1, 7.5 M): server [ms]"].iloc[1])
    assert any("scaled to all" in note for note in table.notes)
    assert not any("scaled to all" in note for note in overheads_table(published[published["whole"]]).notes)


def test_the_figure_has_a_line_per_network_and_protocol(published: pd.DataFrame) -> None:
    figure = overheads_figure(published)
    for axes in figure.axes[:3]:
        assert sum(len(line.get_xdata()) == 2 and line.get_marker() == "o" for line in axes.lines) == 4
    assert [label.get_text() for label in figure.axes[3].get_yticklabels()] == ["fewer bits", "local steps"]


def test_a_table_of_something_else_is_named(tmp_path: Path) -> None:
    write_table(tmp_path / "other.parquet", pd.DataFrame({"learner": ["dqn"]}))
    with pytest.raises(CorruptArtefactError, match=r"other.parquet holds no overheads"):
        read_overheads([tmp_path / "other.parquet"])
