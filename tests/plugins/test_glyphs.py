"""Glyphs: what is shipped, how it is split, and that the renderer does what its numbers say."""

import hashlib
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.contracts import SPLITS
from bench_builtin import build_glyphs
from bench_builtin.task_distributions import Glyphs
from bench_builtin.task_distributions import glyphs as module

DATA = Path(module.__file__).parents[1] / "data"
SPLIT = json.loads((DATA / "glyph_split.json").read_text(encoding="utf-8"))


def rng(*seed):
    return np.random.default_rng(list(seed) or [0])


# ------------------------------------------------------------------ data and split
def test_the_shipped_classes_are_those_of_the_split_file():
    shipped = module.drawings()
    expected = [
        (part.replace("_", "-"), f"{alphabet}-U+{ord(character):04X}")
        for part, alphabets in SPLIT.items()
        for alphabet, characters in alphabets.items()
        for character in characters
    ]
    assert list(zip(shipped.splits, shipped.names, strict=True)) == expected


def test_no_alphabet_and_no_character_is_in_two_splits():
    tasks = Glyphs(alphabets="all")
    shipped = module.drawings()
    alphabets = [{shipped.alphabets[label] for label in tasks.labels(split)} for split in SPLITS]
    points = [{shipped.names[label].split("U+")[1] for label in tasks.labels(split)} for split in SPLITS]
    assert not any(first & second for kind in (alphabets, points) for first, second in combinations(kind, 2))
    assert [len(part) for part in points] == [810, 88, 179]


def test_letters_leave_pictograms_out_of_meta_train():
    assert [Glyphs().size(split) for split in SPLITS] == [810 - 147 - 50, 88, 179]
    every = set(Glyphs(alphabets="all").labels("meta-train"))
    left_out = {module.drawings().alphabets[label] for label in every - set(Glyphs().labels("meta-train"))}
    assert left_out == {"Misc_symbols", "Geometric"}


def test_every_class_has_at_least_two_faces_with_ink():
    shipped = module.drawings()
    faces = [shipped.faces(label) for label in range(len(shipped.names))]
    assert min(len(rows) for rows in faces) == 2
    assert [rows.start for rows in faces[1:]] == [rows.stop for rows in faces[:-1]]
    assert all(4 <= shipped.drawing(row).sum() <= 44 * 44 for rows in faces for row in rows)


def test_the_fingerprint_is_the_hash_of_the_shipped_file():
    assert (
        Glyphs().fingerprint()
        == Glyphs(size=28, jitter=0.5).fingerprint()
        == hashlib.sha256((DATA / "glyphs.npz").read_bytes()).hexdigest()
    )


def test_rebuilding_gives_the_shipped_drawings_up_to_rasteriser_rounding():
    import matplotlib

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    rebuilt = build_glyphs.build(fonts, {"meta_train": {"Latin": "BC"}, "meta_val": {"Lao": "ກ"}})
    assert rebuilt["splits"].tolist() == ["meta-train", "meta-val"]
    assert np.bincount(rebuilt["class_of"])[:2].tolist() == [16, 16]
    shipped = module.drawings()
    rows = shipped.faces(shipped.names.index("Latin-U+0042"))
    assert len(rows) == 16
    for row, bits in zip(rows, rebuilt["bits"][:16], strict=True):
        assert np.sum(shipped.drawing(row) != np.unpackbits(bits).reshape(64, 64)) <= 4


# ------------------------------------------------------------------ renderer
def test_without_jitter_and_at_full_size_an_image_is_the_drawing():
    shipped = module.drawings()
    tasks = Glyphs(size=64, jitter=0)
    for task in (0, 50, 178):
        label = tasks.labels("meta-test")[task]
        known = [shipped.drawing(row) for row in shipped.faces(label)]
        for image in tasks.episode("meta-test", task, shots=0, query=6, rng=rng(task)).query["x"]:
            assert any(np.array_equal(image[0] > 0, drawing) for drawing in known)
            assert set(np.unique(image)) == {-1, 1}


@pytest.mark.parametrize("size", [16, 32])
def test_small_images_show_what_large_ones_do(size):
    for task in range(0, 80, 20):
        small, large = (Glyphs(size=side).episode("meta-val", task, shots=0, query=8, rng=rng(7)).query["x"] for side in (size, 64))
        block = 64 // size
        averaged = large.reshape(8, size, block, size, block).mean(axis=(2, 4))
        assert np.abs(small[:, 0] - averaged).mean() < 0.06
        assert small.mean() == pytest.approx(large.mean(), abs=0.03)


DISC_RADIUS = 14.0


def render_disc(size, **pose):
    """Render one disc of radius 14 with the given entries of the pose, each in [-1, 1]."""
    y, x = np.mgrid[:64, :64] - 31.5
    # A shallow field: distance is stored up to 7.9 pixels.
    distance = np.rint(np.clip((np.hypot(x, y) - DISC_RADIUS) * module.STEPS, -127, 127)).astype(np.int8)[None]
    names = ["zoom", "stretch", "angle", "shear", "x", "y", "thickness"]
    jitter = {
        "face": np.zeros(1, dtype=np.int64),
        "pose": np.array([[pose.get(name, 0.0) for name in names]]),
        "elastic": np.full((1, 2, 4, 4), pose.get("elastic", 0.0)),
    }
    image = (module.render(distance, jitter, size=size, strength=1.0)[0, 0] + 1) / 2
    return image.astype(np.float64), (np.arange(size) + 0.5) * 64 / size - 32


@pytest.mark.parametrize("size", [16, 28, 64])
@pytest.mark.parametrize("zoom", [-1, 0, 1])
@pytest.mark.parametrize("thickness", [-1, 0, 1])
def test_ink_of_a_disc_is_its_area(size, zoom, thickness):
    image, _ = render_disc(size, zoom=zoom, thickness=thickness)
    low, high = module.SCALE
    radius = (DISC_RADIUS + 0.8 * thickness) * (low + (high - low) * (zoom + 1) / 2)
    assert image.sum() * (64 / size) ** 2 == pytest.approx(np.pi * radius**2, rel=0.02)


@pytest.mark.parametrize("size", [16, 28])
def test_a_shift_moves_the_centre_by_as_much(size):
    image, position = render_disc(size, x=1.0, y=-0.5)
    centre = [(image.sum(axis=axis) * position).sum() / image.sum() for axis in (0, 1)]
    assert centre == pytest.approx([module.SHIFT, -0.5 * module.SHIFT], abs=0.05)


def test_a_uniform_elastic_field_is_a_shift():
    image, position = render_disc(28, elastic=1.0)
    centre = [(image.sum(axis=axis) * position).sum() / image.sum() for axis in (0, 1)]
    zoom = sum(module.SCALE) / 2
    assert centre == pytest.approx([-module.ELASTIC * zoom] * 2, abs=0.05)


def test_stretch_and_shear_change_the_moments_but_not_the_area():
    plain, position = render_disc(64)
    for pose in ({"stretch": 1.0}, {"shear": 1.0}, {"shear": 1.0, "angle": 1.0}):
        image, _ = render_disc(64, **pose)
        assert image.sum() == pytest.approx(plain.sum(), rel=0.02)
    tall, _ = render_disc(64, stretch=1.0)
    spread = [(tall.sum(axis=axis) * position**2).sum() / tall.sum() for axis in (0, 1)]
    assert np.sqrt(spread[1] / spread[0]) == pytest.approx(np.exp(module.ASPECT), rel=0.02)


def test_no_image_is_blank_and_grey_levels_are_eight_bit():
    tasks = Glyphs()
    for split in SPLITS:
        for task in range(tasks.size(split)):
            images = tasks.episode(split, task, shots=2, query=2, rng=rng(task))
            for part in (images.support, images.query):
                assert part["x"].max(axis=(1, 2, 3)).min() > -0.6, images.task_id
    levels = (images.query["x"].astype(np.float64) + 1) * 127.5
    assert levels == pytest.approx(np.rint(levels), abs=1e-4)


def test_an_episode_does_not_depend_on_earlier_ones():
    fresh = Glyphs().episode("meta-test", 17, shots=3, query=3, rng=rng(1))
    used = Glyphs()
    for task in (17, 3, 18):
        used.episode("meta-test", task, shots=5, query=5, rng=rng(2))
    again = used.episode("meta-test", 17, shots=3, query=3, rng=rng(1))
    assert np.array_equal(fresh.support["x"], again.support["x"])
    assert np.array_equal(fresh.query["x"], again.query["x"])


@pytest.mark.parametrize("size", [16, 28])
def test_classes_can_be_told_apart_even_by_pixels(size):
    tasks, random, right = Glyphs(size=size), rng(9), []
    for _ in range(25):
        episodes = [tasks.episode("meta-test", int(task), shots=1, query=3, rng=random) for task in random.choice(179, 20, replace=False)]
        known = np.stack([episode.support["x"].ravel() for episode in episodes])
        asked = np.concatenate([episode.query["x"].reshape(3, -1) for episode in episodes])
        nearest = ((asked[:, None] - known) ** 2).sum(axis=2).argmin(axis=1)
        right.append(np.mean(nearest == np.arange(20).repeat(3)))
    assert np.mean(right) > 0.15  # chance is 0.05; a standard error is below 0.02
