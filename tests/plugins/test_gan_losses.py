"""GAN losses: what they do not depend on, and games they agree with. Their table of values is among the oracles of the game."""

import pytest
import torch

from bench_builtin.gan_losses import GAN_LOSSES, LeastSquares, NonSaturating, Relativistic, RelativisticAverage

REAL, FAKE = torch.tensor([2.0, -0.5, 1.0]).double(), torch.tensor([-1.5, 0.5, 0.2]).double()
SIDES = ("discriminator_loss", "generator_loss")


def losses(loss, real=REAL, fake=FAKE):
    return [getattr(loss, side)(real, fake).item() for side in SIDES]


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
@pytest.mark.parametrize("shift", [-3.0, 0.7, 10.0])
def test_relativistic_losses_see_differences_only(name, shift):
    loss = GAN_LOSSES[name]()
    assert losses(loss, REAL + shift, FAKE + shift) == pytest.approx(losses(loss))


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "least-squares", "hinge"])
def test_other_losses_know_where_zero_is(name):
    loss = GAN_LOSSES[name]()
    assert losses(loss, REAL + 1, FAKE + 1) != pytest.approx(losses(loss), abs=1e-2)


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_the_relativistic_game_is_symmetric(name):
    """The generator minimises what the discriminator does with real and fake swapped."""
    loss = GAN_LOSSES[name]()
    assert loss.generator_loss(REAL, FAKE).item() == pytest.approx(loss.discriminator_loss(FAKE, REAL).item())


@pytest.mark.parametrize("name", ["relativistic", "relativistic-average"])
def test_undecided_relativistic_players_pay_ln_2(name):
    zero = torch.zeros(4).double()
    assert losses(GAN_LOSSES[name](), zero, zero) == pytest.approx([0.693147, 0.693147], abs=1e-6)


def test_against_one_constant_logit_both_relativistic_losses_agree():
    """Where all fakes are equal, each pair's fake is the average one: L_D = mean sp(f - r), half of it from either mean of the average."""
    fake = torch.full((3,), 0.4).double()
    shifted = REAL - fake
    want = torch.nn.functional.softplus(-shifted).mean().item()
    assert Relativistic().discriminator_loss(REAL, fake).item() == pytest.approx(want)
    over_average = torch.nn.functional.softplus(-shifted.mean()).item()
    assert RelativisticAverage().discriminator_loss(REAL, fake).item() == pytest.approx((want + over_average) / 2)


@pytest.mark.parametrize("side", SIDES)
def test_pairs_of_unequal_batches_are_rows_modulo_their_lengths(side):
    """Two reals against five fakes are reals 0 1 0 1 0; a whole number of repetitions of both changes nothing."""
    loss, five = getattr(Relativistic(), side), torch.tensor([-1.5, 0.5, 0.2, 1.0, -2.0]).double()
    assert loss(REAL[:2], five).item() == pytest.approx(loss(REAL[[0, 1, 0, 1, 0]], five).item())
    assert loss(five, REAL[:2]).item() == pytest.approx(loss(five, REAL[[0, 1, 0, 1, 0]]).item())
    assert loss(REAL.repeat(2), FAKE.repeat(2)).item() == pytest.approx(loss(REAL, FAKE).item())


def test_the_average_does_not_care_for_order_or_repetition():
    loss = RelativisticAverage()
    assert losses(loss, REAL.repeat(3), FAKE.flip(0)) == pytest.approx(losses(loss))


def test_fakes_far_below_the_reals_leave_the_non_saturating_gradient():
    """With f_i - r_i very negative, d/df sp(r - f) = -1 / B: relativistic generators do not saturate either."""
    fake = torch.full((3,), -40.0).double().requires_grad_()
    for loss in (Relativistic(), NonSaturating()):
        (gradient,) = torch.autograd.grad(loss.generator_loss(REAL, fake), fake)
        assert torch.allclose(gradient, torch.full((3,), -1 / 3).double())


def test_least_squares_vanish_at_their_targets():
    loss = LeastSquares(a=-1.0, b=1.0, c=0.5)
    at = [torch.full((2,), target).double() for target in (1.0, -1.0, 0.5)]
    assert loss.discriminator_loss(at[0], at[1]).item() == 0
    assert loss.generator_loss(at[0], at[2]).item() == 0
