"""Regularisers of meta-learning: closed forms, limits in which they are absent, and finite differences of everything they change."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.contracts import ContractError
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.testing import SmallGan, largest_difference, small_draws, small_episodes, small_networks
from bench.trees import leaves, rebuild, tree_map
from bench_builtin.gan_losses import Wasserstein
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Anil, Boil, Finetune, Maml, Reptile
from bench_builtin.regularisers import MetaDropout, MrMaml, OuterClip, Taml
from bench_builtin.regularisers.layers import inverse_softplus
from bench_builtin.regularisers.memorisation import divergence
from bench_builtin.regularisers.tasks import inequality

PLAIN = {"inner_lr": 0.1, "inner_optimiser": Sgd(), "outer_optimiser": Sgd(), "outer_lr": 1.0}  # an outer step is minus the gradient
ANIL = Anil(**PLAIN)
MAML = Maml(**PLAIN)


def engine_of(learner, *regularisers, game=None, **options):
    """``regularisers`` by the names of their classes, two adaptation steps."""
    named = {type(one).__name__: one for one in regularisers}
    return Engine(game or SmallGan(), learner, regularisers=named, adaptation_steps=2, **options)


def start(engine, seed=5):
    """Meta parameters a little off where they start, so that nothing is zero by chance."""
    noise = torch.Generator().manual_seed(seed)
    meta = engine.init(torch.Generator().manual_seed(3))
    return tree_map(lambda leaf: leaf + 0.05 * torch.randn(leaf.shape, generator=noise, dtype=leaf.dtype), meta)


def step(engine, meta, learner=None):
    """Meta parameters after one outer step."""
    outer = Outer(learner or engine.learner, list(engine.regularisers.values()))
    return engine.outer_step(meta, small_episodes(), outer, small_draws())[0]


def meta_gradient(engine, meta):
    """What an outer step of plain descent follows: the learner's meta-gradient and what regularisers add to it."""
    return tree_map(torch.sub, meta, step(engine, meta))


def meta_objective(engine, meta):
    """{player: value}, whose gradient :func:`meta_gradient` should be."""
    episodes, draws = small_episodes(), small_draws()
    values = {player: float(value.detach().mean()) for player, value in engine.learner.objective(engine, meta, episodes, draws).items()}
    for name, one in engine.regularisers.items():
        if hasattr(one, "term"):
            for player, value in one.term(meta.get(name, {}), meta, engine, episodes, draws.at(name)).items():
                values[player] += float(value.detach())
    return values


def finite_difference_error(engine, seed=5):
    """Worst relative error, over players, of the whole meta-gradient along a random direction of all meta parameters."""
    meta = start(engine)
    gradient = meta_gradient(engine, meta)
    noise = torch.Generator().manual_seed(seed)
    worst = 0.0
    for player in engine.players:
        mine = [torch.randn(leaf.shape, generator=noise, dtype=leaf.dtype) * (player in path) for path, leaf in leaves(meta)]
        direction = rebuild(meta, iter(mine))
        analytic = sum(float((a * b).sum()) for (_, a), (_, b) in zip(leaves(gradient), leaves(direction), strict=True))

        def along(h, direction=direction, player=player):
            return meta_objective(engine, tree_map(lambda theta, d: theta + h * d, meta, direction))[player]

        differences = [(8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h) for h in (1e-3, 1e-4)]
        worst = max(worst, min(abs(analytic - one) / abs(analytic) for one in differences))
    return worst


def acts(engine):
    """Whether the regularisers change the learner's own part of an outer step."""
    meta = start(engine)
    own = {name: leaf for name, leaf in meta.items() if name not in engine.regularisers}
    after = step(engine, meta)
    return largest_difference({name: after[name] for name in own}, step(engine_of(engine.learner, game=engine.game), own))


# ------------------------------------------------------------------ all of them
LEARNED = [
    MrMaml(beta=0.01, sigma=0.1),
    MrMaml(beta=0.01, sigma=0.1, learn_sigma=False),
    MrMaml(form="activations", beta=0.5, sigma=0.3),
    MrMaml(form="activations", beta=0.5, sigma=0.3, learn_sigma=False),
    Taml(weight=2.0),
    Taml(weight=2.0, measure="gini", part="query"),
    MetaDropout(),
]
NAMES = ["weights", "weights-fixed", "activations", "activations-fixed", "theil", "gini", "dropout"]


@pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
@pytest.mark.parametrize("regulariser", LEARNED, ids=NAMES)
def test_the_whole_meta_gradient_equals_finite_differences(regulariser, vectorise):
    engine = engine_of(ANIL, regulariser, vectorise=vectorise)
    assert finite_difference_error(engine) < 1e-6
    assert acts(engine) > 1e-4


@pytest.mark.parametrize("regulariser", LEARNED, ids=NAMES)
def test_neither_chunks_nor_vmap_change_an_outer_step(regulariser):
    meta = start(engine_of(ANIL, regulariser))
    steps = [step(engine_of(ANIL, regulariser, **options), meta) for options in ({}, {"task_chunk": 2}, {"vectorise": False})]
    assert max(largest_difference(one, steps[0]) for one in steps) < 1e-9


def test_regularisers_combine():
    engine = engine_of(ANIL, MrMaml(beta=0.01, sigma=0.1), Taml(), MetaDropout())
    assert finite_difference_error(engine) < 1e-6


# ------------------------------------------------------------------ clipping
def gradient_of(generator, discriminator):
    return {"initial": {"generator": {"w": generator}, "discriminator": {"w": discriminator}}}


@pytest.mark.parametrize("by", ["player", "task"])
def test_clipping_keeps_the_direction_and_bounds_the_norm(by):
    gradient = gradient_of(torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4]))
    clip = OuterClip(norm=1.0, by=by)
    clipped = (clip.adjust_task_gradient if by == "task" else clip.adjust_gradient)(gradient, gradient)["initial"]
    assert clipped["generator"]["w"].tolist() == pytest.approx([0.6, 0.8])
    assert clipped["discriminator"]["w"].tolist() == pytest.approx([0.3, 0.4])


def test_a_players_norm_is_over_all_that_it_learns():
    """(3, 4) beside 12 has norm 13."""
    gradient = {"initial": {"generator": {"w": torch.tensor([3.0, 4.0])}}, "rates": {"generator": {"w": torch.tensor(12.0)}}}
    clipped = OuterClip(norm=1.0).adjust_gradient(gradient, gradient)
    assert clipped["initial"]["generator"]["w"].tolist() == pytest.approx([3 / 13, 4 / 13])
    assert clipped["rates"]["generator"]["w"].item() == pytest.approx(12 / 13)


def test_clipping_by_value_clamps_each_entry():
    gradient = gradient_of(torch.tensor([3.0, -4.0]), torch.tensor([0.3, -0.4]))
    clipped = OuterClip(norm=0.35, by="value").adjust_gradient(gradient, gradient)["initial"]
    assert clipped["generator"]["w"].tolist() == pytest.approx([0.35, -0.35])
    assert clipped["discriminator"]["w"].tolist() == pytest.approx([0.3, -0.35])


@pytest.mark.parametrize("learner", [MAML, Reptile(inner_lr=0.1, inner_optimiser=Sgd(), outer_lr=1.0)], ids=["maml", "reptile"])
def test_clipping_by_task_is_the_mean_of_clipped_gradients(learner):
    """One outer step on each task alone, clipped, gives each task's part; clipping their mean is something else."""
    limit = 0.02
    meta, episodes, draws = start(engine_of(learner)), small_episodes(), small_draws()
    each = []
    for task in range(3):
        alone = tree_map(lambda leaf, task=task: leaf[task : task + 1], episodes)
        engine = engine_of(learner)
        after, _ = engine.outer_step(meta, alone, Outer(learner), draws.of(draws.key[task : task + 1]))
        each.append(OuterClip(norm=limit).adjust_gradient(meta, tree_map(torch.sub, meta, after)))
    expected = tree_map(lambda *parts: torch.stack(parts).mean(0), *each)
    by_task, by_player = (meta_gradient(engine_of(learner, OuterClip(norm=limit, by=by)), meta) for by in ("task", "player"))
    assert largest_difference(by_task, expected) < 1e-9
    assert largest_difference(by_player, expected) > 1e-3


# ------------------------------------------------------------------ MR-MAML
def test_divergence_from_the_standard_normal():
    """Against torch's own, and 0 only at N(0, 1)."""
    mean, sigma = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([1.0, 0.5, 3.0]).double()
    truth = torch.distributions.kl_divergence(torch.distributions.Normal(mean, sigma), torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(divergence(mean, sigma), truth)
    assert divergence(mean, sigma)[0] == 0
    assert (divergence(mean, sigma)[1:] > 0).all()


def test_the_price_of_weights_is_their_divergence_summed_over_kernels_once_per_outer_step():
    """With fixed noise and no other loss it would be L2 decay: the step differs from the learner's own by beta * w on kernels only."""
    beta, sigma = 0.03, 1e-14
    engine = engine_of(ANIL, MrMaml(beta=beta, sigma=sigma, learn_sigma=False))
    meta = start(engine)
    added = tree_map(torch.sub, meta_gradient(engine, meta), meta_gradient(engine_of(ANIL), meta))
    for (path, change), (_, weight) in zip(leaves(added), leaves(meta), strict=True):
        expected = beta * weight if path[0] == "shared" and weight.ndim == 2 else torch.zeros_like(weight)
        assert torch.allclose(change, expected, atol=1e-10)
    prices = MrMaml(beta=beta, sigma=0.5, learn_sigma=False).term({}, meta, engine, small_episodes(), small_draws())
    for player, price in prices.items():
        kernel = meta["shared"][player]["0.weight" if player == "discriminator" else "2.weight"]
        truth = ((0.25 + kernel.square() - 1) / 2 - math.log(0.5)).sum()
        assert price.item() == pytest.approx(beta * truth.item())


@pytest.mark.parametrize("form", ["weights", "activations"])
def test_without_price_and_noise_it_is_the_learner_alone(form):
    engine = engine_of(ANIL, MrMaml(form=form, beta=0.0, sigma=1e-15))
    meta = engine.init(torch.Generator())
    own = {name: meta[name] for name in ("initial", "shared")}
    after = step(engine, meta)
    assert largest_difference({name: after[name] for name in own}, step(engine_of(ANIL), own)) < 1e-12


@pytest.mark.parametrize("form", ["weights", "activations"])
def test_evaluation_is_free_of_noise(form):
    regulariser = MrMaml(form=form, sigma=0.7)
    meta = start(engine_of(ANIL, regulariser))
    ends = []
    for several in ([regulariser], []):
        # Hooks on its layers keep a network from being folded, which rounds otherwise: both run the same way here.
        engine = engine_of(ANIL, *several, training=False, fold=False)
        end = engine.rollout(meta, small_episodes(), small_draws(), steps=2, order=1)
        ends.append({"end": end.params, "samples": {"x": engine.sample(meta, end, 4, small_draws(), small_episodes()["query"])}})
    assert largest_difference(*ends) == 0


@pytest.mark.parametrize("form", ["weights", "activations"])
def test_noise_is_new_at_every_pass_and_for_every_task(form):
    """Three equal tasks with equal latents, and two passes: six different losses."""
    engine = engine_of(ANIL, MrMaml(form=form, beta=0.0, sigma=0.5))
    meta, batch, draws = start(engine), small_episodes()["query"], small_draws()
    batch = tree_map(lambda leaf: leaf[:1].expand(3, *leaf.shape[1:]), batch)
    params = engine.begin(meta, batch, draws).params

    class SameLatents(SmallGan):
        def latents(self, n, draws):
            return super().latents(n, draws.of(torch.tensor(0)).fixed())

    engine.game = SameLatents(modules=engine.game.modules)
    losses = torch.cat([engine.losses(meta, params, batch, {}, draws.at(k))[0]["discriminator"] for k in (0, 1)])
    assert len(losses.unique()) == 6
    assert len(engine_of(ANIL, game=engine.game).losses(meta, params, batch, {}, draws)[0]["discriminator"].unique()) == 1


def test_noise_on_weights_has_the_deviation_that_it_says():
    regulariser = MrMaml(sigma=0.3)
    engine = engine_of(ANIL, regulariser)
    meta = engine.init(torch.Generator())
    weights = {player: {**meta["shared"][player], **meta["initial"][player]} for player in engine.players}
    drawn = [regulariser.perturb(meta["MrMaml"], meta, weights, small_draws().of(torch.tensor(key))) for key in range(400)]
    offsets = torch.stack([one["discriminator"]["0.weight"] - weights["discriminator"]["0.weight"] for one in drawn]).flatten()
    assert offsets.mean().abs() < 4 * 0.3 / math.sqrt(len(offsets))
    assert abs(offsets.std() - 0.3) < 4 * 0.3 / math.sqrt(2 * len(offsets))
    for player, own in weights.items():
        same = {name for name, weight in own.items() if torch.equal(weight, drawn[0][player][name])}
        assert same == set(meta["initial"][player]) | {name for name, weight in own.items() if weight.ndim < 2}


def test_the_bottleneck_is_the_last_shared_layer_before_one_that_adapts():
    engine = engine_of(ANIL)
    meta = engine.init(torch.Generator())
    assert MrMaml(form="activations").layers(engine.game, meta) == {"discriminator": ["0"]}  # a generator's head comes first
    body = engine_of(Boil(**PLAIN))
    assert MrMaml(form="activations").layers(body.game, body.init(torch.Generator())) == {"generator": ["0"]}
    assert MrMaml(form="activations", layer="generator.2").layers(engine.game, meta) == {"generator": ["2"]}


def test_the_price_of_activations_does_not_change_adaptation():
    """It is taken on the query only: beta changes the meta-objective and no inner gradient."""
    meta = start(engine_of(ANIL, MrMaml(form="activations")))
    ends, values = [], []
    for beta in (0.0, 7.0):
        engine = engine_of(ANIL, MrMaml(form="activations", beta=beta))
        end = engine.rollout(meta, small_episodes(), small_draws(), steps=2, order=1)
        ends.append(end.params)
        values.append(engine.losses(meta, end.params, small_episodes()["query"], {}, small_draws())[0])
    assert largest_difference(*ends) == 0
    assert torch.equal(values[0]["generator"], values[1]["generator"])
    assert (values[1]["discriminator"] > values[0]["discriminator"]).all()


def test_the_price_of_activations_is_the_mean_over_points_and_units():
    """Reals and fakes pass the discriminator's bottleneck, so it is the sum of two such means."""
    beta, sigma = 2.0, 0.4
    meta = start(engine_of(ANIL))
    batch, draws = small_episodes()["query"], small_draws()
    values = []
    for price in (0.0, beta):
        engine = engine_of(ANIL, MrMaml(form="activations", beta=price, sigma=sigma, learn_sigma=False))
        params = engine.begin(meta, batch, draws).params
        values.append(engine.losses(meta, params, batch, {}, draws)[0]["discriminator"])
    first = engine.game.modules["discriminator"][0]
    weight, bias = (meta["shared"]["discriminator"][f"0.{name}"] for name in ("weight", "bias"))
    fakes = torch.stack(
        [
            engine.game.sample(
                {"generator": {**meta["shared"]["generator"], **meta["initial"]["generator"]}}, {}, batch["x"].shape[1], draws.of(key)
            )
            for key in draws.key
        ]
    )
    assert isinstance(first, nn.Linear)
    truth = sum(divergence(x @ weight.T + bias, torch.tensor(sigma).double()).mean((1, 2)) for x in (batch["x"], fakes))
    assert torch.allclose(values[1] - values[0], beta * truth)


def test_the_learned_deviation_starts_at_sigma():
    for sigma in (1e-7, 0.05, 1.0, 50.0):
        start = torch.tensor(inverse_softplus(sigma), dtype=torch.float64)
        assert torch.nn.functional.softplus(start).item() == pytest.approx(sigma, rel=1e-9)


@pytest.mark.parametrize(
    ("regulariser", "learner", "told"),
    [
        (MrMaml(), MAML, "use anil or boil"),
        (MrMaml(form="activations"), MAML, "shared are none; use anil"),
        (MrMaml(form="activations", layer="model.9"), ANIL, "none of them is called 'model.9'; shared are generator.2, discriminator.0"),
        (MetaDropout(layers=("model.*",)), MAML, "there are generator.0, discriminator.0"),
    ],
)
def test_nothing_to_act_on_is_an_error_that_names_the_cure(regulariser, learner, told):
    with pytest.raises(ContractError, match=told):
        engine_of(learner, regulariser).init(torch.Generator())


def test_a_layer_without_noise_on_activations_is_refused():
    with pytest.raises(ContractError, match="set form: activations"):
        MrMaml(layer="generator.2")


# ------------------------------------------------------------------ TAML
POSITIVE = ["theil", "generalised-entropy", "gini", "atkinson", "variance-of-logs"]


@pytest.mark.parametrize("measure", [*POSITIVE, "variance"])
def test_equal_losses_have_no_inequality(measure):
    for sensitivity in (0.0, 0.5, 1.0, 2.0):
        assert inequality(measure, torch.full((5,), 0.7).double(), sensitivity).item() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("measure", POSITIVE)
def test_inequality_does_not_depend_on_the_scale_or_on_the_order(measure):
    losses = torch.tensor([0.2, 1.0, 3.0, 0.5]).double()
    for sensitivity in (0.0, 0.5, 1.0, 2.0):
        value = inequality(measure, losses, sensitivity).item()
        assert inequality(measure, 17 * losses.flip(0), sensitivity).item() == pytest.approx(value, rel=1e-12, abs=1e-15)
        assert value > 0 or (measure == "atkinson" and sensitivity == 0)  # which is indifferent at epsilon = 0


def test_one_task_with_all_the_loss():
    """Theil ln n; Gini (n - 1) / n; Atkinson 1 - 1 / n at 1/2; generalised entropy (n - 1) / 2 at 2; variance (n - 1) / n^2."""
    losses = torch.eye(5, dtype=torch.float64)[2]
    assert inequality("theil", losses, 0.5).item() == pytest.approx(math.log(5))
    assert inequality("gini", losses, 0.5).item() == pytest.approx(4 / 5)
    assert inequality("atkinson", losses, 0.5).item() == pytest.approx(1 - 1 / 5)
    assert inequality("generalised-entropy", losses, 2.0).item() == pytest.approx(2.0)
    assert inequality("variance", losses, 0.5).item() == pytest.approx(4 / 25)


def test_two_tasks_by_hand():
    """Losses 1 and e: logs 0 and 1."""
    losses = torch.tensor([1.0, math.e]).double()
    mean = (1 + math.e) / 2
    assert inequality("variance-of-logs", losses, 0.5).item() == pytest.approx(1 / 4)
    assert inequality("atkinson", losses, 1.0).item() == pytest.approx(1 - math.sqrt(math.e) / mean)
    assert inequality("generalised-entropy", losses, 0.0).item() == pytest.approx(math.log(mean) - 0.5)
    assert inequality("gini", losses, 0.5).item() == pytest.approx((math.e - 1) / (4 * mean))


@pytest.mark.parametrize(("measure", "limit"), [("generalised-entropy", 0.0), ("generalised-entropy", 1.0), ("atkinson", 1.0)])
def test_sensitivities_have_continuous_limits(measure, limit):
    losses = torch.tensor([0.2, 1.0, 3.0, 0.5]).double()
    near = inequality(measure, losses, limit + 1e-6).item()
    assert inequality(measure, losses, limit).item() == pytest.approx(near, rel=1e-4)


def test_the_inequality_is_of_initial_losses():
    """Of the tasks' losses on the support before any step, each player's own."""
    engine = engine_of(MAML)
    meta, episodes, draws = start(engine), small_episodes(), small_draws()
    begun = engine.begin(meta, episodes["support"], draws)
    losses, _ = engine.losses(meta, begun.params, episodes["support"], {}, draws.at("initial"))
    terms = Taml(weight=3.0, measure="gini").term({}, meta, engine, episodes, draws)
    assert set(terms) == {"generator", "discriminator"}
    for player, loss in losses.items():
        assert terms[player].item() == pytest.approx(3 * inequality("gini", loss, 0.5).item())


def test_losses_that_may_be_negative_need_the_variance():
    game = SmallGan(loss=Wasserstein())
    with pytest.raises(ContractError, match=r"theil is defined for losses above 0.*use measure: variance"):
        step(engine_of(MAML, Taml(), game=game), start(engine_of(MAML, game=game)))
    assert finite_difference_error(engine_of(MAML, Taml(measure="variance"), game=game)) < 1e-6


def test_a_diverged_loss_is_left_to_the_trial_to_record():
    engine = engine_of(MAML, Taml())
    meta = tree_map(lambda leaf: leaf * math.nan, engine.init(torch.Generator()))
    assert all(value.isnan() for value in Taml().term({}, meta, engine, small_episodes(), small_draws()).values())


def test_taml_joins_reptiles_pseudo_gradient():
    reptile = Reptile(inner_lr=0.1, inner_optimiser=Sgd(), outer_lr=1.0)
    taml = Taml(weight=0.5)
    engine = engine_of(reptile, taml)
    meta = start(engine)
    fresh = tree_map(lambda leaf: leaf.clone().requires_grad_(), meta)
    terms = taml.term({}, fresh, engine_of(reptile), small_episodes(), small_draws().at("Taml"))
    added = tree_map(torch.sub, meta_gradient(engine, meta), meta_gradient(engine_of(reptile), meta))
    for player, term in terms.items():
        mine = fresh["initial"][player]
        grads = torch.autograd.grad(term, [leaf for _, leaf in leaves(mine)], retain_graph=True)
        assert largest_difference(added["initial"][player], rebuild(mine, iter(grads))) < 1e-9


# ------------------------------------------------------------------ meta-dropout
@pytest.mark.parametrize(
    "learner", [MAML, ANIL, Finetune(inner_lr=0.1, outer_optimiser=Sgd(), outer_lr=1.0)], ids=["maml", "anil", "finetune"]
)
def test_factors_of_one_leave_the_learner_alone(learner):
    engine = engine_of(learner, MetaDropout(noise=0.0))
    meta = engine.init(torch.Generator())
    own = {name: leaf for name, leaf in meta.items() if name != "MetaDropout"}
    after = step(engine, meta)
    assert largest_difference({name: after[name] for name in own}, step(engine_of(learner), own)) < 1e-12


def test_the_noise_is_in_adaptation_only_at_meta_test_too():
    """Another standard deviation changes where adaptation ends, not the losses and samples of given parameters."""
    meta = start(engine_of(MAML, MetaDropout()))
    batch, draws = small_episodes()["query"], small_draws()
    ends, judged = [], []
    for noise in (0.0, 1.0):
        engine = engine_of(MAML, MetaDropout(noise=noise), training=False)
        begun = engine.begin(meta, batch, draws)
        ends.append(engine.rollout(meta, small_episodes(), draws, steps=2, order=1).params)
        samples = engine.sample(meta, begun, 4, draws, batch)
        judged.append({"samples": samples, **engine.losses(meta, begun.params, batch, {}, draws)[0]})
    assert largest_difference(*ends) > 1e-3
    assert largest_difference(*judged) == 0


def test_hidden_outputs_are_multiplied_by_softplus_of_a_map_of_the_inputs():
    engine = engine_of(MAML, MetaDropout(layers=("generator.*",)))
    meta, draws = start(engine), small_draws()
    samples = engine.sample(meta, engine.begin(meta, small_episodes()["support"], draws), 4, draws, small_episodes()["query"])
    w, a = meta["initial"]["generator"], meta["MetaDropout"]["generator"]["0"]
    for task, key in enumerate(draws.key):
        z = draws.of(key).normal("z", (4, 2))
        factor = torch.nn.functional.softplus(z @ a["weight"].T + a["bias"] + math.log(math.e - 1))
        hidden = torch.tanh((z @ w["0.weight"].T + w["0.bias"]) * factor)
        assert torch.allclose(samples[task], hidden @ w["2.weight"].T + w["2.bias"], atol=1e-12)


def test_last_layers_have_no_noise():
    assert MetaDropout().layers(SmallGan(), {}) == {"generator": ["0"], "discriminator": ["0"]}
    deep = {player: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), network) for player, network in small_networks().items()}
    deep = {player: nn.Sequential(*network[:2], nn.Linear(8, 2), *network[2]).double() for player, network in deep.items()}
    assert MetaDropout(layers=("discriminator.*",)).layers(SmallGan(modules=deep), {}) == {"discriminator": ["0", "2", "3"]}


def test_the_noise_generator_is_learned():
    engine = engine_of(replace(MAML, steps=2), MetaDropout())
    meta = engine.init(torch.Generator())
    after = step(engine, meta)["MetaDropout"]
    assert all(bool(leaf.any()) for _, leaf in leaves(after))
