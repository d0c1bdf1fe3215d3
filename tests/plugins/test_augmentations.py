"""Augmentations: what they may do to a task, and that doing nothing is doing nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from bench.contracts import ContractError
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.suite.components import Component
from bench.testing import SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves, tree_map
from bench.trial.run import caveats
from bench_builtin.augmentations import AUGMENTATIONS, MetaMix, SupportAugmentation, TaskAugmentation
from bench_builtin.augmentations.chance import integers, rotation, symmetric_beta
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Maml, Scratch

OF_TASKS = ("task-augmentation", "support-augmentation", "metamix")
TASKS = 40
KEYS = torch.arange(TASKS) * 104729
DRAWS = Draws(KEYS, torch.float64)


def images(n, height=5, width=5):
    return torch.randn(TASKS, n, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


def points(n):
    return torch.randn(TASKS, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


def episodes(make, *, y=False):
    """Support of 4 and query of 6 samples of each task."""
    parts = {"support": {"x": make(4)}, "query": {"x": make(6)}}
    return {part: {**batch, **({"y": batch["x"].flatten(2).sum(2)} if y else {})} for part, batch in parts.items()}


def augmented(augmentation, stacked):
    """Each task of ``stacked`` through one draw of the augmentation, as the engine does it."""
    return Engine(SmallGan(), Maml(), augmentations=[augmentation])._augmented("augment_task", stacked, DRAWS)


def adapted_on(augmentation, batch, draws=DRAWS):
    return Engine(SmallGan(), Maml(), augmentations=[augmentation])._augmented("augment_support", batch, draws)


def views(x_CHW):
    """The eight turned and mirrored images of one image."""
    turned = [torch.rot90(x_CHW, turn, (-2, -1)) for turn in range(4)]
    return turned + [x.flip(-1) for x in turned]


# ------------------------------------------------------------------ the engine applies them
@pytest.mark.parametrize("augmentation", [AUGMENTATIONS[name]() for name in OF_TASKS], ids=OF_TASKS)
def test_vmap_and_loop_transform_alike_and_chunks_do_not_matter(augmentation):
    stacked = episodes(images if "points" not in augmentation.kinds else points)
    seen = []
    for vectorise in (True, False):
        engine = Engine(SmallGan(), Maml(), augmentations=[augmentation], vectorise=vectorise)
        whole = engine._augmented("augment_task", stacked, DRAWS), engine._augmented("augment_support", stacked["support"], DRAWS)
        seen.append({"tasks": whole[0], "support": whole[1]})
    assert largest_difference(*seen) < 1e-12
    half = tree_map(lambda leaf: leaf[:3], stacked)
    engine = Engine(SmallGan(), Maml(), augmentations=[augmentation])
    alone = (
        engine._augmented("augment_task", half, DRAWS.of(KEYS[:3])),
        engine._augmented("augment_support", half["support"], DRAWS.of(KEYS[:3])),
    )
    assert largest_difference(alone[0], tree_map(lambda leaf: leaf[:3], seen[0]["tasks"])) < 1e-12
    assert largest_difference(alone[1], tree_map(lambda leaf: leaf[:3], seen[0]["support"])) < 1e-12


def test_the_support_is_transformed_anew_at_every_step():
    support = {"x": images(4)}
    first, second = (adapted_on(SupportAugmentation(shift=2), support, DRAWS.at(k)) for k in (0, 1))
    assert largest_difference(first, second) > 0.1


def test_identity_transforms_change_no_step_of_meta_learning():
    learner = Maml(inner_lr=0.05, inner_optimiser=Sgd())
    meta = learner.init(torch.Generator(), SmallGan())
    still = TaskAugmentation(rotate=False)
    steps = [
        Engine(SmallGan(), learner, augmentations=several).outer_step(meta, small_episodes(), Outer(learner), small_draws())[0]
        for several in ([], [still])
    ]
    assert largest_difference(*steps) == 0


def test_a_task_transform_is_of_meta_training_only():
    game, learner = SmallGan(), Scratch()
    meta = learner.init(torch.Generator(), game)
    ends = [
        Engine(game, learner, augmentations=several, training=False).rollout(meta, small_episodes(), small_draws(), steps=2, order=1).params
        for several in ([], [TaskAugmentation(), MetaMix()])
    ]
    assert largest_difference(*ends) == 0


# ------------------------------------------------------------------ one transform per task
def test_an_image_task_is_seen_through_one_of_eight_views():
    stacked = episodes(images)
    seen = augmented(TaskAugmentation(mirror=True), stacked)
    drawn = []
    for task in range(TASKS):
        fits = [
            {view for view, candidate in enumerate(views(stacked[part]["x"][task])) if torch.equal(candidate, seen[part]["x"][task])}
            for part in ("support", "query")
        ]
        assert fits[0] == fits[1]
        (view,) = fits[0]
        drawn.append(view)
    assert set(drawn) == set(range(8))


def test_a_point_task_keeps_its_shape_under_one_map_for_support_and_query():
    """X' = X A^T with A orthogonal times a factor within 1 / scale and scale; A of the support is A of the query."""
    stacked = episodes(points)
    seen = augmented(TaskAugmentation(mirror=True, scale=2.0), stacked)
    determinants = []
    for task in range(TASKS):
        maps = [torch.linalg.lstsq(stacked[part]["x"][task], seen[part]["x"][task]).solution.T for part in ("support", "query")]
        assert torch.allclose(*maps, atol=1e-10)
        factor = torch.linalg.det(maps[0]).abs() ** (1 / 3)
        assert 0.5 <= factor <= 2
        assert torch.allclose(maps[0] @ maps[0].T, factor**2 * torch.eye(3, dtype=torch.float64), atol=1e-10)
        determinants.append(float(torch.linalg.det(maps[0])))
    assert min(determinants) < 0 < max(determinants)


def test_rotations_are_proper_and_fall_everywhere_alike():
    """det = 1; the angle in the plane is uniform."""
    angles = []
    for key in range(400):
        turn = rotation(Draws(torch.tensor(key), torch.float64), 2)
        assert torch.linalg.det(turn).item() == pytest.approx(1)
        angles.append(float(torch.atan2(turn[1, 0], turn[0, 0])) / (2 * np.pi) + 0.5)
    assert stats.kstest(angles, "uniform").pvalue > 0.01


def test_labels_stay():
    stacked = episodes(points, y=True)
    seen = augmented(TaskAugmentation(), stacked)
    assert all(torch.equal(seen[part]["y"], stacked[part]["y"]) for part in stacked)


def test_quarter_turns_need_square_images():
    oblong = {part: {"x": images(3, 4, 6)} for part in ("support", "query")}
    with pytest.raises(ContractError, match=r"square images, got 4 x 6; set rotate: false"):
        augmented(TaskAugmentation(), oblong)
    assert augmented(TaskAugmentation(rotate=False, mirror=True), oblong)["query"]["x"].shape == (TASKS, 3, 1, 4, 6)


# ------------------------------------------------------------------ the support alone
def test_no_shift_and_no_turn_is_no_transform():
    support = {"x": images(4)}
    assert largest_difference(adapted_on(SupportAugmentation(shift=0), support), support) < 1e-12


def test_shifts_are_whole_pixels_with_repeated_borders():
    x = images(4, 5, 7)
    seen = adapted_on(SupportAugmentation(shift=1), {"x": x})["x"]
    padded = torch.nn.functional.pad(x.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
    windows = torch.stack([padded[..., i : i + 5, j : j + 7] for i in range(3) for j in range(3)])
    distance = (windows - seen.flatten(0, 1)).abs().amax((2, 3, 4))
    assert distance.min(0).values.max() < 1e-12
    assert set(distance.argmin(0).tolist()) == set(range(9))


def test_a_turn_keeps_what_is_round():
    """A disc about the middle is its own image; what is not round moves."""
    rows = torch.arange(15, dtype=torch.float64) - 7
    radius = (rows[:, None].square() + rows.square()).sqrt()
    smooth = torch.exp(-radius.square() / 18)
    ramp = rows.expand(15, 15)
    x = torch.stack([smooth, ramp])[None, :, None].expand(TASKS, 2, 1, 15, 15).clone()
    seen = adapted_on(SupportAugmentation(shift=0, degrees=40.0), {"x": x})["x"]
    assert (seen[:, 0] - x[:, 0])[..., 3:-3, 3:-3].abs().max() < 2 / 9 / 8  # bilinear interpolation: sum of curvatures / 8
    # A ramp turned by a is cos(a) right +- sin(a) down: its slopes are those of a unit vector, within 40 degrees.
    inside = seen[:, 1, 0, 4:-4, 4:-4]
    right, down = inside.diff(dim=-1).mean((1, 2)), inside.diff(dim=-2).mean((1, 2))
    assert torch.allclose(right.square() + down.square(), torch.ones(TASKS, dtype=torch.float64), atol=1e-9)
    assert right.min() >= np.cos(np.deg2rad(40))
    assert down.min() < -0.3
    assert down.max() > 0.3


def test_only_what_leaves_the_fakes_alone_leaks():
    assert {name for name, made in AUGMENTATIONS.items() if made.leaks} == {"support-augmentation"}


def test_rows_say_what_leaks():
    names = ("task-augmentation", "support-augmentation")
    setup = SimpleNamespace(
        vectorised=True,
        trial=SimpleNamespace(augmentations=[Component("augmentations", name) for name in names]),
        trainer=SimpleNamespace(augmentations=[AUGMENTATIONS[name]() for name in names]),
    )
    (caveat,) = caveats(setup)
    assert caveat == "support-augmentation transforms what adaptation sees but no fakes, so the generator may imitate its transforms"


# ------------------------------------------------------------------ mixtures
def test_a_mixture_lies_between_a_query_and_a_support_sample():
    """In x and y with one share per task; the support stays."""
    stacked = episodes(points, y=True)
    mixed = augmented(MetaMix(concentration=2.0), stacked)
    assert largest_difference(mixed["support"], stacked["support"]) == 0
    for task in range(TASKS):
        share = symmetric_beta(Draws(KEYS[task], torch.float64, (0,)), 2.0)
        assert 0 < share < 1
        for i in range(6):
            partners = (mixed["query"]["x"][task, i] - share * stacked["query"]["x"][task, i]) / (1 - share)
            (partner,) = [s for s in range(4) if torch.allclose(partners, stacked["support"]["x"][task, s], atol=1e-9)]
            expected = share * stacked["query"]["y"][task, i] + (1 - share) * stacked["support"]["y"][task, partner]
            assert mixed["query"]["y"][task, i].item() == pytest.approx(expected.item())


class Extreme:
    """Draws whose squared normals are all in the first, or all in the second, of the Beta's two sums."""

    def __init__(self, of):
        self.of = of

    def normal(self, name, shape):
        rows = torch.zeros(shape, dtype=torch.float64)
        rows[self.of] = 1.0
        return rows

    def uniform(self, name, shape):
        return torch.zeros(shape, dtype=torch.float64)


def test_at_the_ends_of_the_beta_nothing_is_mixed():
    episode = tree_map(lambda leaf: leaf[0], episodes(points))
    query, support = (MetaMix().augment_task(episode, Extreme(end))["query"]["x"] for end in (0, 1))
    assert torch.equal(query, episode["query"]["x"])
    assert torch.equal(support, episode["support"]["x"][:1].expand(6, 3))


@pytest.mark.parametrize("concentration", [0.5, 1.0, 2.5])
def test_shares_are_beta_distributed(concentration):
    shares = [float(symmetric_beta(Draws(torch.tensor(key), torch.float64), concentration)) for key in range(1500)]
    assert stats.kstest(shares, stats.beta(concentration, concentration).cdf).pvalue > 0.01


def test_integers_stay_below_their_bound_where_a_uniform_number_rounds_to_one():
    class Rounded:
        @staticmethod
        def uniform(name, shape):
            return torch.ones(shape)

    assert integers(Rounded(), "x", 4, (2,)).tolist() == [3, 3]


def test_an_outer_step_with_every_augmentation_is_finite():
    learner = Maml(inner_lr=0.05, inner_optimiser=Sgd())
    meta = learner.init(torch.Generator(), SmallGan())
    engine = Engine(SmallGan(), learner, augmentations=[TaskAugmentation(mirror=True, scale=1.5), MetaMix()])
    after, _ = engine.outer_step(meta, small_episodes(), Outer(learner), small_draws())
    assert all(bool(torch.isfinite(leaf).all()) for _, leaf in leaves(after))
    assert largest_difference(after, meta) > 0
