"""What the contract classes are for: components with one fault each, which they must refuse and name."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.contracts import ContractError, Output
from bench.testing import (
    AugmentationContract,
    Contract,
    FeatureExtractorContract,
    GameContract,
    GanLossContract,
    InnerOptimiserContract,
    MetaRegulariserContract,
    MetricContract,
    NetworkContract,
    SmallGan,
    global_state_untouched,
    small_adapted,
    with_fakes,
)
from bench.testing.derivatives import PlainMaml
from bench.trees import tree_map
from bench_builtin.games import GAMES


# ------------------------------------------------------------------ inner optimisers
class Fine:
    def start(self, params):
        return {}

    def direction(self, grads, state, step):
        return grads, state


class Uphill(Fine):
    def direction(self, grads, state, step):
        return tree_map(torch.neg, grads), state


class DividesByZero(Fine):
    def direction(self, grads, state, step):
        return tree_map(lambda g: g / g.square().mean().sqrt(), grads), state


class Forgets(Fine):
    def direction(self, grads, state, step):
        return {"weight": grads["weight"]}, state


class Remembers(Fine):
    def __init__(self):
        self.calls = 0

    def direction(self, grads, state, step):
        self.calls += 1
        return grads, state


class InPlace(Fine):
    def direction(self, grads, state, step):
        return tree_map(lambda g: g.mul_(2), grads), state


class Branches(Fine):
    def direction(self, grads, state, step):
        return tree_map(lambda g: g / 2 if g.sum() > 0 else g, grads), state


class Detached(Fine):
    def direction(self, grads, state, step):
        return tree_map(lambda g: g / (g.detach().square().mean().sqrt() + 1), grads), state


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Uphill, "test_steps_go_down_a_bowl"),
        (DividesByZero, "test_a_gradient_of_zero_is_no_trouble"),
        (Forgets, "test_directions_have_the_shape_of_their_gradients"),
        (Remembers, "test_it_is_nothing_but_its_settings"),
        (InPlace, "test_it_is_nothing_but_its_settings"),
        (Branches, "test_stacked_and_alone_it_is_the_same"),
        (Detached, "test_meta_gradient_through_a_step_equals_finite_differences"),
    ],
)
def test_a_wrong_inner_optimiser_is_found(wrong, test):
    getattr(InnerOptimiserContract(), test)(Fine())
    with pytest.raises((AssertionError, RuntimeError)):
        getattr(InnerOptimiserContract(), test)(wrong())


# ------------------------------------------------------------------ networks
class Linear:
    kinds = ("points",)
    latent = 3

    def build(self, role, spec):
        if spec.classes:
            raise ContractError("no labels")
        module = self.layers(role)
        module.latent = self.latent
        return module

    def layers(self, role):
        return nn.Linear(3, 2) if role == "generator" else nn.Linear(2, 1)


class WrongShape(Linear):
    def layers(self, role):
        return nn.Linear(3, 3) if role == "generator" else nn.Linear(2, 1)


class RunningStatistics(Linear):
    def layers(self, role):
        return nn.Sequential(nn.BatchNorm1d(3 if role == "generator" else 2), super().layers(role))


class Centred(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)).sum(1)


class Mixes(Linear):
    def layers(self, role):
        return super().layers(role) if role == "generator" else nn.Sequential(nn.Linear(2, 2), Centred())


class OwnSeed(Linear):
    def layers(self, role):
        torch.manual_seed(0)
        return super().layers(role)


class Doubles(Linear):
    def layers(self, role):
        torch.set_default_dtype(torch.float64)
        return super().layers(role)


class Deaf(Linear):
    def build(self, role, spec):
        inner = self.layers(role)

        class Ignores(nn.Module):
            latent = 3

            def forward(self, x, labels=None):
                return inner(x)

        return Ignores()


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (WrongShape, "test_each_role_has_the_promised_shapes"),
        (RunningStatistics, "test_nothing_leaks_between_tasks_or_passes"),
        (Mixes, "test_a_sample_is_judged_alone_unless_the_network_mixes_samples"),
        (OwnSeed, "test_the_seed_decides_the_weights"),
        (Doubles, "test_the_seed_decides_the_weights"),
        (Deaf, "test_labels_are_taken_or_refused"),
    ],
)
def test_a_wrong_network_is_found(wrong, test):
    getattr(NetworkContract(), test)(Linear())
    with pytest.raises((AssertionError, ContractError)):
        getattr(NetworkContract(), test)(wrong())
    assert torch.get_default_dtype() == torch.float32


# ------------------------------------------------------------------ metrics
class MeanDistance:
    outputs = {"distance": Output("lower", 0.0, "distance")}
    kinds = ("points",)
    needs_modes = False
    version = 1

    def measure(self, adapted):
        return {"distance": np.linalg.norm(adapted.fake_features.mean(1) - adapted.query_features.mean(1), axis=1)}


class Unpromised(MeanDistance):
    def measure(self, adapted):
        return {**super().measure(adapted), "more": np.zeros(len(adapted.fake))}


class WrongWay(MeanDistance):
    outputs = {"distance": Output("higher", 0.0, "distance")}


class Spoils(MeanDistance):
    def measure(self, adapted):
        value = super().measure(adapted)["distance"]
        return {"distance": value + 0 * value.mean()}


class Noisy(MeanDistance):
    def measure(self, adapted):
        value = super().measure(adapted)["distance"]
        return {"distance": value + 1e-3 * np.random.standard_normal(len(value))}


class Overwrites(MeanDistance):
    def measure(self, adapted):
        adapted.fake_features.sort(axis=1)
        return super().measure(adapted)


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Unpromised, "test_values_are_those_it_promises"),
        (WrongWay, "test_better_is_what_it_says"),
        (Spoils, "test_one_bad_task_does_not_spoil_the_others"),
        (Noisy, "test_it_is_nothing_but_its_settings"),
        (Overwrites, "test_it_is_nothing_but_its_settings"),
    ],
)
def test_a_wrong_metric_is_found(wrong, test):
    def run(metric):
        adapted = small_adapted()
        more = {"worse": with_fakes(adapted, np.full_like(adapted.fake, 8.0))} if "better" in test or "spoil" in test else {}
        getattr(MetricContract(), test)(metric, adapted, *more.values())

    run(MeanDistance())
    with pytest.raises(AssertionError):
        run(wrong())


# ------------------------------------------------------------------ augmentations
class Noise:
    kinds = ("points",)
    leaks = True

    def augment_support(self, batch, draws):
        return {**batch, "x": batch["x"] + draws.normal("noise", tuple(batch["x"].shape))}


class GlobalNoise(Noise):
    def augment_support(self, batch, draws):
        return {**batch, "x": batch["x"] + torch.randn(batch["x"].shape)}


class DropsTargets(Noise):
    def augment_support(self, batch, draws):
        return {"x": batch["x"][:3]}


class Idle(Noise):
    def augment_support(self, batch, draws):
        return batch


class Looks(Noise):
    def augment_support(self, batch, draws):
        return batch if batch["x"].mean() > 0 else {**batch, "x": -batch["x"]}


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (GlobalNoise, "test_draws_decide_everything"),
        (DropsTargets, "test_names_shapes_and_dtypes_stay"),
        (Idle, "test_it_acts"),
        (Looks, "test_stacked_and_alone_it_is_the_same"),
    ],
)
def test_a_wrong_augmentation_is_found(wrong, test):
    contract = AugmentationContract()
    episodes = {"support": {"x": torch.randn(3, 5, 2).double()}, "query": {"x": torch.randn(3, 6, 2).double()}}
    getattr(contract, test)(Noise(), episodes)
    with pytest.raises((AssertionError, ContractError)):
        getattr(contract, test)(wrong(), episodes)


# ------------------------------------------------------------------ the others
def test_a_feature_extractor_that_looks_at_the_batch_is_found():
    class Standardised:
        kinds = ("points",)

        def features(self, samples):
            return (samples - samples.mean(0)).astype(np.float64)

    with pytest.raises(AssertionError):
        FeatureExtractorContract().test_features_do_not_depend_on_the_batch(Standardised(), Standardised())


def test_a_regulariser_that_does_nothing_is_found():
    class Nothing:
        def adjust_gradient(self, meta, gradient):
            return gradient

    with pytest.raises(AssertionError):
        MetaRegulariserContract().test_it_changes_an_outer_step(Nothing(), PlainMaml(), SmallGan())


def test_a_game_whose_health_nobody_explains_is_found():
    class Quiet(GAMES["gan"]):
        health_outputs = {}

    game = type("Bound", (), {"health": lambda self: {}})()
    with pytest.raises(AssertionError, match="that no health_outputs explain"):
        GameContract().test_health_is_what_it_promises(Quiet(), game, {})


# ------------------------------------------------------------------ what contracts share
def test_a_failure_that_is_expected_must_happen_have_a_reason_and_a_test():
    class Wanted(GanLossContract):
        expected_failures = {"test_losses_are_finite_scalars": "it is a value per sample"}

    (mark,) = Wanted.test_losses_are_finite_scalars.pytestmark
    assert (mark.name, mark.kwargs) == ("xfail", {"reason": "it is a value per sample", "strict": True})
    assert not hasattr(GanLossContract.test_losses_are_finite_scalars, "pytestmark")
    with pytest.raises(ContractError, match="'test_losses_are_finite_scalar', which is no test of it. Did you mean"):
        type("Wrong", (GanLossContract,), {"expected_failures": {"test_losses_are_finite_scalar": "x"}})
    with pytest.raises(ContractError, match="needs a reason"):
        type("Wrong", (GanLossContract,), {"expected_failures": {"test_losses_are_finite_scalars": " "}})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda: torch.manual_seed(0), "torch's random state"),
        (lambda: np.random.seed(0), "NumPy's random state"),
        (lambda: __import__("random").seed(0), "Python's random state"),
        (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
        (lambda: torch.set_grad_enabled(False), "torch's gradient mode"),
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "torch's number of threads"),
    ],
)
def test_what_all_components_share_is_watched_and_put_back(change, what):
    torch.rand(1), np.random.rand(1), __import__("random").random()
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    with pytest.raises(AssertionError, match=f"it changed {what}, which other components share"), global_state_untouched():
        change()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before[1:]
    assert torch.is_grad_enabled()


def test_every_contract_class_is_a_contract_with_documented_tests():
    for contract in Contract.__subclasses__():
        tests = [getattr(contract, name) for name in dir(contract) if name.startswith("test_")]
        assert tests
        assert all(test.__doc__ for test in tests)
