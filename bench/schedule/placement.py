"""Which trials share a card: by the memory that trials of their kind were measured to take, not by what anybody declares.

Pure: cards are numbers of bytes, and nothing here touches a device. A trial is given what a short probe of its lane took
at its peak, with something to spare, beside what every process takes for itself; PyTorch is told to keep to it. A trial
that runs out of memory beside others is tried again alone, on the largest card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.schedule.queue import Job

CONTEXT_BYTES = 700 << 20
"""Of a process beside its tensors: CUDA context, kernels and library workspaces; 400 to 600 MB on cards since 2020."""
SPARE = 1.25
"""What the caching allocator reserves over the peak of what is allocated, and what a probe of few steps may not have seen."""
SEATS = 8
"""Processes on one card at most: small trials wait for the host's Python rather than for the card beyond that."""


@dataclass(frozen=True)
class Card:
    """Bytes of memory of a card, all and those that nobody had taken when the run began."""

    total: int
    free: int


class Packing:
    """Which jobs run on which card.

    Args:
        cards: the cards, equal or not.
    """

    def __init__(self, cards: Sequence[Card]) -> None:
        self.cards = list(cards)
        self._taken: list[dict[str, float]] = [{} for _ in self.cards]
        self._peaks: dict[str, float] = {}
        self._alone: set[str] = set()
        self._packed: set[str] = set()

    def learn(self, lane: str, peak_bytes: float) -> None:
        """A trial of ``lane`` was measured to take so much at its peak; the largest counts."""
        self._peaks[lane] = max(peak_bytes, self._peaks.get(lane, 0.0))

    def need(self, job: Job) -> float:
        """Bytes of a card that a job is given, infinite for a whole card: nothing is known of its lane, or it is to be alone."""
        peak = math.inf if job.key in self._alone else self._peaks.get(job.lane, math.inf)
        return peak * SPARE + CONTEXT_BYTES

    def fits(self, job: Job, card: int) -> bool:
        """Whether a job may start on a card now."""
        largest = max(range(len(self.cards)), key=lambda one: self.cards[one].free)
        need, taken = self.need(job), self._taken[card]
        if job.key in self._alone or (need > self.cards[largest].free and math.isfinite(need)):
            return card == largest and not taken
        if self._alone and card == largest:
            return False  # else small jobs would keep the card from ever being empty
        return not taken if math.isinf(need) else sum(taken.values()) + need <= self.cards[card].free

    def seats(self, card: int) -> int:
        """How many processes a card is worth: as many as fit of the smallest lane, at least one."""
        smallest = min((peak * SPARE + CONTEXT_BYTES for peak in self._peaks.values()), default=math.inf)
        return max(1, min(SEATS, int(self.cards[card].free / smallest)))

    def begin(self, job: Job, card: int) -> float:
        """A job starts on a card; returns the share of the card's memory that its tensors may take."""
        need = self.need(job)
        self._alone.discard(job.key)
        self._taken[card][job.key] = need
        if len(self._taken[card]) > 1:
            self._packed.update(self._taken[card])
        return min(1.0, (need - CONTEXT_BYTES) / self.cards[card].total)

    def end(self, job: Job) -> bool:
        """A job has left its card; whether it shared the card with another one at any time."""
        for taken in self._taken:
            taken.pop(job.key, None)
        packed = job.key in self._packed
        self._packed.discard(job.key)
        return packed

    def set_apart(self, job: Job) -> None:
        """Let a job's next attempt have the largest card to itself."""
        self._alone.add(job.key)
