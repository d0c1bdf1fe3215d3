"""Contract tests for plugin authors: subclass a class, give one fixture, run pytest.

    class TestMine(MetaLearnerContract):
        expected_failures = {"test_...": "why this learner cannot pass it"}  # where a rule cannot hold; most need none

        @pytest.fixture
        def learner(self):
            return Mine(inner_lr=0.05)

One class a kind of component, one module a class. Games are small and in float64, where finite differences tell right from wrong.
"""

import pytest

CONTRACTS = (
    "augmentation",
    "contract",
    "feature_extractor",
    "game",
    "gan_loss",
    "inner_optimiser",
    "meta_learner",
    "meta_regulariser",
    "metric",
    "network",
    "observer",
    "penalty",
    "reporter",
    "task_distribution",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in CONTRACTS))  # first: authors then see the numbers that broke a rule

from bench.errors import ContractError  # noqa: E402
from bench.testing.augmentation import AugmentationContract  # noqa: E402
from bench.testing.contract import Contract, global_state_untouched  # noqa: E402
from bench.testing.derivatives import identical, largest_difference, meta_gradient_error  # noqa: E402
from bench.testing.feature_extractor import FeatureExtractorContract  # noqa: E402
from bench.testing.game import GameContract  # noqa: E402
from bench.testing.gan_loss import GanLossContract  # noqa: E402
from bench.testing.inner_optimiser import InnerOptimiserContract  # noqa: E402
from bench.testing.meta_learner import MetaLearnerContract, SamplingLearnerContract  # noqa: E402
from bench.testing.meta_regulariser import MetaRegulariserContract  # noqa: E402
from bench.testing.metric import MetricContract, small_adapted, with_fakes  # noqa: E402
from bench.testing.network import NetworkContract  # noqa: E402
from bench.testing.observer import ObserverContract  # noqa: E402
from bench.testing.penalty import PenaltyContract  # noqa: E402
from bench.testing.reporter import ReporterContract  # noqa: E402
from bench.testing.small_game import SmallGan, small_draws, small_episodes, small_networks  # noqa: E402
from bench.testing.small_run import small_frame, small_outcomes  # noqa: E402
from bench.testing.task_distribution import TaskDistributionContract  # noqa: E402

__all__ = [
    "AugmentationContract",
    "Contract",
    "ContractError",
    "FeatureExtractorContract",
    "GameContract",
    "GanLossContract",
    "InnerOptimiserContract",
    "MetaLearnerContract",
    "MetaRegulariserContract",
    "MetricContract",
    "NetworkContract",
    "ObserverContract",
    "PenaltyContract",
    "ReporterContract",
    "SamplingLearnerContract",
    "SmallGan",
    "TaskDistributionContract",
    "global_state_untouched",
    "identical",
    "largest_difference",
    "meta_gradient_error",
    "small_adapted",
    "small_draws",
    "small_episodes",
    "small_frame",
    "small_networks",
    "small_outcomes",
    "with_fakes",
]
