"""A suite: the question, what is crossed with what, and the protocol that all arms share.

:func:`load_suite` reads YAML and reports everything that is wrong at once, each with its line. A Suite is plain data:
plugins are named, never imported.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from bench.errors import SuiteError, did_you_mean
from bench.suite.components import Component

if TYPE_CHECKING:
    from bench.registry.registry import Registry

__all__ = [
    "CONTROLS",
    "Budget",
    "Component",
    "Exclusion",
    "Overrides",
    "Primary",
    "Protocol",
    "Suite",
    "Tuning",
    "Combination",
    "arm_name",
    "control_mark",
    "load_suite",
    "transfer_name",
]

CONTROLS = ("shuffled-tasks",)
LISTS = ("games", "task_distributions", "networks", "gan_losses", "meta_learners", "metrics")
SETS = ("regularisers", "augmentations")
MOST_REPLICATES = 10_000  # every cell is held in memory; a mistyped zero should not fill it
MOST_CONFIGURATIONS = 1_000  # likewise, and each is a whole meta-training
LARGEST_FILE = 1_000_000  # bytes; a suite is written by hand

Design = Literal["full", "one-at-a-time", "ablation"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AdaptationSteps(_Plain):
    """Adaptation steps: how many while meta-training, and after which of them to measure on held-out tasks."""

    train: Positive = 5
    test: Annotated[tuple[Count, ...], Field(min_length=1)] = (0, 1, 2, 5, 10, 25)

    @field_validator("test")
    @classmethod
    def _ascending(cls, test: tuple[int, ...]) -> tuple[int, ...]:
        if list(test) != sorted(set(test)):
            raise ValueError("must ascend without repetition")
        return test


class TaskCounts(_Plain):
    """How many held-out tasks are measured."""

    meta_val: Positive = 16
    meta_test: Positive = 32


class Protocol(_Plain):
    """What every arm shares.

    Attributes:
        shots: support samples of a task; several values are an axis of the grid, with the same tasks and the same query, and with the
            first samples of the largest support as the smaller ones.
        train_shots: support samples of a meta-train task; None: as many as ``shots``.
        query: query samples of a task.
        reference: real held-out samples per measured task (default: ``query``).
        samples: generated samples per measured task.
        task_batch: tasks per outer step.
        task_chunk: tasks computed together; part of a trial's identity.
        validations: evaluations on meta-val during meta-training.
    """

    shots: Positive | tuple[Positive, ...] = 8
    train_shots: Positive | None = None
    query: Positive = 16
    reference: Positive = 16
    samples: Positive = 64
    task_batch: Positive = 4
    task_chunk: Positive = 8
    adaptation_steps: AdaptationSteps = AdaptationSteps()
    tasks: TaskCounts = TaskCounts()
    validations: Count = 4

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without what is left to its default None."""
        return self.model_dump(mode="json", exclude_none=True)

    @field_validator("shots", mode="before")
    @classmethod
    def _ascending(cls, shots: Any) -> Any:
        """One number, or a list of several; checked here, since a union would tell a mistake once per branch."""
        numbers = list(shots) if isinstance(shots, list | tuple) else [shots]
        for number in numbers:
            if not isinstance(number, int) or isinstance(number, bool):
                raise ValueError("must be an integer" if numbers == [shots] else "must be an integer, or a list of integers")
            if number < 1:
                raise ValueError("must be >= 1")
        if not numbers or numbers != sorted(set(numbers)):
            raise ValueError("must ascend without repetition, from the smallest support to the largest")
        return tuple(numbers) if len(numbers) > 1 else numbers[0]

    def by_shots(self) -> list[dict[str, Any]]:
        """The protocol of each cell along the axis of shots, as plain JSON with one number of shots each.

        A smaller support is the beginning of the largest one; ``drawn`` says how many samples that has, where it is not ``shots``.
        """
        several = self.shots if isinstance(self.shots, tuple) else (self.shots,)
        drawn = {shots: {"drawn": several[-1]} if shots < several[-1] else {} for shots in several}
        return [{**self.to_dict(), "shots": shots, **drawn[shots]} for shots in several]

    def model_post_init(self, context: Any, /) -> None:
        """As many reference samples as query samples, unless said otherwise."""
        if "reference" not in self.model_fields_set:
            object.__setattr__(self, "reference", self.query)


class Budget(_Plain):
    """What stops an arm: exactly one axis. ``warm_start`` {meta-learner: amount of that axis}, one at most, charged to every arm."""

    gradient_evaluations: Positive | None = None
    outer_steps: Positive | None = None
    warm_start: Annotated[dict[str, Positive], Field(max_length=1)] = {}

    @model_validator(mode="after")
    def _one_axis(self) -> Budget:
        if (self.gradient_evaluations is None) == (self.outer_steps is None):
            raise ValueError("needs exactly one of gradient_evaluations and outer_steps")
        for learner, amount in self.warm_start.items():
            if amount >= self.amount:
                raise ValueError(
                    f"the warm start of {learner!r} ({amount}) must stay below the budget ({self.amount}), of which it is a part"
                )
        return self

    @property
    def axis(self) -> Literal["gradient_evaluations", "outer_steps"]:
        """The axis that stops an arm."""
        return "outer_steps" if self.gradient_evaluations is None else "gradient_evaluations"

    @property
    def amount(self) -> int:
        """How much of :attr:`axis` an arm may use."""
        return int(getattr(self, self.axis))


class Primary(_Plain):
    """The comparison declared before the run; ``compare`` holds two arms, or labels of meta-learners."""

    metric: str
    adaptation_step: Count
    compare: tuple[str, str]

    @field_validator("compare")
    @classmethod
    def _two(cls, compare: tuple[str, str]) -> tuple[str, str]:
        if compare[0] == compare[1]:
            raise ValueError("must name two different arms")
        return compare


class Exclusion(_Plain):
    """Cells that make no sense. ``where`` {family: names or labels}; all its families must match."""

    where: dict[str, tuple[str, ...]]
    reason: str

    def matches(self, cell: Mapping[str, Component | tuple[Component, ...] | None]) -> bool:
        """Whether a cell ``{family: component or ordered set}`` is meant; a set matches if it contains one of the words."""
        for family, words in self.where.items():
            chosen = cell.get(family)
            members = chosen if isinstance(chosen, tuple) else (chosen,)
            if not any(component is not None and component.answers_to(word) for component in members for word in words):
                return False
        return True


class Tuning(_Plain):
    """How settings are chosen: every arm has equally many configurations of the space that its meta-learner declares.

    Attributes:
        trials: configurations per arm, its own settings among them.
        split: where configuration and checkpoint are chosen.
    """

    trials: Annotated[int, Field(ge=1, le=MOST_CONFIGURATIONS)]
    split: Literal["meta-val"] = "meta-val"

    @field_validator("split", mode="before")
    @classmethod
    def _not_what_is_reported(cls, split: Any) -> Any:
        if split in ("meta-test", "meta_test"):
            raise ValueError("must be meta-val: what is chosen on meta-test tasks looks better on them than on new ones")
        if split != "meta-val":
            raise ValueError("must be meta-val")
        return split


class Overrides(_Plain):
    """What differs for one task distribution: the fields that are set."""

    games: tuple[Component, ...] = ()
    networks: tuple[Component, ...] = ()
    gan_losses: tuple[Component, ...] = ()
    meta_learners: tuple[Component, ...] = ()
    regularisers: tuple[tuple[Component, ...], ...] = ((),)
    augmentations: tuple[tuple[Component, ...], ...] = ((),)
    metrics: tuple[Component, ...] = ()
    feature_extractor: Component | None = None
    protocol: Protocol = Protocol()
    budget: Budget = Budget(outer_steps=1)

    @model_serializer(mode="wrap")
    def _only_set(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialise(self).items() if name in self.model_fields_set}


class Suite(_Plain):
    """A validated suite.

    Attributes:
        requires: distributions of plugins that must be installed and usable.
        plugins: Python files, from the suite's folder, that are plugins of this suite alone.
        feature_extractor: None chooses by the kind of samples.
        test_on: task distributions whose meta-test tasks are measured instead of those that an arm is meta-trained on; empty for its own.
        controls: {control: labels of meta-learners that get extra cells under it}.
        per_task_distribution: {label: what differs there}; :meth:`for_distribution` applies it.
        tuning: None runs every arm with its own settings.
        design: which cells of the grid there are. ``full``: all of them, and games, networks and losses are compared apart from one
            another. ``one-at-a-time``: the first item of every family, and each other item in its place alone. ``ablation``: these, and
            the last items of all families together. In the last two, every change names an arm of one comparison.
    """

    question: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    description: str = ""
    tuning_record: str = ""
    requires: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    seed: Count = 0
    replicates: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] = 1
    primary: Primary
    budget: Budget
    protocol: Protocol = Protocol()
    games: tuple[Component, ...]
    task_distributions: tuple[Component, ...]
    test_on: tuple[Component, ...] = ()
    networks: tuple[Component, ...]
    gan_losses: tuple[Component, ...] = ()
    meta_learners: tuple[Component, ...]
    regularisers: tuple[tuple[Component, ...], ...] = ((),)
    augmentations: tuple[tuple[Component, ...], ...] = ((),)
    metrics: tuple[Component, ...]
    feature_extractor: Component | None = None
    controls: dict[str, tuple[str, ...]] = {}
    exclude: tuple[Exclusion, ...] = ()
    per_task_distribution: dict[str, Overrides] = {}
    tuning: Tuning | None = None
    design: Design = "full"

    def for_distribution(self, label: str) -> Suite:
        """The suite as it holds for one task distribution: its overrides applied, no other distribution left.

        Raises:
            SuiteError: the suite has no task distribution of that label.
        """
        chosen = tuple(component for component in self.task_distributions if component.label == label)
        if not chosen:
            labels = [component.label for component in self.task_distributions]
            raise SuiteError(
                f"suite {self.name!r} has no task distribution {label!r}.{did_you_mean(label, labels)} It has: {', '.join(labels)}"
            )
        overrides = self.per_task_distribution.get(label)
        changed = {name: getattr(overrides, name) for name in overrides.model_fields_set} if overrides else {}
        return self.model_copy(update={**changed, "task_distributions": chosen, "per_task_distribution": {}})

    def combinations(self) -> Iterator[Combination]:
        """What the design chooses of the grid: one component, or set, per family."""
        axes: tuple[Sequence[Any], ...] = (
            self.games,
            self.networks,
            self.gan_losses or (None,),
            self.regularisers or ((),),
            self.augmentations or ((),),
            self.meta_learners,
        )
        last = tuple(len(axis) - 1 for axis in axes)
        for places in itertools.product(*map(range, map(len, axes))):
            moved = sum(place > 0 for place in places)
            if self.design == "full" or moved <= 1 or (self.design == "ablation" and places == last):
                game, network, loss, regularisers, augmentations, learner = (axis[place] for axis, place in zip(axes, places, strict=True))
                changed = zip((game, network, loss), places, strict=False)
                named = () if self.design == "full" else tuple(component for component, place in changed if place)
                yield Combination(game, network, loss, regularisers, augmentations, learner, (*named, *regularisers, *augmentations))

    def arms(self) -> tuple[str, ...]:
        """Names of the lines in figures, without regard to exclusions, in the order of the suite."""
        names = []
        for label in (component.label for component in self.task_distributions):
            suite = self.for_distribution(label)
            for one in sorted(suite.combinations(), key=lambda one: suite.meta_learners.index(one.meta_learner)):
                controls = [control for control, labels in suite.controls.items() if one.meta_learner.label in labels]
                names += [arm_name(one.meta_learner, one.beside, control) for control in ("", *controls)]
        return tuple(dict.fromkeys(names))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; :meth:`from_dict` is its inverse."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Suite:
        """Inverse of :meth:`to_dict`.

        Raises:
            SuiteError: the data are no resolved suite.
        """
        try:
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            told = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'suite'}: {one['msg'][:200]}" for one in found[:3])
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise SuiteError(f"not a resolved suite: {told}{more}") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise SuiteError(f"not a resolved suite: {str(error)[:200] or type(error).__name__}") from error


@dataclass(frozen=True)
class Combination:
    """One component, or set, per family.

    Attributes:
        beside: what names the arm beside its meta-learner: other families' components that the design changes, regularisers and
            augmentations.
    """

    game: Component
    network: Component
    gan_loss: Component | None
    regularisers: tuple[Component, ...]
    augmentations: tuple[Component, ...]
    meta_learner: Component
    beside: tuple[Component, ...]


def arm_name(meta_learner: Component, beside: tuple[Component, ...] = (), control: str = "") -> str:
    """Display name of an arm: ``reptile + r1 (shuffled tasks)``; ``beside`` as in :class:`Combination`."""
    parts = " + ".join(component.label for component in (meta_learner, *beside))
    return parts + control_mark(control)


def control_mark(control: str) -> str:
    """What ends the name of an arm under a control: `` (shuffled tasks)``; empty for a real arm."""
    return f" ({control.replace('-', ' ')})" if control else ""


PRIVILEGED = " (privileged)"
"""Ends the name of an arm that adapts to the samples that it is judged by, wherever it is shown; such an arm is ranked nowhere."""


def transfer_name(trained_on: str, measured_on: str) -> str:
    """Display name of what is meta-trained on one task distribution and measured on another: ``glyphs -> omniglot``."""
    return f"{trained_on} -> {measured_on}"


# ------------------------------------------------------------------ reading
def load_suite(path: str | Path, registry: Registry) -> Suite:
    """Read and check a suite file.

    Raises:
        SuiteError: the file cannot be read or is invalid; the text has one entry per problem, with file and line.
        PluginError: nothing is wrong with it but that it names components of broken plugins.
    """
    try:
        raw = Path(path).read_bytes()
        if len(raw) > LARGEST_FILE:
            raise SuiteError(f"{path}: larger than {LARGEST_FILE:,} bytes, which no suite is")
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file") from None
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SuiteError(f"{path}:{line}: not UTF-8 text") from None
    from bench.suite.reading import read_suite  # YAML and JSON Schema, which a worker that is given a resolved suite does without

    return read_suite(text, registry, source=str(path))
