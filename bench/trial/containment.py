"""A trial harms nothing but itself: what its components change is put back, what they raise is told with their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.errors import ContractError
from bench.grid.cells import Trial
from bench.registry.blame import Suspect, changed_by, raised_by, suspects
from bench.registry.global_state import undisturbed
from bench.registry.plugins import NOUNS, OWN_DISTRIBUTION
from bench.registry.registry import Registry
from bench.suite.model import Component


@contextmanager
def contained(trial: Trial, registry: Registry) -> Iterator[Callable[[], None]]:
    """Run a trial in the body.

    Yields:
        A function that refuses a change of what all components share, for the middle of a long body.

    Raises:
        ContractError: a component has changed what all share; the text names it. What the body raises goes its way, with a note of
            the component whose code was running.
    """

    def those() -> list[Suspect]:  # asked for where something is wrong, because reading sources takes time
        return suspects(components(trial), registry)

    try:
        with undisturbed(lambda parts: changed_by(parts, those())) as check:
            yield check
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # plugin boundary: sys.exit included
        if told := _told(error, those()):
            error.add_note(told)
        raise


def _told(error: BaseException, those: list[Suspect]) -> str:
    """Whose code was running, or, where nobody's was, as after a wrong answer, what of the trial is not built in."""
    if who := raised_by(error, those):
        return f"in {who}"
    foreign = [str(one) for one in those if one.info.distribution != OWN_DISTRIBUTION]
    return f"the trial uses {', '.join(foreign)}" if foreign else ""


class Settled:
    """Components as they were made: what one keeps on itself leaks from task to task, and is in no checkpoint."""

    def __init__(self, made: Iterable[tuple[Component, Any]]) -> None:
        self._before = [(component, part, dict(getattr(part, "__dict__", {}))) for component, part in made]

    def check(self) -> None:
        """Refuse a component that has set one of its attributes since.

        Raises:
            ContractError: names it.
        """
        for component, part, before in self._before:
            now = getattr(part, "__dict__", {})
            changed = [name for name in {**before, **now} if name not in before or name not in now or before[name] is not now[name]]
            if changed:
                raise ContractError(
                    f"{NOUNS[component.family]} {component.label!r} sets {', '.join(changed)} on itself while it runs, which leaks from "
                    "task to task and is in no checkpoint; return it as state"
                )


def components(trial: Trial) -> list[Component]:
    """Everything that a trial is made of."""
    there, warm = trial.transfer, trial.budget["warm_start"]
    single = (trial.game, trial.task_distribution, trial.network, trial.gan_loss, trial.meta_learner, trial.feature_extractor)
    several = (*trial.regularisers, *trial.augmentations, *trial.metrics)
    elsewhere = (there.task_distribution, *there.metrics) if there else ()
    started = (Component(**warm["learner"]),) if warm else ()
    return [one for one in (*single, *several, *elsewhere, *started) if one is not None]
