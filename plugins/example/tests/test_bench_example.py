"""The contracts of what this plugin offers, and the truths of each component."""

import numpy as np
import pytest
import torch
from bench.testing import GanLossContract, MetaLearnerContract, TaskDistributionContract

from bench_example import Checkerboards, FGan, MinibatchProx

DIVERGENCES = ("kl", "reverse-kl", "pearson", "squared-hellinger")


class TestMinibatchProx(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return MinibatchProx()


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("generator", ["non-saturating", "saturating"])
class TestFGan(GanLossContract):
    @pytest.fixture
    def loss(self, divergence, generator):
        return FGan(divergence=divergence, generator=generator)


class TestCheckerboards(TaskDistributionContract):
    @pytest.fixture
    def tasks(self):
        return Checkerboards()


def test_adaptation_ends_between_the_start_and_the_tasks_own_minimum():
    """For L(phi) = |phi - a|^2 / 2 the tied minimum is (a + strength theta) / (1 + strength)."""
    learner = MinibatchProx(inner_lr=0.3, strength=3.0)
    theta, a = {"w": torch.tensor([1.0, 5.0])}, torch.tensor([-3.0, 1.0])
    phi = theta
    for step in range(60):
        phi, _ = learner.update({"initial": {"generator": theta}}, "generator", step, phi, {"w": phi["w"] - a}, {}, {})
    assert torch.allclose(phi["w"], torch.tensor([0.0, 4.0]), atol=1e-5)


def test_at_the_best_critic_the_bound_is_the_divergence():
    """Of P = (3/4, 1/4) from Q = (1/4, 3/4), as batches of four samples; the best critic is f'(p / q)."""
    ratio = torch.tensor([3.0, 1 / 3], dtype=torch.float64)
    best = {"kl": 1 + ratio.log(), "reverse-kl": ratio.log(), "pearson": 2 * (ratio - 1), "squared-hellinger": ratio.log() / 2}
    truth = {
        "kl": np.log(3) / 2,
        "reverse-kl": np.log(3) / 2,
        "pearson": 1 / 4 / (1 / 4) + 1 / 4 / (3 / 4),
        "squared-hellinger": 2 * (np.sqrt(3 / 4) - 1 / 2) ** 2,
    }
    for divergence in DIVERGENCES:
        real, fake = best[divergence][[0, 0, 0, 1]], best[divergence][[0, 1, 1, 1]]
        assert -FGan(divergence=divergence).discriminator_loss(real, fake).item() == pytest.approx(truth[divergence], rel=1e-12)


def test_all_points_lie_on_dark_squares():
    x = Checkerboards(shift=0.0, rotate=False).episode("meta-train", 0, shots=400, query=0, rng=np.random.default_rng(0)).support["x"]
    column, row = np.floor(2 * (x.T + 1)).astype(int)
    assert ((row + column) % 2 == 0).all()
    assert len(set(zip(column, row, strict=True))) == 8
