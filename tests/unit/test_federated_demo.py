"""The demonstration's figure: what is told of each client, from its own update and from the sum of all."""

import pandas as pd
import torch

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.metrics.comparison import told_apart
from rlleak.publishing.federated_demo import federated_demo
from rlleak.sharing.private import PrivateSide

CLIENTS = 2


def side() -> PrivateSide:
    generator = torch.Generator().manual_seed(0)
    image, features = (torch.rand(CLIENTS, *shape, generator=generator) for shape in ((4, 6, 6), (9,)))
    box = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [0.0, 0.0, 0.9, 0.9]])
    victims = torch.arange(CLIENTS)
    return PrivateSide(victims, victims, vector=box, image=image, linear_input=features)


def of_the_sum(truth: PrivateSide, claimed: list[bool]) -> Reconstruction:
    """A little noise on the truth, in the other order."""
    sides = {name: getattr(truth, name).flip(0)[None] + 1e-3 for name in ("image", "vector", "linear_input")}
    return Reconstruction(**sides, claimed=torch.tensor([claimed]))


def test_claims_about_a_sum_are_laid_beside_the_clients_that_they_are_about() -> None:
    truth = side()
    both = told_apart(of_the_sum(truth, [True, True]), truth)
    torch.testing.assert_close(both.image, truth.image + 1e-3)
    torch.testing.assert_close(both.vector, truth.vector + 1e-3)
    one = told_apart(of_the_sum(truth, [True, False]), truth)
    assert not one.image[0].any()
    torch.testing.assert_close(one.image[1], truth.image[1] + 1e-3)
    assert not told_apart(of_the_sum(truth, [False, False]), truth).image.any()


def test_the_figure_says_how_good_each_reconstruction_is_in_both_halves() -> None:
    truth = side()

    def metrics(start: float) -> pd.DataFrame:
        values = {"psnr_rgb_read": start, "psnr_depth_read": start + 5, "iou": 0.5}
        rows = [(victim, name, value + victim) for name, value in values.items() for victim in range(CLIENTS)]
        return pd.DataFrame(rows, columns=["victim", "metric", "value"])

    plain = Reconstruction(image=truth.image, vector=truth.vector)
    figure = federated_demo(truth, (plain, metrics(40)), (of_the_sum(truth, [True, True]), metrics(30)))
    panels = [axes.get_xlabel() for axes in figure.axes]
    for client in range(CLIENTS):
        rgb = [f"{value + client:.1f} dB, box IoU {0.5 + client:.3f}" for value in (40, 30)]
        depth = [f"{value + client:.1f} dB" for value in (45, 35)]
        assert panels[client * 6 : client * 6 + 6] == ["", *rgb, "", *depth]
    headings = [axes.get_title() for axes in figure.axes[:6]]
    assert [heading for heading in headings if "secure sum of 2" in heading]
