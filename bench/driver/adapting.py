"""The whole of ``bench adapt``: a trained model and a folder of images -> samples like these, and a sheet that shows how they came."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.driver.images import Fit, Invert, Listing, Picture, border_median, enumerated, list_pictures, read_picture
from bench.driver.lookup import ChangedTrialWarning, load_trial
from bench.driver.sheet import picture, png, sheet
from bench.errors import DataError, UsageError
from bench.store import save_samples, unwritable, write_atomic

if TYPE_CHECKING:
    from bench.trial.trained import TrainedModel

Array = np.ndarray[Any, Any]

SHEET, RECORD, ARRAYS, SINGLE = "grid.png", "adapted.json", "samples.npz", "samples"
SHOWN = (0, 1, 5, 10, 25, 50, 100, 250, 500, 1000)  # adaptation steps on the sheet, up to the last one, which is added
COLUMNS = 16  # samples of a row of the sheet
LARGEST_SCALE = 256
SIDE = 128  # pixels of a single picture, about, where no scale is given
EXAMPLES = 8  # meta-train tasks whose ground is looked at


@dataclass(frozen=True)
class AdaptOptions:
    """What ``bench adapt`` is told beside the results folder and the images.

    Attributes:
        trial, select: which trial, see :func:`bench.load_trial`.
        shots: images to adapt to; None: as many as the trial's protocol says.
        steps: adaptation steps.
        samples: how many are drawn.
        seed: of the noise.
        fit, invert: see :func:`bench.driver.images.read_picture`.
        scale: pixels a side of each pixel of a single picture; None: about 128 pixels a picture.
        output: folder to write.
        force: write into a folder that holds other things.
        suite, allow_local: where the trial is made of local plugins, see :func:`bench.load_trial`.
    """

    trial: str = ""
    select: str = ""
    shots: int | None = None
    steps: int = 25
    samples: int = 32
    seed: int = 0
    fit: Fit = "pad"
    invert: Invert = "auto"
    scale: int | None = None
    output: Path = Path("adapted")
    force: bool = False
    suite: Path | None = None
    allow_local: bool = False


def adapt(results: Path, images: Path, options: AdaptOptions, say: Callable[[str], None], note: Callable[[str], None]) -> dict[str, Any]:
    """Adapt a trial of ``results`` to the images in a folder, and write samples.

    Args:
        results: results folder.
        images: folder of PNG and JPEG files.
        options: the rest.
        say: told what was done.
        note: told what a user should know besides.

    Returns:
        The record that is written as ``adapted.json``.

    Raises:
        UsageError, DataError, StoreError, NothingSelectedError, PluginError: as their texts say.
    """
    listing = list_pictures(images)
    if (options.scale or 1) > LARGEST_SCALE:
        raise UsageError(f"--scale {options.scale} makes pictures beyond use; give {LARGEST_SCALE} at most")
    _check_output(options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ChangedTrialWarning)
        model = load_trial(results, options.trial, select=options.select, suite=options.suite, allow_local_plugins=options.allow_local)
    for warning in caught:
        note(str(warning.message))
    _check_images_fit(model)
    pictures = _chosen(listing, model, options)
    _tell(listing, pictures, options, note)
    support = np.stack([one.sample_CHW for one in pictures])
    steps = sorted({step for step in SHOWN if step < options.steps} | {options.steps})
    generated_KN = _generated(model, support, steps, options)
    record = _record(model, pictures, steps, options)
    _write(model, support, steps, generated_KN, record, options)
    say(
        f"{model.arm} on {model.trial.place}, replicate {model.trial.replicate}, trial {model.trial.trial_id}: adapted in {options.steps} "
        f"steps to {len(pictures)} images ({enumerated([one.name for one in pictures])})"
    )
    say(f"{options.output / SHEET}\n{options.samples} samples in {options.output / SINGLE}")
    return record


def _check_output(options: AdaptOptions) -> None:
    """Refuse to mix samples with things that somebody else keeps in the folder."""
    folder = options.output
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file() and not options.force:
        raise UsageError(f"{folder} holds other things than adapted samples; choose another folder with --out, or write there with --force")


def _check_images_fit(model: TrainedModel) -> None:
    spec, who = model.sample_spec, f"trial {model.trial.trial_id} ({model.arm} on {model.trial.place})"
    cure = "choose a trial of images with networks, or use bench.load_trial(...).adapt(array) in Python"
    if spec.kind != "image" or spec.shape[0] not in (1, 3):
        shape = " x ".join(map(str, spec.shape))
        raise UsageError(f"{who} has samples of kind {spec.kind}, {shape}, so it cannot adapt to image files; {cure}")
    if model.predicts or spec.classes:
        raise UsageError(f"{who} needs labels, which image files do not have; {cure}")
    if not model.plays:
        raise UsageError(f"{who} draws from its support itself and has no network to adapt to image files; {cure}")


def _chosen(listing: Listing, model: TrainedModel, options: AdaptOptions) -> list[Picture]:
    """The first so many files by name, as samples."""
    shots, count = options.shots or model.shots, len(listing.pictures)
    if count < shots:
        asked = f"--shots asks for {shots}" if options.shots else f"the trial's protocol has {shots} shots"
        raise DataError(f"{listing.folder}: holds {count} images, but {asked}; add {shots - count}, or pass --shots {count}")
    bright = bool(np.median([border_median(image)[0] for task in model.examples(EXAMPLES) for image in task]) > _middle(model))
    return [
        read_picture(listing.folder / name, model.sample_spec, fit=options.fit, invert=options.invert, bright_ground=bright)
        for name in listing.pictures[:shots]
    ]


def _middle(model: TrainedModel) -> float:
    low, high = model.sample_spec.low, model.sample_spec.high
    return 0.5 if low is None or high is None else (low + high) / 2


def _tell(listing: Listing, pictures: list[Picture], options: AdaptOptions, note: Callable[[str], None]) -> None:
    if listing.others:
        note(f"{listing.folder}: left out what is neither PNG nor JPEG: {enumerated(listing.others)}")
    if left := listing.pictures[len(pictures) :]:
        note(f"{listing.folder}: took the first {len(pictures)} of {len(listing.pictures)} images by name, left {enumerated(left)}")
    inverted = [one.name for one in pictures if one.inverted]
    if inverted and options.invert == "auto":
        note(f"inverted, since the trial's samples have the other polarity: {enumerated(inverted)} (--invert no leaves them)")


def _generated(model: TrainedModel, support: Array, steps: list[int], options: AdaptOptions) -> Array:
    """(K, N, C, H, W) samples after each of ``steps``, from one noise."""
    adapted = model.adapt(support, steps=0, seed=options.seed)
    taken: list[Array] = []
    for step in steps:
        adapted = adapted.further(step - adapted.steps)
        taken.append(adapted.samples(options.samples))
        if not np.isfinite(taken[-1]).all():
            raise UsageError(f"adaptation diverged: samples are not finite after {step} steps; pass fewer --steps, or choose another trial")
    return np.stack(taken)


def _record(model: TrainedModel, pictures: list[Picture], steps: list[int], options: AdaptOptions) -> dict[str, Any]:
    """What was done, without a path of this machine."""
    return {
        "trial_id": model.trial.trial_id,
        "cell": model.trial.cell(),
        "sample_spec": asdict(model.sample_spec),
        "steps": steps,
        "samples": options.samples,
        "seed": options.seed,
        "fit": options.fit,
        "images": [{"name": one.name, "sha256": one.digest, "inverted": one.inverted} for one in pictures],
    }


def _write(
    model: TrainedModel, support: Array, steps: list[int], generated_KN: Array, record: dict[str, Any], options: AdaptOptions
) -> None:
    """Everything in the output folder; what an earlier call left there of its own goes."""
    folder, spec = options.output, model.sample_spec
    scale = options.scale or max(1, round(SIDE / max(spec.shape[1:])))
    title = f"{model.arm} on {model.trial.place}, trial {model.trial.trial_id[:8]}: {len(support)} images, {options.steps} steps"
    rows = [("support", support), *((f"step {step}", samples[:COLUMNS]) for step, samples in zip(steps, generated_KN, strict=True))]
    try:
        (folder / SINGLE).mkdir(parents=True, exist_ok=True)
        if (folder / RECORD).is_file():
            for path in (folder / SINGLE).glob("[0-9]*.png"):
                path.unlink()
    except OSError as error:
        raise unwritable(folder, error) from error
    for number, sample in enumerate(generated_KN[-1]):
        write_atomic(folder / SINGLE / f"{number:03d}.png", png(picture(sample, spec, scale)))
    save_samples(folder / ARRAYS, {"support": support, "steps": np.asarray(steps), "generated": generated_KN})
    write_atomic(folder / SHEET, png(sheet(title, rows, spec, columns=COLUMNS)))
    write_atomic(folder / RECORD, json.dumps(record, indent=1).encode())
