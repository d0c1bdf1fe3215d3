"""Cells that several drivers share: each runs what nobody else does, and goes on until all of them have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bench.store import Store

POLL_SECONDS = 1.0  # how often a driver that has nothing left to run looks whether the others have ended or died


@dataclass
class Claims:
    """What this driver may run.

    Attributes:
        store: the results folder.
        attempts: by trial id, how many attempts at a cell had ended when it was found missing; one beyond is another driver's.
        refused: cells that another driver runs or has run.
    """

    store: Store
    attempts: Mapping[str, int]
    refused: set[str] = field(default_factory=set)

    def take(self, trial_id: str) -> bool:
        """Whether this driver runs a cell: from now on no other does."""
        taken = self.store.claim(trial_id, attempts=self.attempts.get(trial_id, 0))
        (self.refused.discard if taken else self.refused.add)(trial_id)
        return taken

    def orphans(self, trial_ids: Iterable[str], *, on_wait: Callable[[], None], pause: Callable[[float], None] = time.sleep) -> set[str]:
        """Wait for the other drivers.

        Args:
            trial_ids: cells that this driver would have run.
            on_wait: called about once a second.
            pause: sleeps for so many seconds.

        Returns:
            Cells whose driver has died, as soon as there are any; none when all cells have ended.
        """
        refused = self.refused & set(trial_ids)
        while True:
            self.store.catch_up()
            open_ = {one for one in refused if not self.store.ended_since(one, attempts=self.attempts.get(one, 0))}
            orphans = {one for one in open_ if not self.store.runs_elsewhere(one)}
            if orphans or not open_:
                return orphans
            on_wait()
            pause(POLL_SECONDS)
