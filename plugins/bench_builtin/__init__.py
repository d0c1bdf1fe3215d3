"""Every built-in component of bench, registered through the same entry-point group as third parties'."""

from collections.abc import Callable, Mapping
from typing import Any

from bench import hookimpl
from bench_builtin.feature_extractors import FEATURE_EXTRACTORS
from bench_builtin.games import GAMES
from bench_builtin.gan_losses import GAN_LOSSES
from bench_builtin.inner_optimisers import INNER_OPTIMISERS
from bench_builtin.meta_learners import META_LEARNERS
from bench_builtin.metrics import METRICS
from bench_builtin.networks import NETWORKS
from bench_builtin.regularisers import REGULARISERS
from bench_builtin.task_distributions import TASK_DISTRIBUTIONS

Factories = Mapping[str, Callable[..., Any]]


@hookimpl
def bench_games() -> Factories:
    return GAMES


@hookimpl
def bench_networks() -> Factories:
    return NETWORKS


@hookimpl
def bench_gan_losses() -> Factories:
    return GAN_LOSSES


@hookimpl
def bench_regularisers() -> Factories:
    return REGULARISERS


@hookimpl
def bench_inner_optimisers() -> Factories:
    return INNER_OPTIMISERS


@hookimpl
def bench_meta_learners() -> Factories:
    return META_LEARNERS


@hookimpl
def bench_task_distributions() -> Factories:
    return TASK_DISTRIBUTIONS


@hookimpl
def bench_metrics() -> Factories:
    return METRICS


@hookimpl
def bench_feature_extractors() -> Factories:
    return FEATURE_EXTRACTORS
