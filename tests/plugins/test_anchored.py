"""Fine-tuning with an anchor: closed forms on a quadratic, and what the Fisher information is a mean of."""

import pytest
import torch
from torch import nn

from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import MetaLearnerContract, SmallGan, identical, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Ewc, Finetune, L2Sp


class TestL2Sp(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return L2Sp(inner_lr=0.05, inner_optimiser=Adam(eps=1e-2), strength=0.3)


class TestEwc(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Ewc(inner_lr=0.05)

    def test_a_players_meta_step_moves_only_what_it_owns(self, learner, game, meta):
        """Each player's parameters move whatever becomes of the others'; the Fisher information is no descent, so it moves anyway."""

        def after(generator, discriminator):
            learner = Ewc(outer_lr={"generator": generator, "discriminator": discriminator})
            return Engine(game, learner).outer_step(meta, small_episodes(), Outer(learner), small_draws())[0]

        both, one, other = after(0.001, 0.001), after(0.001, 0.0), after(0.0, 0.001)
        assert identical(one["initial"], {"generator": both["initial"]["generator"], "discriminator": meta["initial"]["discriminator"]})
        assert identical(other["initial"], {"generator": meta["initial"]["generator"], "discriminator": both["initial"]["discriminator"]})
        assert identical(one["fisher"], both["fisher"])
        assert largest_difference(both["fisher"], meta["fisher"]) > 0


# ------------------------------------------------------------------ adaptation
class Quadratic:
    """L(t) = (t - c)^T A (t - c) / 2 with diagonal A: one player, no noise."""

    players, schedule = ("model",), (("model",),)

    def __init__(self):
        self.modules = {"model": nn.Linear(2, 1, bias=False).double()}

    def state(self):
        return {}

    def losses(self, weights, batch, players, state, draws):
        offset = weights["model"]["weight"][0] - batch["c"]
        return {"model": 0.5 * (batch["A"] * offset * offset).sum()}, state


A = torch.tensor([[1.0, 3.0], [4.0, 0.5]], dtype=torch.float64)
C = torch.tensor([[1.0, -1.0], [-2.0, 0.5]], dtype=torch.float64)
TASKS = {part: {"A": A, "c": C} for part in ("support", "query")}
DRAWS = Draws(torch.arange(2), torch.float64)
THETA = torch.tensor([[0.7, -0.2]], dtype=torch.float64)


def end_of_adaptation(learner, steps, **meta):
    given = {"initial": {"model": {"weight": THETA}}, **{name: {"model": {"weight": leaf}} for name, leaf in meta.items()}}
    return Engine(Quadratic(), learner).rollout(given, TASKS, DRAWS, steps=steps, order=1).params["model"]["weight"][:, 0]


SETTINGS = {"inner_lr": 0.1, "inner_optimiser": Sgd(), "strength": 2.0}


@pytest.mark.parametrize("steps", [1, 3, 400])
def test_adaptation_contracts_to_the_anchored_minimum(steps):
    """phi_K - m = (1 - lr (A + strength F))^K (theta - m), m = (A + strength F)^-1 (A c + strength F theta), axis by axis."""
    fisher = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    for learner, F, meta in ((L2Sp(**SETTINGS), 1.0, {}), (Ewc(**SETTINGS), fisher, {"fisher": fisher})):
        curvature = A + 2.0 * F
        minimum = (A * C + 2.0 * F * THETA) / curvature
        expected = minimum + (1 - 0.1 * curvature) ** steps * (THETA - minimum)
        assert torch.allclose(end_of_adaptation(learner, steps, **meta), expected, rtol=1e-12, atol=1e-12)


def test_a_fisher_information_of_one_is_l2_sp():
    ewc = end_of_adaptation(Ewc(**SETTINGS), 5, fisher=torch.ones_like(THETA))
    assert torch.equal(ewc, end_of_adaptation(L2Sp(**SETTINGS), 5))


def test_the_anchor_is_seen_by_the_inner_optimiser():
    """It is part of the loss: Adam divides by it too, so after two steps the path is not that of a pull beside Adam."""
    adam = {"inner_lr": 0.1, "inner_optimiser": Adam(eps=1e-2)}
    theta, strength = THETA.expand(2, 2), 2.0
    phi, square = theta, torch.zeros(2, 2, dtype=torch.float64)
    for k in range(3):
        gradient = A * (phi - C) + strength * (phi - theta)
        square = 0.99 * square + 0.01 * gradient**2
        phi = phi - 0.1 * gradient / (square / (1 - 0.99 ** (k + 1)) + 1e-4).sqrt()
    assert torch.allclose(end_of_adaptation(L2Sp(**adam, strength=strength), 3), phi, rtol=1e-12)


@pytest.mark.parametrize("anchored", [L2Sp, Ewc])
def test_strength_zero_is_fine_tuning(anchored):
    game, episodes, draws = SmallGan(), small_episodes(), small_draws()
    meta = Ewc().init(torch.Generator(), game)
    ends = [Engine(game, learner).rollout(meta, episodes, draws, steps=4, order=1) for learner in (anchored(strength=0.0), Finetune())]
    assert identical(ends[0].params, ends[1].params)


# ------------------------------------------------------------------ the Fisher information
def trained(learner, steps, **settings):
    """Engine and meta after outer steps on the small GAN, and meta before each of them."""
    game = SmallGan()
    engine, outer, meta, befores = Engine(game, learner, **settings), Outer(learner), learner.init(torch.Generator(), game), []
    for outer.step in range(steps):
        befores.append(meta)
        meta, _ = engine.outer_step(meta, small_episodes(), outer, small_draws().at(outer.step))
    return engine, meta, befores


def squared_gradients(meta, step):
    """(1/T) sum_t (dL_t,p/dtheta_p)^2 at theta: one task at a time, by plain autograd on the game."""
    game, episodes, draws = SmallGan(), small_episodes(), small_draws().at(step).at("joint")
    batch = torch.cat([episodes["support"]["x"], episodes["query"]["x"]], 1)
    total = {player: dict.fromkeys(own, 0.0) for player, own in meta["initial"].items()}
    for t, key in enumerate(draws.key):
        theta = tree_map(lambda leaf: leaf.clone().requires_grad_(), meta["initial"])
        losses, _ = game.losses(theta, {"x": batch[t]}, game.players, {}, draws.of(key))
        for player, own in theta.items():
            grads = torch.autograd.grad(losses[player], list(own.values()), retain_graph=True)
            for name, grad in zip(own, grads, strict=True):
                total[player][name] = total[player][name] + grad**2 / len(draws.key)
    return total


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_it_is_the_running_mean_of_squared_gradients_of_tasks(chunk):
    _, meta, befores = trained(Ewc(), 3, task_chunk=chunk)
    by_hand = [squared_gradients(before, step) for step, before in enumerate(befores)]
    mean = tree_map(lambda *squares: sum(squares) / 3, *by_hand)
    assert largest_difference(meta["fisher"], mean) < 1e-10


def test_it_forgets_what_lies_before_the_window():
    """With a window of one it is the mean square of the last outer step."""
    _, meta, befores = trained(Ewc(window=1), 3)
    assert largest_difference(meta["fisher"], squared_gradients(befores[-1], 2)) < 1e-10


@pytest.mark.parametrize("settings", [{}, {"adapts": ("head",)}, {"uses": "query"}], ids=["whole", "head", "query"])
def test_joint_training_is_that_of_fine_tuning_at_the_same_cost(settings):
    """The mean of the tasks' gradients is the joint gradient, so the Fisher information costs no gradient."""
    (engine, meta, _), (plain, expected, _) = (trained(learner(**settings), 3) for learner in (Ewc, Finetune))
    assert largest_difference({name: meta[name] for name in expected}, expected) < 1e-10
    assert meta.keys() == {*expected, "fisher"}
    assert engine.gradient_evaluations == plain.gradient_evaluations > 0
    assert engine.samples_seen == plain.samples_seen > 0


def test_the_outer_optimiser_knows_nothing_of_it():
    game, ewc = SmallGan(), Ewc()
    outer = Outer(ewc)
    Engine(game, ewc).outer_step(ewc.init(torch.Generator(), game), small_episodes(), outer, small_draws())
    assert not any("fisher" in path for path, _ in leaves(outer.state))
