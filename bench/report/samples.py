"""What the arms generate, to be looked at: which samples are shown, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report.blocks import Block, Gallery, Paragraph
from bench.report.estimates import Estimates
from bench.report.grids import arm_grid, comparison
from bench.report.kept import load_samples, sample_files, shown_replicate
from bench.report.study import Slice
from bench.report.style import Look


def samples_blocks(folders: Sequence[Path], estimates: Estimates, styles: Mapping[str, Look]) -> tuple[Block, ...]:
    """Grids of every arm in every slice; nothing where no trial kept samples that have a picture.

    Args:
        folders: results folders; a trial's samples lie in ``trials/`` of one of them.
        estimates: of the study.
        styles: look per arm.
    """
    study = estimates.study
    blocks: list[Block] = []
    for slice_ in study.slices:
        files = sample_files(folders, study, slice_)
        if not files:
            continue
        replicate = shown_replicate(files)
        samples = {arm: load_samples(path) for arm, path in files[replicate].items()}
        compared = comparison(study, slice_, samples, styles)
        if compared is None:
            continue
        blocks += [Paragraph(slice_.label, "heading"), *_likeness(estimates, slice_), Gallery((compared,), wide=True)]
        without = [arm.name for arm in study.arms_of(slice_) if arm.name not in samples]
        if without:
            blocks.append(Paragraph(f"No samples of replicate {replicate}: {', '.join(without)}."))
        asked = {arm.name for pair in study.compared(slice_)[:1] for arm in pair}
        grids = [(a, arm_grid(slice_, a, samples[a.name], styles)) for a in study.arms_of(slice_) if a.name in samples]
        main = tuple(p for a, p in grids if p and asked & {a.name, a.twin})
        rest = tuple(p for a, p in grids if p and p not in main)
        blocks += [Gallery(main, wide=True)] if main else []
        blocks += [Gallery(rest, wide=True, folded=f"Samples of {len(rest)} other arms on {slice_.label}")] if rest else []
    words = (
        "One replicate, the first tasks of the meta-test split, the same noise for every arm: no sample was chosen. Judge by eye whether "
        "they look like the class; the share among real ones (precision) is a rough guide. Values that are not finite are orange. Nearest "
        "support: of the support samples that the trial kept, the one nearest to each generated image after the last step; the number is "
        "their distance in units of the usual one from a new real sample to the support, 0 for a copy."
    )
    return (Paragraph(words), *blocks) if blocks else ()


def _likeness(estimates: Estimates, slice_: Slice) -> tuple[Paragraph, ...]:
    """Whether samples look like their class, in numbers: the share that falls among real ones, for the arms of the question."""
    study = estimates.study
    if "precision" not in study.metrics_of(slice_):
        return ()
    rows = study.test_of(slice_)
    step = int(rows.loc[rows["metric"] == "precision", "adaptation_step"].max())
    asked = dict.fromkeys(arm.name for pair in study.compared(slice_) for arm in pair)
    found = {name: estimates.at(slice_, name, "precision", step) for name in asked}
    shares = [f"{name} {100 * e.value:.0f} %" for name, e in found.items() if math.isfinite(e.value)]
    if not shares:
        return ()
    best = max(e.value for e in found.values() if math.isfinite(e.value))
    verdict = "Most look" if best >= 0.75 else "Many do not look" if best >= 0.25 else "Most do not look"
    said = f"After {step} adaptation steps this share of generated samples falls among real ones of the task: {', '.join(shares)}."
    return (Paragraph(f"{said} {verdict} like their class."),)
