"""Where the arms of a suite do not stand on equal ground.

Tasks, noise, evaluations and replicates are the same for every arm by construction, and budget and warm start for every arm that
meta-trains. What a suite can still make unequal is told here as warnings, for some of it may be the very question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.grid.cells import Trial, cells_of_one_replicate
from bench.grid.tuning import configurations
from bench.registry.registry import ComponentInfo, Registry
from bench.suite.model import Suite


@dataclass(frozen=True)
class _Entrant:
    """An arm on one task distribution: one of its cells, and what is known of its meta-learner."""

    cell: Trial
    info: ComponentInfo

    @property
    def arm(self) -> str:
        return self.cell.arm

    @property
    def space(self) -> dict[str, object]:
        return dict(self.info.attributes.get("space", {}))


def unequal_arms(suite: Suite, registry: Registry) -> list[str]:
    """One sentence per difference: which arms, what differs, and what to do; with the task distributions where not all are concerned.

    Raises:
        PluginError: a component is not installed, or its plugin is broken.
        DataError: a task distribution that tells the kind of its samples only when it is made cannot be made.
    """
    planned = [cell for cell in cells_of_one_replicate(suite, registry) if not cell.control]
    places = list(dict.fromkeys(cell.place for cell in planned if not cell.skip))
    found: dict[str, list[str]] = {}
    for place in places:
        first = {cell.arm: cell for cell in reversed(planned) if cell.place == place and not cell.skip}
        entrants = [_Entrant(cell, registry.component("meta_learners", cell.meta_learner.name)) for cell in reversed(first.values())]
        training = [one for one in entrants if one.cell.budget["amount"]]
        idle = [one for one in entrants if not one.cell.budget["amount"]]
        for flag in (*_budget(training, idle), *_adaptation_steps(training), *_held_out(training), *_tuning(entrants, suite)):
            found.setdefault(flag, []).append(place)
    flags = [flag if len(where) == len(places) else f"{flag} (on {', '.join(where)})" for flag, where in found.items()]
    return [*flags, *_absent(planned, places)]


def _budget(training: Sequence[_Entrant], idle: Sequence[_Entrant]) -> list[str]:
    """Arms that spend nothing, and an axis that is no common currency."""
    flags = []
    if training and idle:
        flags.append(f"budget: {_names(idle)} {_verb(idle, 'spends', 'spend')} none of it; read such arms as bounds, not as equals")
    learners = sorted({one.cell.meta_learner.name for one in training})
    if len(learners) > 1 and training[0].cell.budget["axis"] == "outer_steps":
        flags.append(
            f"budget: outer steps of {', '.join(learners)} cost different numbers of gradient evaluations; set "
            "budget.gradient_evaluations instead of outer_steps"
        )
    return flags


def _adaptation_steps(training: Sequence[_Entrant]) -> list[str]:
    """Learners whose own ``steps`` replace the protocol's while they meta-train."""
    unlike: dict[tuple[int, int], list[_Entrant]] = {}
    for one in training:
        own, asked = one.cell.meta_learner.parameters.get("steps", one.info.defaults.get("steps")), _asked_steps(one.cell)
        if own is not None and own != asked:
            unlike.setdefault((own, asked), []).append(one)
    return [
        f"adaptation steps: {_names(arms)} {_verb(arms, 'meta-trains', 'meta-train')} with {own}, the protocol says {asked}; set steps and "
        "protocol alike, or tell why in the description"
        for (own, asked), arms in unlike.items()
    ]


def _held_out(training: Sequence[_Entrant]) -> list[str]:
    """Some arms have settings of their own for held-out tasks, others adapt as they were meta-trained."""
    own = [one for one in training if one.cell.meta_learner.test]
    if not own or len(own) == len(training):
        return []
    return [
        f"adaptation: only {_names(own)} {_verb(own, 'has', 'have')} test settings for held-out tasks; give them to all arms, or to none"
    ]


def _tuning(entrants: Sequence[_Entrant], suite: Suite) -> list[str]:
    """Unequal numbers of configurations; or, without tuning, settings chosen for some arms and defaults for others."""
    if suite.tuning is None:
        training = [one for one in entrants if one.cell.budget["amount"]]
        chosen = [one for one in training if one.space.keys() & one.cell.meta_learner.parameters.keys()]
        default = [one for one in training if one.space and one not in chosen]
        if suite.tuning_record or not chosen or not default:
            return []
        return [
            f"tuning: {_names(default)} {_verb(default, 'runs', 'run')} on defaults, the other arms with settings that the suite chose; "
            "add tuning: {trials: N}, or tell in tuning_record how they were chosen"
        ]
    trials = suite.tuning.trials
    fewer: dict[int, list[_Entrant]] = {}
    for one in entrants:
        tried = len(configurations(one.cell.meta_learner, one.info.attributes.get("space", {}), one.info.defaults, trials=trials, seed=0))
        if tried < trials:
            fewer.setdefault(tried, []).append(one)
    return [
        f"tuning: {_names(arms)} {_verb(arms, 'has', 'have')} {tried} of {trials} configurations, all that the space holds; widen it, or "
        "read the arm as less tuned"
        for tried, arms in sorted(fewer.items())
    ]


def _absent(planned: Sequence[Trial], places: Sequence[str]) -> list[str]:
    """Arms that are measured on some task distributions only."""
    absent: dict[tuple[str, str], list[str]] = {}
    for arm in dict.fromkeys(cell.arm for cell in planned):
        own = [cell for cell in planned if cell.arm == arm]
        there = {cell.place for cell in own if not cell.skip}
        missing = [place for place in places if place not in there]
        if there and missing:
            why = next((cell.skip for cell in own if cell.place in missing), "not listed there")
            absent.setdefault((", ".join(missing), why), []).append(arm)
    return [
        f"evaluations: no cell on {missing} ({why}) for {', '.join(arms)}; compare such arms only where they have some"
        for (missing, why), arms in absent.items()
    ]


def _asked_steps(cell: Trial) -> int:
    return int(cell.protocol["adaptation_steps"]["train"])


def _names(entrants: Iterable[_Entrant]) -> str:
    return ", ".join(one.arm for one in entrants)


def _verb(entrants: Sequence[_Entrant], one: str, several: str) -> str:
    return one if len(entrants) == 1 else several
