"""Rooms look like AI2-THOR's rooms, measured on the default views of all 120; and the measures themselves."""

import numpy as np
import pytest

from rlleak.simulators.image_statistics import depth_statistics, image_statistics
from rlleak.simulators.layouts import PRIVATE_LAYOUTS
from rlleak.simulators.rooms import gallery


@pytest.fixture(scope="module")
def frames():
    return gallery.default_frames()


def test_medians_lie_within_the_range_of_real_frames_for_every_room_type(frames):
    table = gallery.statistics_table(frames)
    assert len(table) == 4 * (7 + 3)
    outside = table[~table.inside]
    assert outside.empty, outside.to_string()


def test_no_view_is_black_or_burnt_out_or_stands_before_a_wall(frames):
    for layout, frame in frames.items():
        luma = frame.rgb.mean() / 255
        assert 0.2 < luma < 0.85, layout
        assert frame.rgb.std() / 255 > 0.05, layout
        assert np.median(frame.depth) > 0.7, layout
        assert len(np.unique(frame.instances)) >= 4, layout


def test_no_two_rooms_look_alike(frames):
    small = np.stack([frame.rgb[::5, ::5].astype(float) for frame in frames.values()])
    flat = small.reshape(len(small), -1)
    distance = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(-1)) + 255 * np.eye(len(flat))
    assert distance.min() > 8


def test_contact_sheets_show_every_frame(frames):
    sheet = gallery.all_rooms(frames, columns=15)
    assert sheet.shape == (8 * 153 + 3, 15 * 153 + 3, 3)
    np.testing.assert_array_equal(sheet[3:153, 3:153], frames[PRIVATE_LAYOUTS[0]].rgb)
    np.testing.assert_array_equal(sheet[-153:-3, -153:-3], frames[PRIVATE_LAYOUTS[-1]].rgb)


def test_a_ramp_has_the_total_variation_and_no_edges_that_it_must_have():
    ramp = np.repeat(np.linspace(0, 0.74, 150)[None, :, None], 150, axis=0).repeat(3, axis=2)
    measured = image_statistics(ramp)
    assert measured["tv"] == pytest.approx(0.74 / 149, rel=0.01)
    assert measured["edges"] == 0.0
    assert measured["saturation"] == 0.0
    assert measured["mean_luma"] == pytest.approx(0.37, abs=0.002)


def test_saturation_contrast_and_edges_of_a_red_and_black_half():
    image = np.zeros((150, 150, 3), np.uint8)
    image[:, 75:, 0] = 255
    measured = image_statistics(image)
    assert measured["saturation"] == pytest.approx(0.5)
    assert measured["contrast"] == pytest.approx(0.299 / 2, abs=1e-3)
    assert measured["edges"] == pytest.approx(1 / 149, abs=1e-4)


@pytest.mark.parametrize("exponent", [-1.0, -2.0, -3.0])
def test_the_slope_of_a_made_spectrum_is_recovered(exponent):
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(150) * 150, np.fft.fftfreq(150) * 150))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((150, 150))) * frequency ** (exponent / 2)
    luma = np.fft.ifft2(spectrum).real
    luma = 0.5 + 0.12 * luma / luma.std()
    assert image_statistics(np.repeat(luma[..., None], 3, 2))["slope"] == pytest.approx(exponent, abs=0.15)


def test_depth_jumps_are_counted_where_depth_steps_by_more_than_ten_centimetres():
    depth = np.full((101, 101), 1.0, np.float32)
    depth[:, 50:] = 1.5
    depth[60:, :50] = 1.05
    measured = depth_statistics(depth)
    assert measured["depth_jumps"] == pytest.approx(0.01)
    assert measured["depth_p95"] == pytest.approx(1.5)
