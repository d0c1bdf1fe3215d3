"""Trial -> the objects it names. Data sets and extractors are built once per worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench import seeds
from bench.contracts import FeatureExtractor, Metric, Parts, SampleSpec, TaskDistribution
from bench.episodes import TaskStream
from bench.errors import ContractError
from bench.game.checks import check_third_order
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.grid.cells import SHUFFLED, Trial
from bench.registry.local import LocalFile
from bench.registry.registry import Registry, discover
from bench.suite.locations import without_locations
from bench.suite.model import Component
from bench.trial.plain_extractor import as_extractor
from bench.trial.sampling import SamplingEngine


@dataclass(frozen=True)
class Setup:
    """One trial's objects.

    Attributes:
        stream: the tasks it sees, with the control applied; ``plain_stream``: the same without.
        trainer, adapter: engines for meta-training and for adaptation to held-out tasks (test-time hyperparameters).
        judge: the classifier that the metrics ask for, see :func:`bench.trial.judging.with_judge`; None where they do not.
        made: the objects behind the components of game and learner, which own nothing but their settings.
    """

    trial: Trial
    registry: Registry
    stream: TaskStream
    plain_stream: TaskStream
    modules: Mapping[str, nn.Module]
    trainer: Engine
    adapter: Engine
    metrics: tuple[tuple[Component, Metric], ...]
    extractor: FeatureExtractor
    vectorised: bool
    judge: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None
    made: tuple[tuple[Component, Any], ...] = ()

    @property
    def learner(self) -> Any:
        """The meta-learner as it trains."""
        return self.trainer.learner


@cache
def worker_registry(*local: LocalFile) -> Registry:
    """The plugins, looked up once per worker, and the suite's own ``local`` ones."""
    return discover(local=local)


@cache
def _tasks(name: str, parameters: str, *local: LocalFile) -> TaskDistribution:
    tasks: TaskDistribution = worker_registry(*local).create("task_distributions", name, json.loads(parameters))
    return tasks


@cache
def _extractor(name: str, parameters: str, tasks_name: str, tasks_parameters: str, folder: Path, *local: LocalFile) -> FeatureExtractor:
    registry, settings = worker_registry(*local), json.loads(parameters)
    made = registry.create("feature_extractors", name, settings)
    extractor = as_extractor(made, name, settings, registry.source_hash("feature_extractors", name))
    tasks = _tasks(tasks_name, tasks_parameters, *local)
    extractor.prepare(getattr(tasks, "single_class", tasks), folder)
    return extractor


def assemble(trial: Trial, artefacts: Path, local: Sequence[LocalFile] = ()) -> Setup:
    """Build everything that the trial names.

    Args:
        trial: the cell.
        artefacts: folder in which extractors that are trained once are kept.
        local: local plugins of the suite.

    Raises:
        ContractError: the components do not work together; DataError: data are missing; MetricError: a bad extractor.
    """
    registry = worker_registry(*local)
    tasks = _tasks(*_spelled(trial.task_distribution), *local)
    modules = _modules(trial, registry, tasks.sample_spec)
    made: list[tuple[Component, Any]] = []

    def make(component: Component, test: Mapping[str, Any]) -> Any:
        made.append((component, registry.create(component.family, component.name, {**component.parameters, **test})))
        return made[-1][1]

    penalties: dict[str, Any] = {}
    regularisers: dict[str, Any] = {}
    for component in trial.regularisers:
        acts_on = registry.component("regularisers", component.name).attributes.get("acts_on")
        group = penalties if acts_on == "player" else regularisers
        # Random numbers and learned parameters are named after it, so not by its label, which is in no identity.
        group[f"{component.name}-{len(group)}"] = make(component, {})
    augmentations = {f"{component.name}-{number}": make(component, {}) for number, component in enumerate(trial.augmentations)}
    loss = make(trial.gan_loss, {}) if trial.gan_loss else None
    parts = Parts(modules=modules, critic=Critic, loss=loss, penalties=penalties, augmentations=augmentations, spec=tasks.sample_spec)
    plain_stream = _stream(trial, trial.task_distribution, registry)

    def engine(*, training: bool, **test: Mapping[str, Any]) -> Engine:
        learner = make(trial.meta_learner, test.get("learner", {}))
        rules = make(trial.game, test.get("game", {}))
        if not getattr(learner, "plays", True):
            return SamplingEngine(rules.bind(parts), learner, plain_stream, trial.replicate)
        check_third_order(modules, penalties.values(), getattr(learner, "order", 1))
        return Engine(
            rules.bind(parts),
            learner,
            regularisers=regularisers,
            augmentations=tuple(augmentations.values()),
            rules=tuple(penalties.values()),
            training=training,
            adaptation_steps=trial.protocol["adaptation_steps"]["train"],
            vectorise=all(
                getattr(part, "vectorised", True)
                for part in (learner, rules, loss, *penalties.values(), *regularisers.values(), *augmentations.values())
            ),
            task_chunk=trial.protocol["task_chunk"],
        )

    trainer = engine(training=True)
    adapter = engine(training=False, learner=trial.meta_learner.test, game=trial.game.test)
    return Setup(
        trial=trial,
        registry=registry,
        stream=_stream(trial, trial.task_distribution, registry, shuffled=trial.control == SHUFFLED),
        plain_stream=plain_stream,
        modules=modules,
        trainer=trainer,
        adapter=adapter,
        metrics=_metrics(trial.metrics, registry),
        extractor=_extractor(*_spelled(trial.feature_extractor), *_spelled(trial.task_distribution), artefacts, *local),
        vectorised=trainer.vectorise,
        made=tuple(made),
    )


def where_measured(setup: Setup, artefacts: Path) -> Setup:
    """The same trial with the tasks, metrics and features that its meta-test measurements are made with.

    Raises:
        DataError: data are missing; MetricError: a bad extractor.
    """
    trial = setup.trial
    if trial.transfer is None:
        return setup
    stream = _stream(trial, trial.transfer.task_distribution, setup.registry)
    stream.scarce = stream.name != setup.stream.name  # the protocol was not made for it
    return replace(
        setup,
        stream=stream,
        metrics=_metrics(trial.transfer.metrics, setup.registry),
        extractor=_extractor(
            *_spelled(trial.feature_extractor), *_spelled(trial.transfer.task_distribution), artefacts, *setup.registry.local
        ),
    )


def _stream(trial: Trial, distribution: Component, registry: Registry, *, shuffled: bool = False) -> TaskStream:
    name = [distribution.name, without_locations(distribution, registry)]
    tasks = _tasks(*_spelled(distribution), *registry.local)
    return TaskStream(tasks, name, seed=trial.seed, protocol=dict(trial.protocol), shuffled=shuffled, device=trial.device)


def _metrics(components: tuple[Component, ...], registry: Registry) -> tuple[tuple[Component, Metric], ...]:
    return tuple((component, registry.create("metrics", component.name, component.parameters)) for component in components)


def _spelled(component: Component) -> tuple[str, str]:
    return component.name, json.dumps(component.parameters, sort_keys=True)


def _modules(trial: Trial, registry: Registry, spec: SampleSpec) -> dict[str, nn.Module]:
    """One module per player, initialised from (suite seed, replicate, player): the same for every learner."""
    network = registry.create("networks", trial.network.name, trial.network.parameters)
    roles = registry.component("games", trial.game.name).attributes["roles"]
    modules = {}
    for player, role in roles.items():
        with torch.random.fork_rng(devices=[]):
            seed = seeds.key("initialisation", trial.seed, trial.replicate, player) % 2**63
            torch.manual_seed(seed)
            module = network.build(role, spec)
            if torch.initial_seed() != seed:
                raise ContractError(
                    f"network {trial.network.label!r} seeds torch while it builds the {role}, so that all replicates would start alike; "
                    "leave the seed alone"
                )
        if not isinstance(module, nn.Module):
            raise ContractError(f"network {trial.network.name!r} must build an nn.Module for the {role}, got {type(module).__name__}")
        modules[player] = module.to(trial.device)
    return modules
