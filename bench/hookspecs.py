"""The pluggy hooks. Each component hook returns ``{name: factory}``; observers return nothing.

A factory takes keyword-only, annotated hyperparameters; ``typing.Annotated`` with ``pydantic.Field`` gives
ranges, which the suite checks before anything runs. What a factory returns is described in :mod:`bench.contracts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from bench.contracts import Factory

PROJECT = "bench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

FAMILIES: dict[str, str] = {
    "games": "bench_games",
    "networks": "bench_networks",
    "gan_losses": "bench_gan_losses",
    "regularisers": "bench_regularisers",
    "augmentations": "bench_augmentations",
    "inner_optimisers": "bench_inner_optimisers",
    "meta_learners": "bench_meta_learners",
    "task_distributions": "bench_task_distributions",
    "metrics": "bench_metrics",
    "feature_extractors": "bench_feature_extractors",
    "reporters": "bench_reporters",
}
"""Family (the suite's key) -> hook."""

OBSERVERS = ("bench_trial_started", "bench_trial_finished", "bench_suite_finished")
"""Hooks that are told and answer nothing."""


@hookspec
def bench_games() -> Mapping[str, Factory]:
    """Games: players and their losses (:class:`bench.contracts.GameRules`)."""


@hookspec
def bench_networks() -> Mapping[str, Factory]:
    """Network families (:class:`bench.contracts.Network`)."""


@hookspec
def bench_gan_losses() -> Mapping[str, Factory]:
    """Two-player losses on raw logits (:class:`bench.contracts.GanLoss`)."""


@hookspec
def bench_regularisers() -> Mapping[str, Factory]:
    """Penalties on a player (:class:`bench.contracts.Penalty`) or of meta-learning (:class:`bench.contracts.MetaRegulariser`)."""


@hookspec
def bench_augmentations() -> Mapping[str, Factory]:
    """Random transforms of tasks or of supports (:class:`bench.contracts.Augmentation`)."""


@hookspec
def bench_inner_optimisers() -> Mapping[str, Factory]:
    """Differentiable gradient transformations (:class:`bench.contracts.Optimiser`)."""


@hookspec
def bench_meta_learners() -> Mapping[str, Factory]:
    """Meta-learners and baselines (:class:`bench.contracts.MetaLearner`)."""


@hookspec
def bench_task_distributions() -> Mapping[str, Factory]:
    """Distributions over few-shot tasks (:class:`bench.contracts.TaskDistribution`)."""


@hookspec
def bench_metrics() -> Mapping[str, Factory]:
    """Measures of adapted samples (:class:`bench.contracts.Metric`)."""


@hookspec
def bench_feature_extractors() -> Mapping[str, Factory]:
    """Feature extractors (:class:`bench.contracts.FeatureExtractor`)."""


@hookspec
def bench_reporters() -> Mapping[str, Factory]:
    """Extra sections of a report: ``factory()(frame) -> str`` of Markdown: headings, paragraphs, lists, tables, code; HTML is text."""


# What observers are told. Errors are logged and never harm a trial; an observer may ask for fewer arguments than there are.
@hookspec
def bench_trial_started(trial: Mapping[str, Any]) -> None:
    """Observer: a trial starts. Called in the worker.

    Args:
        trial: the cell as JSON: ``trial_id``, ``suite``, ``arm``, ``replicate``, ``control``, ``budget``, ``protocol`` and a component per
            family, ``{"name", "label", "parameters", ...}``.
    """


@hookspec
def bench_trial_finished(trial: Mapping[str, Any], row: Mapping[str, Any], measurements: Mapping[str, Sequence[Any]]) -> None:
    """Observer: the ledger has the final row of a trial. Called in the driver.

    Args:
        trial: the cell, as for :func:`bench_trial_started`.
        row: ``status`` and ``reason``; ``seconds``, ``gradient_evaluations`` and other costs where the trial ended by itself.
        measurements: ``{column: values}``, equally long, the columns of a segment: ``split``, ``task_id``, ``outer_step``,
            ``adaptation_step``, ``metric``, ``value``, ...; ``{}`` where the trial failed.
    """


@hookspec
def bench_suite_finished(results: str, rows: int) -> None:
    """Observer: every planned cell of a suite has a row. Called in the driver.

    Args:
        results: folder of the results.
        rows: number of cells.
    """
