"""The classifier that a metric judges generated samples with, as a trial of its own: meta-trained once, shared by the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.errors import SuiteError
from bench.registry.registry import Registry
from bench.suite.model import Component

if TYPE_CHECKING:
    from bench.grid.cells import Transfer, Trial


def judge_trial(trial: Trial, place: Trial | Transfer, registry: Registry) -> Trial | None:
    """The trial that meta-trains the judge of the metrics at ``place``, None where none of them asks for one.

    It sees the meta-train tasks there, in one order for all learners and replicates: like a feature extractor it belongs to what is
    measured with, not to what is measured.

    Args:
        trial: what is judged.
        place: where: the trial itself, or what it is transferred to.
        registry: knows the metrics.

    Raises:
        SuiteError: several metrics ask for one.
    """
    about = [(metric, registry.component("metrics", metric.name)) for metric in place.metrics]
    asking = [(metric, info) for metric, info in about if info.attributes.get("judge")]
    if not asking:
        return None
    if len(asking) > 1:
        names = " and ".join(metric.name for metric, _ in asking)
        raise SuiteError(f"metrics: {names} each bring a classifier to judge by, and a suite can have one; leave all but one out")
    ((metric, info),) = asking
    wish: Mapping[str, Any] = info.attributes["judge"]
    settings = {**info.defaults, **metric.parameters}
    game, network, learner = (_component(family, wish[family]) for family in ("games", "networks", "meta_learners"))
    steps = settings["adaptation_steps"]
    return replace(
        trial,
        suite="",
        replicate=0,
        game=game,
        task_distribution=place.task_distribution,
        network=network,
        gan_loss=None,
        meta_learner=learner,
        regularisers=(),
        augmentations=(),
        control="",
        metrics=(),
        feature_extractor=Component(family="feature_extractors", name="pixels", parameters={}, test={}, label="pixels"),
        primary_metric="",
        primary_step=steps,
        budget={"axis": "outer_steps", "amount": settings["outer_steps"], "warm_start": None},
        protocol={**trial.protocol, "adaptation_steps": {"train": steps, "test": [steps]}, "validations": 0},
        transfer=None,
        arm="judge",
        configuration=None,
        tuning=None,
    )


def judges(trials: Iterable[Trial], registry: Registry) -> dict[str, Trial]:
    """By key, the trials that meta-train the judges of ``trials``."""
    found: dict[str, Trial] = {}
    for trial in trials:
        for place in (trial, trial.transfer):
            if place and place.judge_key and place.judge_key not in found:
                judge = judge_trial(trial, place, registry)
                found |= {place.judge_key: judge} if judge else {}
    return found


def _component(family: str, spelled: Mapping[str, Mapping[str, Any]]) -> Component:
    ((name, parameters),) = spelled.items()
    return Component(family=family, name=name, parameters=dict(parameters), test={}, label=name)
