"""Claims as the experiments hold them: stated as sentences, and copied right from the papers."""

import numpy as np
import published_samples as samples
import pytest
import yaml

from rlleak.configuration.experiments import Claim, Experiment
from rlleak.publishing.statements import number, state


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (21.0, "21"), (22.806, "22.81"), (0.72951, "0.7295"), (1e-6, "1e-06"), (15751.95, "15751.95")],
)
def test_numbers_are_written_as_people_write_them(value, shown):
    assert number(value) == shown


EXPERIMENTS = sorted((samples.ROOT / "config" / "experiments").glob("qgi_*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_repositorys_experiments_are_valid_and_can_be_stated(path):
    one = Experiment.model_validate(yaml.safe_load(path.read_text()))
    assert one.id == path.stem
    for claim in one.claims:
        assert state(claim, one)
        assert "smoke" not in claim.comparable_on.scales
        if claim.kind == "value":
            assert (claim.comparable_on.simulators, claim.comparable_on.scales) == (("thor",), ("paper",))


def table1_claims() -> list[Claim]:
    return [claim for claim in samples.experiment("qgi_table1").claims if claim.where.startswith("Table I, ")]


def test_every_cell_of_table_1_is_a_claim_and_its_number_the_quoted_one():
    cells = [claim for claim in table1_claims() if claim.kind == "value"]
    assert len(cells) == 12 * 6
    for claim in cells:
        assert float(claim.quote.split(" ")[0]) == claim.right


def test_table_1_was_copied_right_because_its_averages_follow_from_its_room_types():
    rooms: dict[tuple, list[tuple[float, float]]] = {}
    averages = {}
    for claim in table1_claims():
        if claim.kind != "value" or claim.left.statistic == "max":
            continue
        where = claim.left.where
        mean, spread = (float(part) for part in claim.quote.split(" ± "))
        key = (where.attack, where.setting, claim.left.metric)
        if where.room_type:
            rooms.setdefault(key, []).append((mean, spread))
        else:
            averages[key] = mean, spread
    assert len(rooms) == len(averages) == 12
    for key, cells in rooms.items():
        means, spreads = np.array(cells).T
        digits = 0.0011 if key[2].startswith("ssim") else 0.011
        assert averages[key][0] == pytest.approx(means.mean(), abs=digits)
        total = np.sqrt((59 * (spreads**2).sum() + 60 * ((means - means.mean()) ** 2).sum()) / 239)
        assert averages[key][1] == pytest.approx(total, abs=digits)


def test_table_2s_deviation_of_iou_is_impossible_beside_the_texts_count():
    claims = {claim.id: claim for claim in samples.experiment("qgi_table2").claims}
    mean, share = claims["table2_qgi_iou"].right, 174 / 240
    rest = (mean - share) / (1 - share)
    least = np.sqrt(share * (1 - mean) ** 2 + (1 - share) * (rest - mean) ** 2)
    assert claims["table2_qgi_iou_std"].right < 0.2 * least
    assert claims["table2_qgi_iou_std_that_counts_force"].right == pytest.approx(least, abs=0.001)
