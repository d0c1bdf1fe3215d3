"""Grids of samples: every pixel and point where it belongs, and the parts of a grid that the page shows in turn."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bench.report.grids import EACH, arm_grid, comparison
from bench.report.kept import Samples, nearest_support
from bench.report.planes import plane_sheet, scatter
from bench.report.study import Arm, Slice
from bench.report.style import Look, figure_formats

STEPS = (0, 1, 5)
GREYS = (-0.5, 0.0, 0.5)  # of what is generated at each step
ARM, PLACE, STYLES = Arm("maml", "maml", "", "", ""), Slice("glyphs", ()), {"maml": Look("#009E73", "o", dashed=False)}
STUDY = SimpleNamespace(primary={"adaptation_step": 5})


def images(arm=0.0):
    """Support black, query white, and one grey for each step."""
    real = np.ones((2, 6, 1, 8, 8))
    generated = np.stack([np.full((2, 4, 1, 8, 8), grey + arm) for grey in GREYS])
    return Samples(STEPS, ("a", "b"), -real, real, generated, None)


def points():
    rng = np.random.default_rng(0)
    centres = np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]] * 2)
    real = np.repeat(centres, 4, axis=1) + rng.normal(0, 0.01, (2, 12, 2))
    return Samples(STEPS, ("a", "b"), real, real[:, ::-1], np.stack([real + 0.1 * k for k in range(3)]), centres)


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def test_each_frame_is_the_part_of_the_grid_with_the_samples_of_its_step():
    with figure_formats(()):
        picture = arm_grid(PLACE, ARM, images(), STYLES)
    assert [frame.label for frame in picture.frames] == ["support", "query", "step 0", "step 1", "step 5"]
    assert [frame.still for frame in picture.frames] == [True, True, False, False, False]
    shown = pixels(picture.png)
    for frame, value in zip(picture.frames, (-1, 1, *GREYS), strict=True):
        left, top, width, _ = (round(share * shown.shape[1 - i % 2]) for i, share in enumerate(frame.box))
        tile = shown[top + 4 : top + 60, left + 4 : left + width // EACH - 4]
        assert np.abs(tile - 255 * (value + 1) / 2).max() <= 2  # black and white are the extremes of the real samples
    assert picture.scene == "glyphs"


def test_the_frames_of_scatters_lie_side_by_side_to_the_end():
    with figure_formats(()):
        frames = arm_grid(PLACE, ARM, points(), STYLES).frames
    assert [frame.label for frame in frames] == ["real samples", "step 0", "step 1", "step 5"]
    for one, other in zip(frames, frames[1:], strict=False):
        assert one.box[0] + one.box[2] == pytest.approx(other.box[0])
        assert one.box[1::2] == other.box[1::2]
    assert frames[-1].box[0] + frames[-1].box[2] == pytest.approx(1)


@pytest.mark.parametrize("samples", [images(), points()], ids=["images", "points"])
def test_the_animation_has_a_frame_a_step_of_one_size_and_equal_bytes(samples):
    with figure_formats(("gif",)):
        one, again = (comparison(STUDY, PLACE, {"maml": samples}, STYLES) for _ in range(2))
    assert one == again
    with Image.open(io.BytesIO(one.files["gif"])) as film:
        assert film.n_frames == len(STEPS)
        times = []
        for frame in range(film.n_frames):
            film.seek(frame)
            times.append(film.info["duration"])
        assert times[-1] > times[0]
        assert film.size == pixels(one.png).shape[1::-1]


def test_the_last_frame_of_the_animation_shows_the_last_step():
    with figure_formats(("gif",)):
        picture = comparison(STUDY, PLACE, {"maml": images()}, STYLES)
    with Image.open(io.BytesIO(picture.files["gif"])) as film:
        film.seek(len(STEPS) - 1)
        difference = np.abs(np.asarray(film.convert("RGB")).astype(float) - pixels(picture.png))
    assert np.quantile(difference, 0.99) <= 4  # the animation has 64 colours, its edges of letters fewer greys


def test_no_animation_is_made_unless_it_is_wanted():
    with figure_formats(("svg", "pdf")):
        assert comparison(STUDY, PLACE, {"maml": images()}, STYLES).files == {}


# ------------------------------------------------------------------ nearest support
def test_a_copy_of_a_support_sample_is_at_distance_0_and_a_new_sample_at_about_1():
    rng = np.random.default_rng(0)
    support, query = rng.normal(size=(8, 1, 4, 4)), rng.normal(size=(200, 1, 4, 4))
    places, nearness = nearest_support(np.concatenate([support[[5, 2]], query]), support, query)
    assert places[:2].tolist() == [5, 2]
    assert nearness[:2].tolist() == [0.0, 0.0]
    assert np.median(nearness[2:]) == pytest.approx(1.0)


def test_nearness_has_no_unit():
    rng = np.random.default_rng(1)
    generated, support, query = (rng.normal(size=(n, 3, 2, 2)) for n in (3, 5, 4))
    places, nearness = nearest_support(generated, support, query)
    other_places, scaled = nearest_support(7 * generated, 7 * support, 7 * query)
    assert np.array_equal(places, other_places)
    assert scaled == pytest.approx(nearness)


def test_what_is_not_finite_is_near_to_nothing():
    support = np.zeros((2, 1, 2, 2))
    broken = np.full((1, 1, 2, 2), np.nan)
    places, nearness = nearest_support(np.concatenate([broken, support[:1]]), support, support + 1)
    assert places.tolist() == [0, 0]
    assert np.isnan(nearness[0])
    assert nearness[1] == 0.0
    assert np.isnan(nearest_support(support, support, support)[1]).all()  # queries that are copies give no unit


# ------------------------------------------------------------------ points
def test_points_outside_the_window_are_counted_in_words():
    real = np.array([[0.0, 0.0], [1.0, 1.0]])
    generated = np.array([[0.5, 0.5], [50.0, 0.0], [np.nan, 0.0], [0.0, np.inf]])
    with plane_sheet(1, 1) as (_, axes):
        scatter(axes, (0, 0), support=real, query=real, centres=None, generated=generated, colour="red")
        assert [text.get_text() for text in axes.texts] == ["3 outside"]
        assert [len(drawn.get_offsets()) for drawn in axes.collections] == [2, 1]


def test_a_point_is_drawn_where_it_lies_in_the_window():
    real = np.array([[0.0, 0.0], [1.0, 1.0]])
    with plane_sheet(3, 2) as (_, axes):
        scatter(axes, (2, 1), support=real, query=real, centres=None, generated=np.array([[0.5, 0.5], [0.5, 1.3]]), colour="red")
        middle, above = axes.collections[-1].get_offsets().tolist()
    assert middle == pytest.approx([2.5, 1.5])
    assert above == pytest.approx([2.5, 1.03])  # the window reaches 0.8 of the spread of the real samples, and is 0.94 wide
