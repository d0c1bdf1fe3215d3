"""Every built-in component of bench, registered through the same entry-point group as third parties'."""

from collections.abc import Callable, Mapping
from typing import Any

from bench import hookimpl
from bench_builtin.augmentations import AUGMENTATIONS
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
    """Two-player generation, variational autoencoding, regression and few-shot classification."""
    return GAMES


@hookimpl
def bench_networks() -> Factories:
    """Multilayer perceptrons, small convolutional and residual networks, and wrappers of networks."""
    return NETWORKS


@hookimpl
def bench_gan_losses() -> Factories:
    """The five losses that the literature compares most, and two relativistic ones."""
    return GAN_LOSSES


@hookimpl
def bench_regularisers() -> Factories:
    """Penalties on players and their weights; decay, clipping, noise and fairness in the outer loop."""
    return REGULARISERS


@hookimpl
def bench_augmentations() -> Factories:
    """Transforms of whole tasks, of supports, and mixtures of support and query."""
    return AUGMENTATIONS


@hookimpl
def bench_inner_optimisers() -> Factories:
    """Gradient descent and Adam, both differentiable through."""
    return INNER_OPTIMISERS


@hookimpl
def bench_meta_learners() -> Factories:
    """Learned starts, steps, contexts and networks, and the baselines they must beat."""
    return META_LEARNERS


@hookimpl
def bench_task_distributions() -> Factories:
    """Images, points, signals and regression tasks; those of torchvision and Omniglot are read from the user's folders."""
    return TASK_DISTRIBUTIONS


@hookimpl
def bench_metrics() -> Factories:
    """Fidelity, diversity, known modes, memorisation, use to a classifier, and prediction error."""
    return METRICS


@hookimpl
def bench_feature_extractors() -> Factories:
    """A learned embedding for images, raw pixels, and the identity for samples that are their own features."""
    return FEATURE_EXTRACTORS
