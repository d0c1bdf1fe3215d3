"""Using what was trained: the numbers of the evaluation again, any picture as a sample, and a clear text for everything that cannot be."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

import bench
from bench.cli import main
from bench.contracts import SampleSpec
from bench.driver import adapting, lookup
from bench.driver import run as driver
from bench.driver.images import area_resized, border_median, read_picture
from bench.driver.sheet import picture, sheet
from bench.errors import DataError, ExitCode, NothingSelectedError, PluginError, StoreError, UsageError
from bench.store import load_samples, load_tree, read_ledger, save_tree, tree_metadata

SHOTS, SIDE = 3, 8
SUITE = {
    "question": "Can what was trained be used?",
    "name": "use",
    "primary": {"metric": "energy", "adaptation_step": 2, "compare": ["reptile", "finetune"]},
    "budget": {"outer_steps": 2, "warm_start": {"finetune": 1}},
    "protocol": {
        "shots": SHOTS, "query": 3, "samples": 6, "task_batch": 1, "validations": 0,
        "adaptation_steps": {"train": 1, "test": [0, 2]}, "tasks": {"meta_val": 1, "meta_test": 1},
    },
    "games": ["gan"],
    "task_distributions": [{"digits": {"size": SIDE}}],
    "networks": [{"mlp": {"width": 8}}],
    "gan_losses": ["non-saturating"],
    "meta_learners": [
        "finetune", "reptile", "memorise", {"reptile": {"label": "steered", "test": {"inner_lr": 0.03}}},
        {"maml": {"label": "fragile", "inner_lr": 1e30}}, {"maml": {"label": "broken", "inner_lr": {"generator": 0.1}}}, "scratch",
    ],
    "exclude": [{"meta_learners": "scratch", "reason": "it has learned nothing"}],
    "metrics": ["energy"],
    "feature_extractor": "pixels",
}  # fmt: skip
POINTS = {
    "name": "points", "task_distributions": ["gaussian-rings"], "meta_learners": ["reptile", "finetune"],
    "exclude": [], "feature_extractor": "identity",
}  # fmt: skip
CURVES = {
    "name": "curves", "primary": {"metric": "mse", "adaptation_step": 2, "compare": ["maml", "scratch"]}, "budget": {"outer_steps": 1},
    "games": ["regression"], "task_distributions": ["sinusoids"], "gan_losses": [], "meta_learners": ["maml", "scratch"], "exclude": [],
    "metrics": ["mse"], "feature_extractor": "identity",
}  # fmt: skip
GREY = SampleSpec("image", (1, SIDE, SIDE), -1.0, 1.0)
COLOUR = SampleSpec("image", (3, SIDE, SIDE), 0.0, 1.0)


def trained(folder, **changes):
    """Run a suite without its report, which takes longer than the rest."""
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, **changes}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_report", lambda planned: "")
        assert main(["run", str(path), "--executor", "inline", "--device", "cpu", "--output", str(folder / "results")]) in (0, 1)
    return folder / "results"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def model(results):
    return bench.load_trial(results, select="reptile")


@pytest.fixture
def loaded(model, monkeypatch):
    """The command without its look-up, for what is about images."""
    monkeypatch.setattr(adapting, "load_trial", lambda *arguments, **options: model)
    return model


@pytest.fixture
def say(capsys, tmp_path, monkeypatch):
    """Run ``bench adapt`` in an empty folder; exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def running(*arguments):
        code = main(["adapt", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return running


def stroke(height=20, width=20, *, ink=0, ground=255):
    """(height, width) bytes: a vertical stroke a fifth of the width wide, left of the middle, in the upper half."""
    image = np.full((height, width), ground, np.uint8)
    image[height // 10 : height // 2, width // 5 : 2 * width // 5] = ink
    return image


@pytest.fixture
def drawings(tmp_path):
    """A folder with so many drawings in dark ink on white paper."""

    def drawing(count, folder="drawings"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(count):
            Image.fromarray(stroke(20 + 3 * number, 24)).save(tmp_path / folder / f"{number}.png")
        return tmp_path / folder

    return drawing


def sample_of(path, spec=GREY, *, fit="pad", invert="auto", bright_ground=False):
    return read_picture(path, spec, fit=fit, invert=invert, bright_ground=bright_ground).sample_CHW


# ------------------------------------------------------------------ the numbers of the evaluation
def assert_reproduces(results, **which):
    """Every held-out task's own support and noise give the samples that the trial kept of it."""
    model = bench.load_trial(results, **which)
    kept = load_samples(results / "trials" / model.trial.trial_id / "samples.npz")
    episodes, keys = model.setup.stream.held_out("meta-test")
    for task, (episode, key) in enumerate(zip(episodes, keys, strict=True)):
        for place, step in enumerate(kept["steps"].tolist()):
            adapted = model.adapt(episode.support, steps=step, noise_key=key)
            predicts = model.predicts
            again = adapted.predict(episode.query["x"]) if predicts else adapted.samples(model.trial.protocol["samples"])
            assert again.dtype == np.float32
            np.testing.assert_allclose(again, kept["generated"][place, task], rtol=0, atol=1e-6)


@pytest.mark.parametrize("arm", ["finetune", "reptile", "steered", "memorise"])
def test_a_held_out_task_gives_the_samples_that_were_measured(results, arm):
    assert_reproduces(results, select=arm)


def test_points_are_adapted_to_in_python(tmp_path):
    assert_reproduces(trained(tmp_path, **POINTS), select="reptile")


def test_curves_are_predicted(tmp_path):
    results = trained(tmp_path, **CURVES)
    assert_reproduces(results, select="maml")
    model = bench.load_trial(results, select="maml")
    support = {"x": np.zeros((2, 1)), "y": np.ones((2, 1))}
    assert model.adapt(support, steps=1).predict(np.zeros((5, 1))).shape == (5, 1)
    with pytest.raises(UsageError, match=r"call predict\(inputs\)"):
        model.adapt(support, steps=0).samples(3)
    with pytest.raises(DataError, match="lacks 'y'"):
        model.adapt(np.zeros((2, 1)))


def test_the_chosen_settings_of_a_tuned_arm_are_used(tmp_path):
    results = trained(tmp_path, name="tuned", tuning={"trials": 2, "split": "meta-val"}, meta_learners=["reptile", "finetune"], exclude=[])
    record = json.loads((results / "tuning.json").read_text())
    for arm in record["arms"]:
        if arm["cell"]["arm"] == "reptile":
            arm["chosen"] = 1
            wanted = arm["configurations"][1]
    (results / "tuning.json").write_text(json.dumps(record))
    model = bench.load_trial(results, select="reptile and replicate=0")
    assert wanted["settings"]["inner_lr"] == model.trial.meta_learner.parameters["inner_lr"]
    tried = bench.load_trial(results, wanted["trial_id"])  # a tuning trial by its id, with the same settings
    assert tried.trial.meta_learner == model.trial.meta_learner
    (results / "tuning.json").unlink()
    with pytest.raises(StoreError, match="does not say what tuning chose for reptile"):
        bench.load_trial(results, select="reptile and replicate=0")


# ------------------------------------------------------------------ the Python interface
def test_further_steps_continue_an_adaptation(model):
    support = model.examples(1)[0]
    at_once, in_parts = model.adapt(support, steps=3), model.adapt(support, steps=1).further(2)
    assert (at_once.steps, in_parts.steps) == (3, 3)
    np.testing.assert_array_equal(at_once.samples(4), in_parts.samples(4))
    assert not np.array_equal(at_once.samples(4), model.adapt(support, steps=0).samples(4))


def test_the_seed_is_the_noise(model):
    support = model.examples(1)[0]
    one, same, other = (model.adapt(support, steps=0, seed=seed).samples(4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_a_model_says_what_it_is(model, results):
    assert (model.arm, model.shots, model.sample_spec, model.plays) == ("reptile", SHOTS, GREY, True)
    assert model.examples(2).shape == (2, SHOTS, 1, SIDE, SIDE)
    assert model.trial.trial_id in read_ledger(results).rows


@pytest.mark.parametrize(
    ("support", "message"),
    [
        (np.zeros((3, SIDE, SIDE)), r"shape \(number of samples, 1 x 8 x 8\) with at least one sample, got \[3, 8, 8\]"),
        (np.zeros((0, 1, SIDE, SIDE)), "with at least one sample"),
        (np.full((1, 1, SIDE, SIDE), np.nan), "must be finite"),
        (np.full((1, 1, SIDE, SIDE), 255), r"values in \[255, 255\], but samples of this trial lie in \[-1.0, 1.0\]; rescale"),
        (np.full((1, 1, SIDE, SIDE), "ink"), "must be an array of numbers"),
        ({"y": np.zeros(3)}, "lacks 'x'"),
        ({"x": np.zeros((2, 1, SIDE, SIDE)), "y": np.zeros(3)}, r"has 2 samples 'x', but {'y': 3}"),
    ],
)
def test_a_support_that_does_not_fit_is_refused(model, support, message):
    with pytest.raises(DataError, match=message):
        model.adapt(support)


def test_counts_must_be_counts(model):
    adapted = model.adapt(model.examples(1)[0], steps=0)
    with pytest.raises(UsageError, match="steps must be a whole number of at least 0, got -1"):
        adapted.further(-1)
    with pytest.raises(UsageError, match="at least 1, got 0"):
        adapted.samples(0)
    with pytest.raises(UsageError, match=r"call samples\(n\)"):
        adapted.predict(np.zeros((1, 1)))


# ------------------------------------------------------------------ which trial
def id_of(results, arm):
    return next(row.trial_id for row in read_ledger(results).rows.values() if row.cell["arm"] == arm)


def test_the_beginning_of_an_id_is_enough(results):
    whole = id_of(results, "finetune")
    assert lookup.find(results, whole[:7].upper(), "").trial_id == whole


@pytest.mark.parametrize(
    ("trial", "select", "kind", "message"),
    [
        ("", "", UsageError, r"4 finished trials are meant; name one by the beginning of its id(.|\n)*ok +reptile on digits, mlp"),
        ("zz", "", UsageError, r"no trial's id begins with 'zz'(.|\n)*failed +broken on digits"),
        ("", "cat", NothingSelectedError, "-k 'cat' matches no trial"),
        ("", "reptile and (", UsageError, "cannot be read"),
        ("", "fragile", UsageError, r"is diverged: nan_param at outer step \d of meta-training; .* choose another replicate or arm"),
        ("", "broken", UsageError, r"is failed: no learning rate for player 'discriminator'.*error\.txt has the details"),
        ("", "scratch", UsageError, "is skipped: excluded by the suite: it has learned nothing; .* choose another trial"),
        ("", "broken or fragile", UsageError, "none of the 2 trials that are meant is finished"),
    ],
)
def test_what_is_no_finished_trial_is_told(results, trial, select, kind, message):
    with pytest.raises(kind, match=message):
        lookup.find(results, trial, select)


def test_a_mistyped_id_is_corrected(results):
    whole = id_of(results, "reptile")
    with pytest.raises(UsageError, match=f"Did you mean '{whole}'"):
        lookup.find(results, whole[:-1] + "x", "")


@pytest.fixture
def copied(results, tmp_path):
    """The results folder, to be damaged."""
    shutil.copytree(results, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_missing_checkpoint_is_told(copied):
    shutil.rmtree(copied / "trials")
    with pytest.raises(StoreError, match=r"checkpoint of trial \w+ \(reptile on digits.*\) is missing; copy the trials/"):
        bench.load_trial(copied, select="reptile")


def test_a_missing_suite_is_told(copied):
    (copied / "suite.json").write_text("{")
    with pytest.raises(StoreError, match=r"suite\.json: damaged .*; delete it and run the suite again"):
        bench.load_trial(copied, select="reptile")


def test_no_results_folder_is_told(tmp_path):
    with pytest.raises(StoreError, match="does not exist; check the path"):
        bench.load_trial(tmp_path / "nowhere")


def test_a_component_that_is_gone_is_named(results, monkeypatch):
    monkeypatch.setenv("BENCH_LOAD_PLUGINS", "")
    with pytest.raises((UsageError, PluginError), match=r"cannot be rebuilt: unknown task distribution 'digits'"):
        bench.load_trial(results, select="reptile")


def edited(folder, change):
    suite = json.loads((folder / "suite.json").read_text())
    change(suite)
    (folder / "suite.json").write_text(json.dumps(suite))


def test_what_has_changed_since_is_named_and_the_model_works(copied):
    edited(copied, lambda suite: suite.update(seed=1))  # another identity, the same shapes
    record = next((copied / "environments").glob("*.json"))
    before = json.loads(record.read_text())
    before["versions"]["torch"] = "1.0"
    record.write_text(json.dumps(before))
    with pytest.warns(lookup.ChangedTrialWarning, match=r"has changed since it was trained .*torch was 1\.0, is \d"):
        model = bench.load_trial(copied, select="reptile")
    assert model.trial.trial_id == id_of(copied, "reptile")
    assert model.adapt(model.examples(1)[0], steps=1).samples(2).shape == (2, 1, SIDE, SIDE)


@pytest.mark.filterwarnings("ignore::bench.driver.lookup.ChangedTrialWarning")
def test_other_networks_than_were_trained_are_refused(copied):
    edited(copied, lambda suite: suite["networks"][0]["parameters"].update(width=16))
    with pytest.raises(StoreError, match=r"checkpoint\.safetensors: .* is \[.*\], but the trial's components make"):
        bench.load_trial(copied, select="reptile")


def test_a_suite_without_the_trial_is_told(copied):
    edited(copied, lambda suite: suite["meta_learners"].pop(1))
    with pytest.raises(StoreError, match=r"is not in suite\.json, which has changed since"):
        bench.load_trial(copied, id_of(copied, "reptile"))


# ------------------------------------------------------------------ pictures
def test_area_resizing_keeps_the_mean_and_averages_blocks():
    image = np.arange(2 * 6 * 4, dtype=float).reshape(2, 6, 4)
    np.testing.assert_allclose(area_resized(image, 3, 2), image.reshape(2, 3, 2, 2, 2).mean((2, 4)))
    for height, width in ((4, 3), (7, 9)):
        np.testing.assert_allclose(area_resized(image, height, width).mean((1, 2)), image.mean((1, 2)))
    np.testing.assert_allclose(area_resized(image, 6, 4), image, atol=1e-12)


def test_dark_ink_on_white_becomes_bright_ink_on_dark_ground(tmp_path):
    Image.fromarray(stroke(80, 80)).save(tmp_path / "ink.png")
    Image.fromarray(stroke(80, 80, ink=255, ground=0)).save(tmp_path / "chalk.png")
    ink, chalk = sample_of(tmp_path / "ink.png"), sample_of(tmp_path / "chalk.png")
    np.testing.assert_allclose(ink, chalk, atol=1e-6)
    assert ink.dtype == np.float32
    assert (ink.min(), ink.max(), border_median(ink)[0]) == (-1.0, 1.0, -1.0)
    np.testing.assert_allclose(sample_of(tmp_path / "ink.png", invert="no"), -ink, atol=1e-6)
    np.testing.assert_allclose(sample_of(tmp_path / "chalk.png", invert="yes"), -ink, atol=1e-6)
    np.testing.assert_allclose(sample_of(tmp_path / "chalk.png", bright_ground=True), -ink, atol=1e-6)


SAVED = {
    "grey.png": lambda grey: Image.fromarray(grey),
    "bits.png": lambda grey: Image.fromarray(grey).convert("1"),
    "deep.png": lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
    "palette.png": lambda grey: Image.fromarray(grey).convert("P"),
    "colour.png": lambda grey: Image.merge("RGB", [Image.fromarray(grey)] * 3),
    "grey-alpha.png": lambda grey: Image.merge("LA", [Image.fromarray(grey), Image.new("L", grey.shape[::-1], 255)]),
    "transparent.png": lambda grey: Image.merge("RGBA", [Image.new("L", grey.shape[::-1], 0)] * 3 + [Image.fromarray(255 - grey)]),
    "chalk.png": lambda grey: Image.merge("RGBA", [Image.new("L", grey.shape[::-1], 255)] * 3 + [Image.fromarray(255 - grey)]),
    "PHOTO.JPG": lambda grey: Image.fromarray(grey),
    "print.jpeg": lambda grey: Image.merge("RGB", [Image.fromarray(grey)] * 3).convert("CMYK"),
}


@pytest.mark.parametrize("name", SAVED)
def test_every_way_to_save_a_drawing_gives_the_same_sample(tmp_path, name):
    grey = stroke(80, 80)
    SAVED[name](grey).save(tmp_path / name)
    expected = area_resized(1 - 2 * (grey[None] / 255), SIDE, SIDE)
    lossy = name.lower().endswith(("jpg", "jpeg"))
    np.testing.assert_allclose(sample_of(tmp_path / name), expected, atol=0.05 if lossy else 1e-6)


def test_a_camera_turned_on_its_side_is_turned_back(tmp_path):
    grey = stroke(80, 80)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter to the left, so to be shown turned to the right
    Image.fromarray(np.rot90(grey).copy()).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(grey).save(tmp_path / "upright.png")
    np.testing.assert_allclose(sample_of(tmp_path / "turned.jpg"), sample_of(tmp_path / "upright.png"), atol=0.05)


def test_the_aspect_is_kept_by_padding_or_cropping(tmp_path):
    wide = np.zeros((40, 80), np.uint8)
    wide[:, 40:] = 200
    wide[0] = wide[-1] = wide[:, 0] = wide[:, -1] = 0  # the ground is dark
    Image.fromarray(wide).save(tmp_path / "wide.png")
    padded, cropped = (sample_of(tmp_path / "wide.png", COLOUR, fit=fit) for fit in ("pad", "crop"))
    assert padded.shape == cropped.shape == (3, SIDE, SIDE)
    np.testing.assert_array_equal(padded[:, [0, 1, -2, -1]], 0)  # twice as wide as high: a quarter of ground above and below
    assert (padded[:, 3:5, 5:7] > 0.7).all()
    np.testing.assert_allclose(cropped, area_resized(np.repeat(wide[None, :, 20:60] / 255, 3, axis=0), SIDE, SIDE), atol=1e-6)


def test_colours_keep_their_channels_and_polarity(tmp_path):
    image = np.full((16, 16, 3), 255, np.uint8)
    image[4:12, 4:12] = (255, 0, 0)
    Image.fromarray(image).save(tmp_path / "red.png")
    sample = sample_of(tmp_path / "red.png", COLOUR)
    np.testing.assert_array_equal(sample[:, 4, 4], (1, 0, 0))
    np.testing.assert_array_equal(sample[:, 0, 0], (1, 1, 1))


def test_a_sheet_shows_every_sample_in_whole_pixels():
    samples = np.linspace(-1.5, 1, 5 * SIDE * SIDE).reshape(5, 1, SIDE, SIDE)
    single = np.asarray(picture(samples[0], GREY, 3))
    assert single.shape == (3 * SIDE, 3 * SIDE)
    np.testing.assert_array_equal(single[::3, ::3], single[2::3, 2::3])
    page = np.asarray(sheet("title", [("support", samples), ("step 0", samples[:2])], GREY, columns=3))
    tile = np.asarray(picture(samples[4], GREY, 8))
    found = np.lib.stride_tricks.sliding_window_view(page[:, :, 0], tile.shape)[::1, ::1]
    corners = np.argwhere(found[:, :, 0, 0] == tile[0, 0])
    assert sum(np.array_equal(found[top, left], tile) for top, left in corners) == 1


# ------------------------------------------------------------------ the command
def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_the_command_writes_sheet_samples_and_record(results, say, drawings, tmp_path):
    folder = drawings(4)
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden").write_text("")
    code, out, err = say(results, id_of(results, "reptile")[:8], "--images", folder, "--steps", "2", "--samples", "5")
    assert code == ExitCode.OK
    assert "reptile on digits, replicate 0" in out
    assert "3 images (0.png, 1.png, 2.png)" in out
    assert "left out what is neither PNG nor JPEG: notes.txt" in err
    assert "took the first 3 of 4 images by name, left 3.png" in err
    assert "inverted" in err
    adapted = tmp_path / "adapted"
    record = json.loads((adapted / "adapted.json").read_text())
    assert record["trial_id"] == id_of(results, "reptile")
    assert (record["steps"], record["cell"]["arm"]) == ([0, 1, 2], "reptile")
    assert [(one["name"], one["inverted"]) for one in record["images"]] == [(f"{number}.png", True) for number in range(3)]
    assert str(tmp_path) not in (adapted / "adapted.json").read_text()
    arrays = load_samples(adapted / "samples.npz")
    assert arrays["generated"].shape == (3, 5, 1, SIDE, SIDE)
    again = bench.load_trial(results, record["trial_id"]).adapt(arrays["support"], steps=2)
    np.testing.assert_allclose(arrays["generated"][-1], again.samples(5), atol=1e-6)
    assert sorted(path.name for path in (adapted / "samples").iterdir()) == [f"{number:03d}.png" for number in range(5)]
    assert size_of(adapted / "samples" / "000.png") == (128, 128)
    assert size_of(adapted / "grid.png")[0] > 5 * 64


def test_a_second_call_replaces_the_first(loaded, say, drawings, tmp_path):
    base = ["results", "--images", drawings(SHOTS), "--steps", "0", "--json"]
    assert say(*base, "--samples", "4")[0] == ExitCode.OK
    code, out, _ = say(*base, "--samples", "2", "--scale", "1", "--shots", "2", "--seed", "5")
    assert code == ExitCode.OK
    assert json.loads(out)["samples"] == 2
    assert sorted(path.name for path in (tmp_path / "adapted" / "samples").iterdir()) == ["000.png", "001.png"]
    assert size_of(tmp_path / "adapted" / "samples" / "000.png") == (SIDE, SIDE)


def test_other_peoples_folders_are_left_alone(loaded, say, drawings, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    base = ["results", "--images", drawings(SHOTS), "--steps", "0", "--out", "mine"]
    code, _, err = say(*base)
    assert (code, "holds other things" in err, "--force" in err) == (ExitCode.USAGE, True, True)
    assert say(*base, "--force")[0] == ExitCode.OK
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all of it"
    assert say(*base[:-1], "mine/thesis.tex")[2] == "bench: mine/thesis.tex is a file; name a folder with --out\n"


def blank(folder):
    Image.new("L", (9, 9), 255).save(folder / "1.png")


def corrupt(folder):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])


def renamed(folder):
    (folder / "1.png").write_text("no picture at all")


def only_others(folder):
    for path in folder.iterdir():
        path.rename(path.with_suffix(".tiff"))


def emptied(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("harm", "options", "message"),
    [
        (lambda folder: None, ["--shots", "5"], r"drawings: holds 3 images, but --shots asks for 5; add 2, or pass --shots 3"),
        (lambda folder: (folder / "2.png").unlink(), [], r"holds 2 images, but the trial's protocol has 3 shots; add 1, or pass --shots 2"),
        (blank, [], r"1\.png: is blank at 8 x 8 pixels"),
        (corrupt, [], r"1\.png: not an image that can be read \(.+\); save it again"),
        (renamed, [], r"1\.png: not an image that can be read \(its content is neither PNG nor JPEG\)"),
        (only_others, [], r"holds no PNG or JPEG image, only 0\.tiff, 1\.tiff, 2\.tiff; put images there"),
        (emptied, [], r"holds no PNG or JPEG image; put images there"),
        (shutil.rmtree, [], r"drawings: does not exist; name a folder that holds PNG or JPEG images"),
    ],
)  # fmt: skip
def test_images_that_cannot_be_used_are_named(loaded, say, drawings, tmp_path, harm, options, message):
    folder = drawings(SHOTS)
    harm(folder)
    code, _, err = say("results", "--images", folder, *options)
    assert code == ExitCode.USAGE
    assert re.search(message, err)
    assert not (tmp_path / "adapted").exists()


def test_a_sampler_cannot_be_given_images(results, say, drawings):
    code, _, err = say(results, "-k", "memorise", "--images", drawings(SHOTS))
    assert code == ExitCode.USAGE
    assert "(memorise on digits) draws from its support itself" in err
    assert "bench.load_trial(...).adapt(array)" in err


def test_points_are_no_images(loaded, say, drawings, monkeypatch):
    points = type("Points", (), {"sample_spec": SampleSpec("points", (2,)), "trial": loaded.trial, "arm": "reptile"})
    monkeypatch.setattr(adapting, "load_trial", lambda *arguments, **options: points())
    code, _, err = say("results", "--images", drawings(SHOTS))
    assert code == ExitCode.USAGE
    assert "has samples of kind points, 2, so it cannot adapt to image files" in err


def test_samples_that_are_no_numbers_are_an_error(results, say, drawings, copied):
    path = copied / "trials" / id_of(results, "reptile") / "checkpoint.safetensors"
    save_tree(path, {name: tensor * np.nan for name, tensor in load_tree(path).items()}, metadata=tree_metadata(path))
    code, _, err = say(copied, "-k", "reptile", "--images", drawings(SHOTS))
    assert code == ExitCode.USAGE
    assert "adaptation diverged: samples are not finite after 0 steps; pass fewer --steps" in err


def test_the_command_says_what_has_changed(say, copied, drawings):
    edited(copied, lambda suite: suite.update(seed=1))
    code, _, err = say(copied, "-k", "reptile", "--images", drawings(SHOTS), "--steps", "1", "--samples", "1")
    assert code == ExitCode.OK
    assert "not its plugins or their versions, so bench itself, the data, or suite.json" in err


def test_nothing_selected_has_its_own_exit_code(results, say, drawings):
    assert say(results, "-k", "cat", "--images", drawings(SHOTS))[0] == ExitCode.NOTHING_SELECTED


def test_a_missing_device_is_no_obstacle(results, model, monkeypatch):
    """A trial of a GPU is used on the CPU where there is none."""
    monkeypatch.setattr(lookup, "_rebuilt", lambda *arguments: replace(model.trial, device="cuda"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert bench.load_trial(results, select="reptile").trial.device == "cpu"
