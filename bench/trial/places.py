"""Where along a budget measurements are taken, such that those of a longer budget are among those of a shorter one.

They are taken where what is spent passes a multiple of a power of two: the smallest of which no more than a given number fit into the
budget. So a trial that goes on with a larger budget keeps of its curves what a fresh one would have, and drops the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Place = tuple[int, float]
"""Outer steps done, and how much of the budget they have spent."""


def spacing(amount: float, most: int) -> float:
    """The smallest power of two of which no more than ``most`` multiples fit into ``amount``; infinite where nothing is to be spent."""
    return 2.0 ** math.ceil(math.log2(amount / most)) if amount > 0 else math.inf


def is_due(spent: float, taken: Sequence[Place], spacing: float) -> bool:
    """Whether ``spent`` has passed a multiple of ``spacing`` since the last place taken; the start is one."""
    return not taken or spent // spacing > taken[-1][1] // spacing


def thinned(taken: Iterable[Place], spacing: float) -> list[Place]:
    """The places that a larger ``spacing`` would have taken."""
    kept: list[Place] = []
    for place in taken:
        if is_due(place[1], kept, spacing):
            kept.append(place)
    return kept
