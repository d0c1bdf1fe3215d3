"""What is wrong with generated samples, named from measures alone: a decision list over means across tasks.

No single measure tells the faults apart; this order does. Faults that hide others come first: a constant has no diversity to speak of,
and copies of the support look diverse and faithful to every other measure. Thresholds lie about midway between the values of planted
generators (:mod:`bench.measure.planted`, 8 modes, 10 to 64 samples) on either side of them; the audit counts how often the name is right.

Loss of modes shows where modes are further apart than they are wide. Eight glyph classes with their wide jitter are not: with half of
them the Vendi ratio stays at 0.9 (no fault is named), with one of them at 0.5 to 0.7 (lost modes). Constants, copies, memorisation and
noise are named there too, and so is shrinkage in pixels; in a learned extractor's features greyish images read as lost modes.
No plugins, files or global random state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.errors import MetricError

NEEDED = ("pairwise-distance", "novelty", "precision", "vendi")
"""Measures that the name depends on, by the names of their metrics."""
SOUND, UNDEFINED = "no fault", "undefined"

CONSTANT = 0.05
"""Pairwise-distance ratio of a constant: 0 but for rounding; one mode of eight still has 0.27."""
COPIED = 0.5
"""Nearest-support ratio: 0 for copies, 1 for new samples."""
AMONG_REAL = 0.5
"""Precision: 0.95 for real samples, 0.1 for noise 1.25 times as wide as the data."""
ONE_MODE = 0.4
"""Vendi ratio: 0.22 to 0.27 for one mode of eight, 0.66 to 0.73 for half of them."""
LOST_MODES = 0.85
"""Vendi ratio: 0.66 to 0.73 for half of the modes, 0.97 or more where none is lost."""
SHRUNKEN = 0.8
"""Pairwise-distance ratio: 0.6 for deviations shrunk to 0.6, 1 without; half of the modes have 0.9."""


def name_fault(measures: Mapping[str, float]) -> str:
    """The fault of a generator.

    Args:
        measures: mean over tasks of each of :data:`NEEDED`, against held-out real samples at equal counts; others are not looked at.

    Returns:
        ``no fault``, ``constant`` (one sample, among no real ones), ``mean image`` (one sample, among real ones, none of the support),
        ``copies`` (one support sample), ``memorised support`` (several), ``noise``, ``one mode``, ``lost modes``, ``shrunken``, or
        ``undefined`` where a measure is not finite.

    Raises:
        MetricError: a measure is missing.
    """
    missing = [name for name in NEEDED if name not in measures]
    if missing:
        raise MetricError(f"a fault is named from {', '.join(NEEDED)}; missing: {', '.join(missing)}; add these metrics to the suite")
    spread, novelty, precision, vendi = (float(measures[name]) for name in NEEDED)
    if not all(math.isfinite(value) for value in (spread, novelty, precision, vendi)):
        return UNDEFINED
    if spread < CONSTANT:
        return "copies" if novelty < COPIED else "mean image" if precision >= AMONG_REAL else "constant"
    if novelty < COPIED:
        return "memorised support"
    if precision < AMONG_REAL:
        return "noise"
    if vendi < LOST_MODES:
        return "one mode" if vendi < ONE_MODE else "lost modes"
    # Directions are kept here, so short distances are lost spread, not lost modes.
    return "shrunken" if spread < SHRUNKEN else SOUND
