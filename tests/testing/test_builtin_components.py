"""Every built-in component passes the contract tests that third parties get; where a rule cannot hold, the reason stands here."""

import pytest

from bench.testing import (
    AugmentationContract,
    FeatureExtractorContract,
    GameContract,
    InnerOptimiserContract,
    MetaRegulariserContract,
    MetricContract,
    NetworkContract,
    SamplingLearnerContract,
)
from bench_builtin.augmentations import AUGMENTATIONS
from bench_builtin.feature_extractors import FEATURE_EXTRACTORS
from bench_builtin.games import GAMES
from bench_builtin.inner_optimisers import INNER_OPTIMISERS
from bench_builtin.meta_learners import META_LEARNERS
from bench_builtin.metrics import METRICS
from bench_builtin.networks import NETWORKS
from bench_builtin.regularisers import REGULARISERS
from bench_builtin.task_distributions import Glyphs


@pytest.mark.parametrize("name", INNER_OPTIMISERS)
class TestInnerOptimisers(InnerOptimiserContract):
    @pytest.fixture
    def optimiser(self, name):
        return INNER_OPTIMISERS[name]()


@pytest.mark.parametrize("name", NETWORKS)
class TestNetworks(NetworkContract):
    @pytest.fixture
    def network(self, name):
        return NETWORKS[name](**({"network": NETWORKS["mlp"]()} if name in ("pac", "minibatch-std") else {}))


@pytest.mark.parametrize("name", AUGMENTATIONS)
class TestAugmentations(AugmentationContract):
    @pytest.fixture
    def augmentation(self, name):
        return AUGMENTATIONS[name]()


@pytest.mark.parametrize("name", GAMES)
class TestGames(GameContract):
    @pytest.fixture
    def rules(self, name):
        return GAMES[name]()


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"augmented-accuracy"}))
class TestMetrics(MetricContract):
    @pytest.fixture
    def metric(self, name):
        return METRICS[name]()


class TestAugmentedAccuracy(MetricContract):
    expected_failures = {"test_better_is_what_it_says": "two classes that far apart are told apart without any help"}

    @pytest.fixture
    def metric(self):
        return METRICS["augmented-accuracy"]()


@pytest.mark.parametrize("name", sorted(set(FEATURE_EXTRACTORS) - {"protonet-conv4", "inception"}))
class TestFeatureExtractors(FeatureExtractorContract):
    @pytest.fixture
    def extractor(self, name):
        return FEATURE_EXTRACTORS[name]()


class TestProtonet(FeatureExtractorContract):
    def tasks(self, extractor):
        return Glyphs(size=16)  # the weights for these are shipped

    @pytest.fixture
    def extractor(self):
        return FEATURE_EXTRACTORS["protonet-conv4"]()


@pytest.mark.parametrize("name", ["outer-clip", "outer-weight-decay", "taml", "meta-dropout", "mr-maml"])
class TestMetaRegularisers(MetaRegulariserContract):
    @pytest.fixture
    def regulariser(self, name):
        return REGULARISERS[name]()


@pytest.mark.parametrize("name", ["memorise", "kde"])
class TestSamplingLearners(SamplingLearnerContract):
    @pytest.fixture
    def learner(self, name):
        return META_LEARNERS[name]()
