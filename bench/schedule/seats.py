"""Where workers may sit: a core each, or a share of a card; how many there is room for, and how Ray is asked for them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.schedule.cluster import worker_environment
from bench.schedule.placement import SEATS
from bench.schedule.worker import Worker

_RESERVE_SECONDS = 60


@dataclass(frozen=True)
class Seat:
    """Room for one worker.

    Attributes:
        rank: of the seat on its card, from 0: a card that has room for few trials needs its first seats only.
        card: number of the card that its worker shares by measured memory; None where it has a core, or a declared share.
        options: what Ray is asked for.
    """

    rank: int
    card: int | None
    options: dict[str, Any]


class Seats:
    """All seats of a run; use it as a context manager, since cards are reserved.

    Args:
        ray: the module, connected.
        slots: workers at a time, at most.
        gpus_per_slot: GPU share of a worker, 0 for none; None for cards that workers share by measured memory.

    Raises:
        BenchError: there is room for none.
    """

    def __init__(self, ray: Any, slots: int, gpus_per_slot: float | None) -> None:
        self._ray = ray
        self._groups: list[Any] = []
        self._gpus = gpus_per_slot
        self.all: list[Seat] = []
        resources = ray.cluster_resources()
        if gpus_per_slot is None:
            self._share_cards(slots)
        else:
            options = {"num_cpus": 1, "num_gpus": gpus_per_slot}
            self.all = [Seat(0, None, options)] * min(slots, room(resources, gpus_per_slot))

    @property
    def cards(self) -> int:
        """How many cards are shared by measured memory."""
        return len(self._groups)

    def start(self, seat: Seat, folder: str, marker: str) -> Any:
        """Begin to start a worker; it greets when it is up."""
        groups = {"control": 1}  # so that a worker can be told to stop while it works
        made = self._ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups=groups, **seat.options)(Worker)
        return made.options(runtime_env={"env_vars": worker_environment(gpus=self._gpus != 0)}).remote(folder, marker)

    def __enter__(self) -> Seats:
        return self

    def __exit__(self, *error: object) -> None:
        for group in self._groups:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):  # the cluster may be gone
                self._ray.util.remove_placement_group(group)

    def _share_cards(self, slots: int) -> None:
        """Reserve whole cards, each with some cores of its node, and offer each as several seats."""
        for node in self._ray.nodes():
            offered = node["Resources"] if node["Alive"] else {}
            gpus, cores = int(offered.get("GPU", 0)), int(offered.get("CPU", 0))
            for _ in range(min(gpus, cores, slots - len(self._groups))):
                seats = max(1, min(SEATS, cores // gpus))
                here = {name: 0.001 for name in offered if name.startswith("node:") and name != "node:__internal_head__"}
                group = self._ray.util.placement_group([{"GPU": 1, "CPU": seats, **here}])
                self._groups.append(group)
                place = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
                options = {"num_cpus": 1, "num_gpus": 1 / SEATS, "scheduling_strategy": place}
                self.all += [Seat(rank, len(self._groups) - 1, options) for rank in range(seats)]
        self.all.sort(key=lambda seat: seat.rank)  # a trial on each card before two on one
        if not self._groups:
            raise _no_room(self._ray.cluster_resources(), "a card")
        try:
            self._ray.get([group.ready() for group in self._groups], timeout=_RESERVE_SECONDS)
        except self._ray.exceptions.GetTimeoutError as error:
            raise BenchError(
                f"the Ray cluster did not give {len(self._groups)} cards within {_RESERVE_SECONDS} s; wait for its other users, "
                "or use fewer with --jobs"
            ) from error


def room(resources: dict[str, float], gpus_per_slot: float) -> int:
    """Workers of one core and a share of a card each that a cluster has room for.

    Raises:
        BenchError: for none.
    """
    workers = int(resources.get("CPU", 0))
    if gpus_per_slot > 0:
        # Shares are per card: 0.4 fits twice on one, however many cards there are.
        cards = resources.get("GPU", 0)
        workers = min(workers, int(cards) * int(1 / gpus_per_slot + 1e-9) if gpus_per_slot <= 1 else int(cards // gpus_per_slot))
    if workers < 1:
        raise _no_room(resources, f"{gpus_per_slot:g} GPUs")
    return workers


def _no_room(resources: dict[str, float], gpus: str) -> BenchError:
    return BenchError(
        f"the Ray cluster has {resources.get('CPU', 0):g} cores and {resources.get('GPU', 0):g} GPUs, a worker needs 1 core and {gpus}; "
        "connect to a larger cluster or use --executor inline"
    )
