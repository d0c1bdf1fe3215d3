"""Hierarchical adaptation: MAML as a special case, rates on two levels, the pull back to the shared parameters."""

from dataclasses import replace

import pytest
import torch

from bench.contracts import ContractError
from bench.game.engine import Engine
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners.hierarchical import Hierarchical
from bench_builtin.meta_learners.maml import Maml
from bench_builtin.meta_learners.selection import layer_of

INSIDE = {"inner_lr": {"generator": 0.05, "discriminator": 0.1}, "inner_optimiser": Sgd()}
ADAM = {"inner_lr": 0.01, "inner_optimiser": Adam(eps=1e-2)}


def meta_of(learner):
    return learner.init(torch.Generator().manual_seed(3), SmallGan())


def gradient_of(learner, meta, game):
    engine = Engine(game, learner)
    return engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, small_episodes(), small_draws())[0]


def ran_with(learner, meta, steps=3):
    """What the networks of each task run with after adaptation."""
    engine = Engine(SmallGan(), learner)
    end = engine.rollout(meta, small_episodes(), small_draws(), steps=steps, order=1)
    return engine.map("weights", lambda params: learner.weights(meta, params), end.params)


@pytest.mark.parametrize("inside", [INSIDE, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("adapts", [("*",), ("head",)], ids=["all", "anil"])
@pytest.mark.parametrize("start_at", ["zero", "learned"])
def test_equal_rates_without_decay_are_maml(inside, adapts, start_at):
    """The same weights and the same gradient of theta; a learned start has the gradient of theta, to which it is added."""
    mine, maml = Hierarchical(decay=0.0, start_at=start_at, adapts=adapts, steps=3, **inside), Maml(adapts=adapts, steps=3, **inside)
    meta = meta_of(mine)
    assert largest_difference(ran_with(mine, meta), ran_with(maml, meta_of(maml))) < 1e-12
    got, want = gradient_of(mine, meta, SmallGan()), gradient_of(maml, meta_of(maml), SmallGan())
    assert largest_difference({part: got[part] for part in want}, want) < 1e-12
    if start_at == "learned":
        assert largest_difference(got["offset"], want["initial"]) < 1e-12


def test_rate_gradients_have_their_closed_form():
    """One SGD step: dJ/dv_m = - a_m mean_i <grad^Q_m, grad^S_m>, and dJ/du of the player is the sum over its sub-modules."""
    game, learner = SmallGan(order="simultaneous"), Hierarchical(steps=1, **INSIDE)
    meta = meta_of(learner)
    for player, value in (("generator", 0.3), ("discriminator", -0.2)):
        meta["rates"][player]["player"] = torch.tensor(value).double()
        meta["rates"][player]["module"] = {layer: torch.tensor(0.1 * k).double() for k, layer in enumerate(meta["rates"][player]["module"])}
    engine, episodes, draws = Engine(game, learner), small_episodes(), small_draws()
    got = gradient_of(learner, meta, game)["rates"]
    start = engine.begin(meta, episodes["support"], draws)
    end = engine.rollout(meta, episodes, draws, steps=1, order=1)
    support, _ = engine.gradients(meta, start.params, episodes["support"], {}, draws.at("support", 0, 0), game.players, 1)
    query, _ = engine.gradients(meta, end.params, episodes["query"], {}, draws.at("query"), game.players, 1)
    for player, lr in INSIDE["inner_lr"].items():
        rates = meta["rates"][player]
        a = {layer: lr * (rates["player"] + v).exp() for layer, v in rates["module"].items()}
        want = dict.fromkeys(a, 0.0)
        for name, grad in query[player].items():
            want[layer_of(name)] -= a[layer_of(name)] * (grad * support[player][name]).flatten(1).sum(1).mean()
        assert got[player]["module"].keys() == want.keys()
        for layer, value in want.items():
            assert got[player]["module"][layer].item() == pytest.approx(value.item(), rel=1e-10)
        assert got[player]["player"].item() == pytest.approx(sum(value.item() for value in want.values()), rel=1e-10)


def test_each_sub_module_moves_at_the_product_of_both_rates():
    game, learner = SmallGan(order="simultaneous"), Hierarchical(decay=0.0, **INSIDE)
    meta = meta_of(learner)
    plain = Engine(game, learner).rollout(meta, small_episodes(), small_draws(), steps=1, order=1).params
    double, half = torch.tensor(2.0).double().log(), torch.tensor(0.5).double().log()
    rates = meta["rates"]["generator"]
    rates["player"], rates["module"]["2"] = double, half + half
    faster = Engine(game, learner).rollout(meta, small_episodes(), small_draws(), steps=1, order=1).params
    assert largest_difference(faster["discriminator"], plain["discriminator"]) == 0
    factors = {"0": 2.0, "2": 0.5}
    want = {name: factors[layer_of(name)] * moved for name, moved in plain["generator"].items()}
    assert largest_difference(faster["generator"], want) < 1e-12


def test_the_pull_leads_back_to_the_shared_parameters():
    """Without a rate, tau_k = (1 - c)^k tau_0: the weights return to theta geometrically, each sub-module at its own share."""
    learner = Hierarchical(start_at="learned", decay=0.25, inner_lr=0.0, inner_optimiser=Sgd())
    meta = meta_of(learner)
    rng = torch.Generator().manual_seed(1)
    meta["offset"] = tree_map(lambda w: torch.randn(w.shape, generator=rng, dtype=w.dtype), meta["offset"])
    meta["rates"]["generator"]["decay"]["2"] = torch.tensor(0.0).double()  # a share of 1/2
    end = Engine(SmallGan(), learner).rollout(meta, small_episodes(), small_draws(), steps=3, order=1).params
    for (path, tau), (_, start) in zip(leaves(end), leaves(meta["offset"]), strict=True):
        kept = 0.5 if (path[0], layer_of(path[1])) == ("generator", "2") else 0.75
        assert torch.allclose(tau, (kept**3 * start).expand_as(tau), rtol=1e-12)


def test_what_is_not_task_specific_stays_shared():
    learner = Hierarchical(adapts=("generator.0.*", "discriminator.last"), **INSIDE)
    weights, theta = ran_with(learner, meta_of(learner)), meta_of(Maml())["initial"]
    moved = {f"{player}.{name}" for (player, name), w in leaves(weights) if not torch.equal(w, theta[player][name].expand_as(w))}
    assert moved == {"generator.0.weight", "generator.0.bias", "discriminator.2.weight", "discriminator.2.bias"}


def test_own_path_is_refused():
    """It would leave out how theta acts on the query directly."""
    with pytest.raises(ContractError, match="use full"):
        Hierarchical(cross_player="own-path")


def test_leaves_of_meta_share_no_memory():
    """One rate registered for several layers would be one rate."""
    pointers = [leaf.data_ptr() for _, leaf in leaves(meta_of(Hierarchical(start_at="learned")))]
    assert len(set(pointers)) == len(pointers)


class TestHierarchical(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Hierarchical(steps=3, decay=0.1, **INSIDE)


class TestHierarchicalWithALearnedStart(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Hierarchical(start_at="learned", adapts=("head",), **ADAM)


class TestFirstOrderHierarchical(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return replace(Hierarchical(**INSIDE), order=1)
