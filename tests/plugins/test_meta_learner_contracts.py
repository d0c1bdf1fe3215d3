"""Every built-in meta-learner passes the contract tests that third parties get."""

import pytest

from bench.testing import MetaLearnerContract
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Finetune, Maml, Reptile, Scratch


class TestScratch(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Scratch(inner_lr=0.05)


class TestFinetune(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Finetune(inner_lr=0.05)


class TestMamlSgd(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=3)


class TestMamlMomentum(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Maml(inner_lr=0.05, inner_optimiser=Sgd(momentum=0.9), steps=3)


class TestMamlAdam(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Maml(inner_lr={"generator": 0.01, "discriminator": 0.02}, inner_optimiser=Adam(beta1=0.5, eps=1e-3), steps=2)


class TestFirstOrderMaml(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Maml(order=1, inner_lr=0.05, inner_optimiser=Sgd())


class TestReptile(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Reptile(inner_lr=0.01)


class TestOwnPathMaml(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=2, cross_player="own-path")
