"""Explicit initialisations: what their weights must satisfy, and that the learner's generator decides them."""

import math

import pytest
import torch
from torch import nn

from bench.contracts import SampleSpec
from bench.testing import MetaLearnerContract, SmallGan
from bench.trees import leaves
from bench_builtin.meta_learners import DcganNormal, Orthogonal, Scratch, Xavier
from bench_builtin.meta_learners.initialisations import LEAKY_GAIN
from bench_builtin.networks import Dcgan, Mlp

EVERY = [Xavier(), Orthogonal(), DcganNormal()]


@pytest.mark.parametrize("name", ["xavier", "orthogonal", "dcgan"])
class TestInitialisations(MetaLearnerContract):
    @pytest.fixture
    def learner(self, name):
        return {"xavier": Xavier(), "orthogonal": Orthogonal(scale=LEAKY_GAIN), "dcgan": DcganNormal(sd=0.3)}[name]


class OnePlayer:
    def __init__(self, module):
        self.modules = {"model": module}


def drawn(learner, module, seed=3):
    return learner.init(torch.Generator().manual_seed(seed), OnePlayer(module))["initial"]["model"]


@pytest.fixture(scope="module")
def wide():
    """Large enough for statistics, with a gain and a bias, and a convolution."""
    return nn.Sequential(nn.Linear(300, 500), nn.GroupNorm(5, 500), nn.Unflatten(1, (20, 5, 5)), nn.ConvTranspose2d(20, 40, 4))


def test_xavier_is_uniform_with_the_variance_of_both_fans(wide):
    """Var = 2 scale^2 / (fan_in + fan_out), |W| <= sqrt(3 Var); standard error of a uniform's variance is Var sqrt(0.8 / n)."""
    for scale in (1.0, LEAKY_GAIN):
        weights = drawn(Xavier(scale=scale), wide)
        for name, fans in (("0.weight", 300 + 500), ("3.weight", (20 + 40) * 16)):
            variance = 2 * scale**2 / fans
            error = math.sqrt(0.8 / weights[name].numel())
            assert float(weights[name].var()) == pytest.approx(variance, rel=5 * error)
            assert float(weights[name].abs().max()) <= math.sqrt(3 * variance)


@pytest.mark.parametrize("scale", [1.0, 1.4])
def test_orthogonal_weights_keep_lengths_up_to_the_scale(scale, wide):
    weights = drawn(Orthogonal(scale=scale), wide)
    for name in ("0.weight", "3.weight"):
        matrix = weights[name].flatten(1)
        fewer = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        assert torch.allclose(fewer @ fewer.T, scale**2 * torch.eye(len(fewer)), atol=1e-4)


def test_dcgan_weights_and_gains_are_normal_with_its_deviation(wide):
    weights = drawn(DcganNormal(), wide)
    assert float(weights["0.weight"].std()) == pytest.approx(0.02, rel=5 / math.sqrt(2 * 150_000))
    assert float(weights["1.weight"].std()) == pytest.approx(0.02, rel=5 / math.sqrt(2 * 500))
    assert float(weights["1.weight"].mean()) == pytest.approx(1.0, abs=5 * 0.02 / math.sqrt(500))


@pytest.mark.parametrize("learner", EVERY, ids=lambda learner: type(learner).__name__)
def test_biases_are_zero_and_gains_stay_unless_redrawn(learner, wide):
    nn.init.constant_(wide[1].bias, 7.0)
    weights = drawn(learner, wide)
    assert all(not weights[name].any() for name in ("0.bias", "1.bias", "3.bias"))
    assert torch.equal(weights["1.weight"], torch.ones(500)) == (not isinstance(learner, DcganNormal))


@pytest.mark.parametrize("learner", EVERY, ids=lambda learner: type(learner).__name__)
def test_built_in_networks_start_with_finite_outputs(learner):
    """Every parameter of networks with every norm is one that the rules know."""
    for norm in ("none", "group", "rms"):
        for network, spec in (
            (Mlp(norm=norm), SampleSpec("points", (2,))),
            (Dcgan(width=8, norm=norm), SampleSpec("image", (1, 8, 8), -1.0, 1.0)),
        ):
            generator = network.build("generator", spec)
            weights = drawn(learner, generator)
            assert weights.keys() == dict(generator.named_parameters()).keys()
            samples = torch.func.functional_call(generator, weights, (torch.randn(4, generator.latent),))
            assert torch.isfinite(samples).all()


@pytest.mark.parametrize("learner", EVERY, ids=lambda learner: type(learner).__name__)
def test_the_generator_decides_the_weights_and_the_network_only_their_shapes(learner):
    one, other = (nn.Linear(6, 4) for _ in range(2))
    assert torch.equal(drawn(learner, one)["weight"], drawn(learner, other)["weight"])
    assert not torch.equal(drawn(learner, one)["weight"], drawn(learner, one, seed=4)["weight"])
    assert torch.equal(drawn(Scratch(), one)["weight"], one.weight)


def test_a_scalar_parameter_stays():
    """Such as the gate of a residual branch, which starts at 0 on purpose."""
    gated = nn.Linear(3, 3)
    gated.register_parameter("gate", nn.Parameter(torch.zeros(())))
    assert all(float(drawn(learner, gated)["gate"]) == 0 for learner in EVERY)


def test_networks_keep_their_own_weights():
    game = SmallGan()
    before = {path: leaf.clone() for path, leaf in leaves(Scratch().init(torch.Generator(), game))}
    Xavier().init(torch.Generator(), game)
    assert all(torch.equal(leaf, before[path]) for path, leaf in leaves(Scratch().init(torch.Generator(), game)))
