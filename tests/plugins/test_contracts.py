"""The contract tests that plugin authors get, on the built-in losses and task distributions; and on wrong ones, which they must refuse."""

import numpy as np
import pytest
import torch

from bench.contracts import Episode, SampleSpec
from bench.testing import GanLossContract, TaskDistributionContract
from bench_builtin.gan_losses import GAN_LOSSES
from bench_builtin.task_distributions import Digits, GaussianRings, Glyphs


@pytest.mark.parametrize("name", GAN_LOSSES)
class TestGanLosses(GanLossContract):
    @pytest.fixture
    def loss(self, name):
        return GAN_LOSSES[name]()


class TestLeastSquaresWithOtherTargets(GanLossContract):
    @pytest.fixture
    def loss(self):
        return GAN_LOSSES["least-squares"](a=-1.0, b=1.0, c=0.5)


@pytest.mark.parametrize("make", [GaussianRings, Digits, Glyphs])
class TestTaskDistributions(TaskDistributionContract):
    @pytest.fixture
    def tasks(self, make):
        return make()


@pytest.mark.parametrize("make", [lambda: GaussianRings(modes=1, scale=0.5), lambda: Glyphs(size=28, jitter=0.0, alphabets="all")])
class TestTaskDistributionsWithOtherHyperparameters(TaskDistributionContract):
    shots, query = 1, 3

    @pytest.fixture
    def tasks(self, make):
        return make()


def test_there_are_the_seven_losses_of_the_literature():
    names = {"minimax", "non-saturating", "least-squares", "wasserstein", "hinge", "relativistic", "relativistic-average"}
    assert set(GAN_LOSSES) == names


# ------------------------------------------------------------------ what the contracts are for
class PerSample:
    def discriminator_loss(self, real_B, fake_B):
        return fake_B - real_B

    def generator_loss(self, real_B, fake_B):
        return -fake_B


class WrongSign:
    def discriminator_loss(self, real_B, fake_B):
        return real_B.mean() - fake_B.mean()

    def generator_loss(self, real_B, fake_B):
        return -fake_B.mean()


class Detached:
    """Right to look at, but its second derivative is gone: a second-order meta-gradient through it is wrong."""

    def discriminator_loss(self, real_B, fake_B):
        return ((real_B - 1).detach() * real_B).mean() + (fake_B.detach() * fake_B).mean()

    def generator_loss(self, real_B, fake_B):
        return ((fake_B - 1).detach() * fake_B).mean()


@pytest.mark.parametrize(
    ("loss", "test"),
    [
        (PerSample(), GanLossContract.test_losses_are_finite_scalars),
        (WrongSign(), GanLossContract.test_players_pull_fake_logits_apart),
        (Detached(), GanLossContract.test_meta_gradient_through_the_loss_equals_finite_differences),
    ],
    ids=["a value per sample", "wrong sign", "a stopped derivative"],
)
def test_a_wrong_loss_is_found(loss, test):
    with pytest.raises(AssertionError):
        test(GanLossContract(), loss)


class Broken:
    """A task distribution with one fault."""

    kind = "points"
    sample_spec = SampleSpec("points", (2,), -1.0, 1.0)

    def __init__(self, fault):
        self.fault = fault

    def episode(self, split, task, *, shots, query, rng):
        if self.fault == "own randomness":
            rng = np.random.default_rng(0)
        points = rng.uniform(-1, 1, (shots + query, 2)).astype(np.float64 if self.fault == "float64" else np.float32)
        support, query_points = points[:shots], points[shots:]
        if self.fault == "out of range":
            support = support + 2
        if self.fault == "overlap" and query:
            query_points = np.concatenate([support[:1], query_points[1:]])
        if self.fault == "no empty query" and not query:
            query_points = support
        return Episode("task", {"x": support}, {"x": query_points})


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("float64", "test_episodes_have_the_promised_shape_and_range"),
        ("out of range", "test_episodes_have_the_promised_shape_and_range"),
        ("own randomness", "test_the_generator_decides_everything"),
        ("overlap", "test_support_and_query_are_disjoint"),
        ("no empty query", "test_the_query_may_be_empty"),
    ],
)
def test_a_wrong_task_distribution_is_found(fault, test):
    check = getattr(TaskDistributionContract(), test)
    check(Broken("none"))
    with pytest.raises(AssertionError):
        check(Broken(fault))


def test_contracts_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    GanLossContract().test_meta_gradient_through_the_loss_equals_finite_differences(GAN_LOSSES["hinge"]())
    assert torch.equal(torch.random.get_rng_state(), before)
