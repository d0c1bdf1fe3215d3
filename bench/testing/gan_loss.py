"""What every GAN loss owes its users."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from bench.testing.contract import Contract, global_state_untouched
from bench.testing.derivatives import PlainMaml, meta_gradient_error
from bench.testing.small_game import SmallGan


class GanLossContract(Contract):
    """What every GAN loss owes its users. Give a fixture ``loss``."""

    def test_losses_are_finite_scalars(self, loss: Any) -> None:
        """A mean over samples, not a value per sample."""
        real, fake = torch.tensor([2.0, -0.5]), torch.tensor([-1.5, 0.5])
        for value in (loss.discriminator_loss(real, fake), loss.generator_loss(real, fake)):
            assert value.shape == ()
            assert torch.isfinite(value)

    def test_real_and_fake_may_differ_in_number(self, loss: Any) -> None:
        """A game may play more fakes than reals, or fewer."""
        for reals, fakes in ((2, 5), (5, 2)):
            real, fake = torch.linspace(0, 1, reals), torch.linspace(-1, 0, fakes)
            for value in (loss.discriminator_loss(real, fake), loss.generator_loss(real, fake)):
                assert value.shape == ()
                assert torch.isfinite(value)

    def test_players_pull_fake_logits_apart(self, loss: Any) -> None:
        """At undecided logits the discriminator lowers the fakes and raises the reals, the generator raises the fakes."""
        real, fake = (torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
        d_real, d_fake = torch.autograd.grad(loss.discriminator_loss(real, fake), (real, fake))
        (g_fake,) = torch.autograd.grad(loss.generator_loss(real, fake), fake)
        assert (d_real <= 0).all()
        assert (d_fake >= 0).all()
        assert (g_fake < 0).all()

    def test_meta_gradient_through_the_loss_equals_finite_differences(self, loss: Any) -> None:
        """Twice differentiable, as second-order meta-learning needs."""
        error = meta_gradient_error(PlainMaml(), SmallGan(loss=loss), vectorise=getattr(loss, "vectorised", True))
        assert error is not None
        assert error < 1e-6

    def test_stacked_and_alone_it_is_the_same(self, loss: Any) -> None:
        """The engine takes the losses of all tasks at once: one task gone wrong harms no other."""
        if not getattr(loss, "vectorised", True):
            pytest.skip("this loss says that it can't be vectorised")
        real, fake = (torch.linspace(low, high, 12, dtype=torch.float64).reshape(3, 4).sin() for low, high in ((0, 3), (-2, 4)))
        real[0] = torch.nan
        for side in (loss.discriminator_loss, loss.generator_loss):
            stacked = torch.vmap(side)(real, fake)
            for task in (1, 2):
                assert torch.allclose(stacked[task], side(real[task], fake[task]), rtol=1e-12)

    def test_the_order_of_samples_does_not_matter(self, loss: Any) -> None:
        """A batch is a set of pairs: reversed, its loss is the same."""
        real, fake = torch.linspace(-1, 2, 6, dtype=torch.float64), torch.linspace(-2, 1, 6, dtype=torch.float64).square()
        for side in (loss.discriminator_loss, loss.generator_loss):
            assert torch.allclose(side(real, fake), side(real.flip(0), fake.flip(0)), rtol=1e-12)

    def test_it_is_nothing_but_its_settings(self, loss: Any) -> None:
        """No state and no randomness; logits and what all components share stay as they are."""
        real, fake = torch.linspace(-1, 2, 6), torch.linspace(-2, 1, 6)
        settings, kept = pickle.dumps(loss), (real.clone(), fake.clone())
        with global_state_untouched():
            values = [(float(loss.discriminator_loss(real, fake)), float(loss.generator_loss(real, fake))) for _ in range(2)]
        assert values[0] == values[1]
        assert pickle.dumps(loss) == settings
        assert torch.equal(real, kept[0])
        assert torch.equal(fake, kept[1])


class Logistic:
    """The non-saturating loss, for games that need one."""

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        """Mean softplus(-real) + mean softplus(fake)."""
        return softplus(-real_B).mean() + softplus(fake_B).mean()

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        """Mean softplus(-fake)."""
        return softplus(-fake_B).mean()
