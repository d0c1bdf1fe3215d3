"""Health of a game by adaptation step: planted games whose logits and gradients are known by arithmetic."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.contracts import Parts, rate_of
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.trial.adaptation import begin
from bench.trial.health import game_health
from bench_builtin.games.gan import Gan
from bench_builtin.gan_losses import GAN_LOSSES, Hinge, NonSaturating

SLOPE, SUPPORT, QUERY = 2.0, (1.0, 5.0), (-1.0, 0.5, 7.0)


class Fixed(nn.Module):
    """A generator of one number, whatever the latents."""

    latent = 1

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value], dtype=torch.float64))

    def forward(self, z):
        return self.value.expand(len(z), 1) + 0 * z


class Descent:
    """Adapts by one rate, or one per player; with 0 nothing changes."""

    def __init__(self, lr):
        self.lr = lr

    def init(self, rng, game):
        return {p: {name: weight.detach().clone() for name, weight in module.named_parameters()} for p, module in game.modules.items()}

    def begin(self, meta, support, draws):
        return meta, {player: {} for player in meta}

    def weights(self, meta, params):
        return params

    def update(self, meta, player, step, params, grads, inner, support):
        return {name: weight - rate_of(self.lr, player) * grads[name] for name, weight in params.items()}, inner


def planted(loss, *, fake=-3.0, lr=0.0, vectorise=True, tasks=2, **rules):
    """Tasks in which a linear critic, logit = 2 x, meets a generator of one number; task t has its samples doubled t times."""
    critic = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(critic.weight, SLOPE)
    game = Gan(**rules).bind(Parts({"generator": Fixed(fake), "discriminator": critic}, Critic, loss))
    engine = Engine(game, Descent(lr), vectorise=vectorise)
    scale = 2.0 ** torch.arange(tasks, dtype=torch.float64)[:, None, None]
    batch = {part: {"x": scale * torch.tensor(values).double()[:, None]} for part, values in (("support", SUPPORT), ("query", QUERY))}
    return begin(engine, engine.init(torch.Generator()), batch, Draws(torch.arange(tasks), torch.float64))


@pytest.mark.parametrize("vectorise", [True, False])
def test_the_gap_is_the_difference_of_mean_logits(vectorise):
    gap = game_health(planted(NonSaturating(), vectorise=vectorise))["discriminator-gap"]
    # A batch as large as the support: the first two samples of the query.
    expected = SLOPE * (np.mean(SUPPORT) - np.mean(QUERY[:2]))
    assert gap == pytest.approx([expected, 2 * expected])


def test_a_query_smaller_than_the_support_is_gone_through_again():
    tasks = planted(NonSaturating())
    tasks.batch["query"]["x"] = tasks.batch["query"]["x"][:, 2:]
    assert game_health(tasks)["discriminator-gap"] == pytest.approx([SLOPE * (3 - 7), 2 * SLOPE * (3 - 7)])


def test_a_logistic_sample_is_saturated_beyond_the_logit_of_99_percent():
    edge = math.log(99) / SLOPE
    # Real logits of task 0 are 2 and 10, of task 1 are 4 and 20: one of two is saturated in either.
    for fake, share in ((-edge - 1e-6, 0.75), (-edge + 1e-6, 0.25), (0.0, 0.25), (edge + 1, 0.25)):
        assert game_health(planted(NonSaturating(), fake=fake))["saturation"].tolist() == [share, share]


def test_a_hinge_sample_is_saturated_beyond_the_margin():
    assert game_health(planted(Hinge(), fake=-0.51))["saturation"].tolist() == [1, 1]  # logits 2, 10 and -1.02
    assert game_health(planted(Hinge(), fake=-0.49))["saturation"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_every_loss_has_a_saturation_and_wasserstein_none(name):
    share = game_health(planted(GAN_LOSSES[name]()))["saturation"]
    assert ((share >= 0) & (share <= 1)).all()
    if name == "wasserstein":
        assert share.tolist() == [0, 0]


def test_fakes_in_another_number_than_the_support_count_as_one_half():
    assert game_health(planted(NonSaturating(), fake=-9.0, fakes=5))["saturation"].tolist() == [0.75, 0.75]


# ------------------------------------------------------------------ gradients
def test_before_the_first_step_no_gradient_has_been_taken():
    assert set(game_health(planted(NonSaturating()))) == {"saturation", "discriminator-gap"}


@pytest.mark.parametrize("vectorise", [True, False])
def test_gradient_norms_are_those_of_the_losses(vectorise):
    """Wasserstein: dL_D/dw = fake - mean real, dL_G/dvalue = -w."""
    found = game_health(planted(GAN_LOSSES["wasserstein"](), vectorise=vectorise).further(1))
    assert found["gradient-norm-discriminator"] == pytest.approx([abs(-3 - 3), abs(-3 - 6)])
    assert found["gradient-norm-generator"] == pytest.approx([SLOPE, SLOPE])


def test_of_several_moves_in_a_step_the_last_is_recorded():
    """Non-saturating, one weight w: dL_D/dw falls as the critic moves; its second move in a step starts where the first ended."""
    once = planted(NonSaturating(), lr=0.1, order="alternating").further(1)
    twice = planted(NonSaturating(), lr=0.1, order="alternating", n_critic=2).further(1)
    first = game_health(once)["gradient-norm-discriminator"]
    second = game_health(twice)["gradient-norm-discriminator"]
    # The same first move; by hand for task 0: L_D' = -mean(x sigmoid(-w x)) - 3 sigmoid(-3 w) at w, then at w - 0.1 L_D'.

    def slope(w):
        return -np.mean([x / (1 + math.exp(w * x)) for x in SUPPORT]) - 3 / (1 + math.exp(3 * w))

    assert first[0] == pytest.approx(abs(slope(SLOPE)))
    assert second[0] == pytest.approx(abs(slope(SLOPE - 0.1 * slope(SLOPE))))


def test_norms_are_over_all_parameters_of_a_player():
    game = Gan().bind(Parts({"generator": Fixed(0.5), "discriminator": nn.Linear(1, 1, dtype=torch.float64)}, Critic, Hinge()))
    engine = Engine(game, Descent(0.0))
    support = {"x": torch.tensor([[[0.1], [0.3]]], dtype=torch.float64)}
    tasks = begin(engine, engine.init(torch.Generator()), {"support": support, "query": support}, Draws(torch.arange(1), torch.float64))
    # Inside the margin: d/dw = mean fake - mean real = 0.3 and d/db = 1 - 1 = 0 when both sides pull.
    assert game_health(tasks.further(1))["gradient-norm-discriminator"] == pytest.approx([0.3])


def test_a_critic_that_has_won_vanishes_and_its_opponent_does_not():
    """Hinge: the real logits are beyond the margin, the fake one, -1/2, is not; one step of -0.25 moves w to 4.5 and that to -9/8."""
    tasks = planted(Hinge(), fake=-0.25, lr={"discriminator": 10.0, "generator": 0.0})
    found = [game_health(tasks.further(steps)) for steps in (1, 2, 4)]
    assert [one["gradient-norm-discriminator"].tolist() for one in found] == [[0.25, 0.25], [0, 0], [0, 0]]
    assert [one["vanishing-steps-discriminator"].tolist() for one in found] == [[0, 0], [1 / 2, 1 / 2], [3 / 4, 3 / 4]]
    assert [one["vanishing-steps-generator"].tolist() for one in found] == [[0, 0]] * 3
    assert found[-1]["saturation"].tolist() == [1, 1]


def test_steps_in_parts_are_steps_at_once():
    whole, parts = planted(NonSaturating(), lr=0.3).further(5), planted(NonSaturating(), lr=0.3).further(2).further(0).further(3)
    assert len(whole.norms) == len(parts.norms) == 5
    for name, values in game_health(whole).items():
        assert values == pytest.approx(game_health(parts)[name])


def test_measuring_changes_nothing():
    untouched, measured = planted(NonSaturating(), lr=0.3).further(1), planted(NonSaturating(), lr=0.3)
    game_health(measured)
    measured = measured.further(1)
    game_health(measured)
    spent = measured.engine.gradient_evaluations, measured.engine.samples_seen
    assert spent == (untouched.engine.gradient_evaluations, untouched.engine.samples_seen)
    assert measured.engine.norms is None
    assert np.array_equal(
        untouched.further(3).samples(4, untouched.batch["query"]), measured.further(3).samples(4, measured.batch["query"])
    )
