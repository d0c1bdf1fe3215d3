"""What the discriminator sees: transforms of reals and fakes, their adaptive probability, and fakes that are taken for real."""

import pytest
import torch
from torch import nn

from bench.contracts import Parts, SampleSpec
from bench.game.critic import Critic
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.registry.hyperparameters import hyperparameters, schema_of
from bench.store import load_tree, save_tree
from bench.testing import largest_difference, meta_gradient_error, small_draws, small_episodes, small_networks
from bench.trees import flatten, unflatten
from bench_builtin.augmentations import Ada, AdversarialAugmentation, DiffAugment
from bench_builtin.augmentations.transforms import cut_out, flipped, recoloured, shifted
from bench_builtin.games import Gan
from bench_builtin.gan_losses import NonSaturating
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Maml
from bench_builtin.networks import Mlp

DRAWS = Draws(torch.tensor(5), torch.float64)
IMAGES = torch.randn(64, 2, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
ALL = ("colour", "translation", "cutout")


def image_game(*augmentations):
    """A GAN of 4 x 4 images with smooth players."""
    spec, network = SampleSpec("image", (1, 4, 4)), Mlp(width=4, depth=1, latent=2, activation="tanh")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {role: network.build(role, spec).double() for role in ("generator", "discriminator")}
    named = {str(number): one for number, one in enumerate(augmentations)}
    return Gan().bind(Parts(modules=modules, critic=Critic, loss=NonSaturating(), augmentations=named))


def image_episodes():
    images = torch.randn(3, 7, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return {"support": {"x": images[:, :4]}, "query": {"x": images[:, 4:]}}


# ------------------------------------------------------------------ single transforms
def test_shifts_are_whole_pixels_up_to_a_share_of_the_side():
    """A share of 1/4 of 8 x 6 is up to 2 rows and 2 columns: every image is one of 25 windows of its padded self, and all moves occur."""
    seen = shifted(IMAGES, 0.25, DRAWS)
    padded = nn.functional.pad(IMAGES, (2, 2, 2, 2), mode="replicate")
    windows = torch.stack([padded[..., i : i + 8, j : j + 6] for i in range(5) for j in range(5)])
    distance = (windows - seen).abs().amax((2, 3, 4))
    assert distance.min(0).values.max() < 1e-12
    chosen = distance.argmin(0)
    assert set((chosen // 5).tolist()) == set((chosen % 5).tolist()) == set(range(5))


def test_a_flip_is_all_or_nothing_and_fair():
    seen = flipped(IMAGES, DRAWS)
    mirrored = (seen == IMAGES.flip(-1)).flatten(1).all(1)
    assert (mirrored | (seen == IMAGES).flatten(1).all(1)).all()
    assert 16 < int(mirrored.sum()) < 48  # 4 standard deviations about 32


def test_colours_are_one_affine_map_per_image_where_there_is_one_channel():
    """x' = contrast (x - mean) + mean + brightness, contrast in [1/2, 3/2), brightness in [-1/2, 1/2)."""
    grey = IMAGES[:, :1]
    seen = recoloured(grey, DRAWS)
    moved = (seen - grey).mean((1, 2, 3))
    contrast = (seen - seen.mean((1, 2, 3), keepdim=True)) / (grey - grey.mean((1, 2, 3), keepdim=True))
    assert (contrast.amax((1, 2, 3)) - contrast.amin((1, 2, 3))).max() < 1e-9
    assert 0.5 <= contrast.min() < 0.6
    assert 1.4 < contrast.max() < 1.5
    assert -0.5 <= moved.min() < -0.4
    assert 0.4 < moved.max() < 0.5


def test_saturation_keeps_the_mean_over_channels():
    """Per pixel; with contrast undone, channels lie about it as before, times a number in [0, 2)."""
    seen = recoloured(IMAGES, DRAWS)
    between = (seen[:, 0] - seen[:, 1]) / (IMAGES[:, 0] - IMAGES[:, 1])
    factor = between.mean((1, 2))
    assert (between - factor[:, None, None]).abs().max() < 1e-9
    assert 0 <= factor.min() < 0.2
    assert 1.5 < factor.max() < 3
    grey, before = (x.mean(1) - x.mean((1, 2, 3))[:, None, None] for x in (seen, IMAGES))
    assert (grey / before).std((1, 2)).max() < 1e-9


def test_a_cutout_is_a_rectangle_of_zeros_whose_middle_is_in_the_image():
    seen = cut_out(IMAGES, 0.5, DRAWS)
    cut = (seen == 0).all(1)
    assert torch.equal(seen, torch.where(cut[:, None], 0.0, IMAGES))
    rows, columns = cut.any(2), cut.any(1)
    assert torch.equal(cut, rows[:, :, None] & columns[:, None, :])
    for inside, most in ((rows, 4), (columns, 3)):
        runs = inside.to(torch.int64).diff(dim=1).abs().sum(1)
        assert (runs <= 2).all()  # in one piece
        assert set(inside.sum(1).tolist()) == set(range(most // 2 + most % 2, most + 1))


# ------------------------------------------------------------------ DiffAugment
def test_the_empty_policy_changes_nothing():
    assert DiffAugment(policy=()).augment_view(IMAGES, {}, DRAWS) is IMAGES
    values = [adapted(image_game(*views)) for views in ((), (DiffAugment(policy=()),))]
    assert largest_difference(*values) == 0


def adapted(game, *, vectorise=True, episodes=None, **settings):
    learner = Maml(order=1, inner_lr=0.1, inner_optimiser=Sgd(), steps=2)
    engine = Engine(game, learner, vectorise=vectorise, **settings)
    meta = learner.init(torch.Generator(), game)
    return engine.rollout(meta, episodes or image_episodes(), small_draws(), steps=2, order=1).params


@pytest.mark.parametrize("view", [DiffAugment(), Ada(step=0.5, target=-0.9)], ids=["diffaugment", "ada"])
def test_vmap_and_loop_see_the_same(view):
    assert largest_difference(adapted(image_game(view)), adapted(image_game(view), vectorise=False)) < 1e-10


def test_every_sample_and_either_side_has_its_own_transform():
    same = IMAGES[:1].expand(8, -1, -1, -1)
    one, other = (DiffAugment().augment_view(same, {}, DRAWS.at(who)) for who in ("real", "fake"))
    both = torch.cat([one, other]).flatten(1)
    assert (torch.cdist(both, both) + 100 * torch.eye(16)).min() > 1e-3


def test_the_generator_learns_through_the_transforms():
    """Second-order meta-gradients with views on both sides, against central differences."""
    error = meta_gradient_error(
        Maml(order=2, inner_lr=0.1, inner_optimiser=Sgd(), steps=2), image_game(DiffAugment()), episodes=image_episodes()
    )
    assert error < 1e-6


# ------------------------------------------------------------------ ADA
def test_p_rises_by_a_step_while_the_reals_are_all_told_and_stays_in_its_range():
    ada = Ada(target=0.6, step=0.3)
    state, seen = ada.start(), []
    for logits in ([1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [3.0, -3.0], [1.0, -1.0]):
        state = ada.watch(torch.tensor(logits), state)
        seen.append(state["p"].item())
    assert seen == pytest.approx([0.3, 0.6, 0.9, 1.0, 0.7, 0.4])
    assert ada.watch(torch.tensor([-1.0]), Ada().start())["p"] == 0


def test_the_share_of_transformed_images_is_p():
    ada, p = Ada(policy=("cutout",)), 0.25
    many = torch.ones(2000, 1, 4, 4)
    changed = (ada.augment_view(many, {"p": torch.tensor(p).double()}, DRAWS) != many).flatten(1).any(1).double().mean()
    assert changed.item() == pytest.approx(p, abs=4 * (p * (1 - p) / 2000) ** 0.5)


@pytest.mark.parametrize(("p", "like"), [(0.0, DiffAugment(policy=())), (1.0, DiffAugment())])
def test_at_the_ends_of_p_it_is_diffaugment_or_nothing(p, like):
    seen = Ada().augment_view(IMAGES, {"p": torch.tensor(p).double()}, DRAWS)
    assert torch.equal(seen, like.augment_view(IMAGES, {}, DRAWS))


def test_p_goes_on_over_tasks_outer_steps_checkpoints_and_held_out_tasks(tmp_path):
    """Two adaptation steps of one judgement each, all reals told (a bias sees to that): p grows by 2 steps an outer step."""
    game = image_game(Ada(step=0.1, target=0.5))
    with torch.no_grad():
        game.modules["discriminator"][-1].bias += 50.0
    learner = Maml(order=1, inner_lr=1e-3, inner_optimiser=Sgd(), steps=2, outer_lr=1e-3)
    trainer = Engine(game, learner, adaptation_steps=2)
    meta, outer = learner.init(torch.Generator(), game), Outer(learner)
    for outer.step in range(2):
        meta, _ = trainer.outer_step(meta, image_episodes(), outer, small_draws())
    assert trainer.state["0"]["p"].item() == pytest.approx(0.4)
    save_tree(tmp_path / "checkpoint", flatten({"carried": trainer.carried}))
    adapter = Engine(game, learner, training=False)
    adapter.carried = unflatten(load_tree(tmp_path / "checkpoint"))["carried"]
    end = adapter.rollout(meta, image_episodes(), small_draws(), steps=1, order=1)
    assert end.state["0"]["p"].tolist() == pytest.approx([0.5] * 3)


def test_tasks_hand_on_the_mean_of_their_p():
    """Alone, each task's p is a multiple of the step; together, the mean."""
    game = image_game(Ada(step=0.1, target=0.0))
    learner = Maml(order=1, inner_lr=0.5, inner_optimiser=Sgd(), steps=3, outer_lr=1e-3)
    engine = Engine(game, learner, adaptation_steps=3)
    meta = learner.init(torch.Generator(), game)
    ends = engine.rollout(meta, image_episodes(), small_draws(), steps=3, order=1).state["0"]["p"]
    engine.outer_step(meta, image_episodes(), Outer(learner), small_draws())
    assert engine.state["0"]["p"].item() == pytest.approx(ends.mean().item())


# ------------------------------------------------------------------ generated samples as data
def point_game(*augmentations):
    modules = small_networks()
    modules["generator"].latent = 2
    named = {str(number): one for number, one in enumerate(augmentations)}
    return Gan().bind(Parts(modules=modules, critic=Critic, loss=NonSaturating(), augmentations=named))


def test_a_share_of_nothing_changes_nothing():
    values = [adapted(point_game(*several), episodes=small_episodes()) for several in ((), (AdversarialAugmentation(generated_share=0.0),))]
    assert largest_difference(*values) == 0


@pytest.mark.parametrize("share", [0.1, 1 / 3])
def test_the_discriminators_loss_is_linear_in_the_share(share):
    """(1 - w) L(real, fake) + w L(other, fake): from the losses at 0 and 1/4 follow all; the generator's stays."""

    def losses(w):
        game, learner = point_game(AdversarialAugmentation(generated_share=w)), Maml(inner_optimiser=Sgd())
        engine = Engine(game, learner)
        meta = learner.init(torch.Generator(), game)
        begun = engine.begin(meta, small_episodes()["support"], small_draws())
        return engine.losses(meta, begun.params, small_episodes()["support"], {}, small_draws())[0]

    none, quarter, some = (losses(w) for w in (0.0, 0.25, share))
    slope = (quarter["discriminator"] - none["discriminator"]) / 0.25
    assert torch.allclose(some["discriminator"], none["discriminator"] + share * slope, rtol=1e-10)
    assert slope.abs().min() > 1e-3
    assert torch.equal(some["generator"], none["generator"])


def test_more_than_a_third_is_refused():
    allowed = schema_of(hyperparameters(AdversarialAugmentation))["properties"]["generated_share"]
    assert (allowed["minimum"], allowed["maximum"]) == (0, 1 / 3)
