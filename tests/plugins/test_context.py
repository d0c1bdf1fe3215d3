"""Adaptation of a context: what each form means for a network, MAML in disguise, joint training as a limit."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from bench.contracts import ContractError, Parts, SampleSpec
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.testing import MetaLearnerContract, SmallGan, largest_difference, small_draws, small_episodes
from bench.trees import leaves
from bench_builtin.games import Gan
from bench_builtin.gan_losses import NonSaturating
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners.baselines import Finetune
from bench_builtin.meta_learners.context import CONTEXT, Cavia, conditioned
from bench_builtin.meta_learners.maml import Maml
from bench_builtin.networks import Dcgan

FORMS = ("concatenated", "film", "low-rank")
INSIDE = {"inner_lr": 0.3, "inner_optimiser": Sgd()}


def meta_of(learner, game=None):
    return learner.init(torch.Generator().manual_seed(3), game or SmallGan())


def gradient_of(learner, meta):
    engine = Engine(SmallGan(), learner, adaptation_steps=3)
    return engine.meta_gradient(lambda m, e, d: learner.objective(engine, m, e, d), meta, small_episodes(), small_draws())[0]


def ran_with(learner, meta, steps=3):
    """What the networks of each task run with after adaptation."""
    engine = Engine(SmallGan(), learner)
    end = engine.rollout(meta, small_episodes(), small_draws(), steps=steps, order=1)
    return engine.map("weights", lambda params: learner.weights(meta, params), end.params)


def one_layer(make, form):
    """A layer on its own, a context for it, and what it gives with and without: (layer, maps, context, x, plain, conditioned)."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        layer = make().double()
        x = torch.randn(5, 3, *[6] * (layer.weight.ndim - 2)).double()
    maps = Cavia(form=form, context=4).maps("generator", layer, torch.Generator().manual_seed(1))
    context = torch.randn(4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    theta = {name: w.detach() for name, w in layer.named_parameters()}
    return layer, maps[""], context, x, layer(x), functional_call(layer, conditioned(theta, context, maps), (x,))


LAYERS = {
    "linear": lambda: nn.Linear(3, 7),
    "conv": lambda: nn.Conv2d(3, 7, 4, stride=2, padding=1),
    "grouped conv": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "transposed conv": lambda: nn.ConvTranspose2d(3, 7, 4, stride=2, padding=1),
    "no bias": lambda: nn.ConvTranspose2d(3, 7, 3, bias=False),
}


# ------------------------------------------------------------------ what the forms mean
def test_concatenated_is_a_context_beside_the_input():
    layer, maps, context, x, _, got = one_layer(LAYERS["linear"], "concatenated")
    wider = nn.Linear(3 + 4, 7).double()
    weights = {"weight": torch.cat([layer.weight, maps["shift"].T], 1), "bias": layer.bias}
    want = functional_call(wider, weights, (torch.cat([x, context.expand(5, 4)], 1),))
    assert torch.allclose(got, want, rtol=1e-12)


def test_concatenated_to_a_convolution_is_constant_channels_beyond_the_border():
    """Constant channels through kernels that sum to W: what zero padding would take from them at the border is not taken."""
    layer, maps, context, x, _, got = one_layer(LAYERS["conv"], "concatenated")
    kernels = maps["shift"].T[:, :, None, None].expand(7, 4, 4, 4) / 16
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    both = torch.cat([padded, context[:, None, None].expand(5, 4, 8, 8)], 1)
    want = torch.nn.functional.conv2d(both, torch.cat([layer.weight, kernels], 1), layer.bias, stride=2)
    assert torch.allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize("layer", LAYERS)
def test_film_scales_and_shifts_the_outputs(layer):
    _, maps, context, _, plain, got = one_layer(LAYERS[layer], "film")
    scale = 1 + torch.tensordot(context, maps["scale"], 1).flatten()
    shift = context @ maps["shift"] if "shift" in maps else torch.zeros_like(scale)
    channels = (slice(None), *[None] * (plain.ndim - 2))
    assert ("shift" in maps) == (layer != "no bias")
    assert torch.allclose(got, scale[channels] * plain + shift[channels], rtol=1e-10)


@pytest.mark.parametrize("layer", LAYERS)
def test_low_rank_adds_a_matrix_of_outputs_by_inputs(layer):
    """W + U diag(a) V with outputs as rows, whichever axis of the weight they are."""
    module, maps, context, x, _, got = one_layer(LAYERS[layer], "low-rank")
    axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    rows = module.weight.movedim(axis, 0)
    left, right = maps["left"].flatten(1).T, maps["right"].movedim(1 + axis, 1).flatten(1)
    assert left.shape == (len(rows), 4)
    matrix = rows.flatten(1) + left @ torch.diag(context) @ right
    weights = {"weight": matrix.view(rows.shape).movedim(0, axis), **({} if module.bias is None else {"bias": module.bias})}
    assert torch.allclose(got, functional_call(module, weights, (x,)), rtol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_convolutional_networks_take_a_context_as_they_are(form):
    """Stacked over tasks and one task at a time; every parameter and every map gets a meta-gradient."""
    spec = SampleSpec("image", (1, 8, 8), -1.0, 1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {role: Dcgan(width=4, latent=2, norm="group").build(role, spec).double() for role in ("generator", "discriminator")}
        images = {part: {"x": torch.rand(3, 4, 1, 8, 8).double()} for part in ("support", "query")}
    game, learner = Gan().bind(Parts(modules=modules, critic=Critic, loss=NonSaturating())), Cavia(form=form, context=3, steps=2)
    meta, gradients = meta_of(learner, game), []
    for vectorise in (True, False):
        engine = Engine(game, learner, vectorise=vectorise)
        gradients.append(engine.meta_gradient(lambda m, e, d, one=engine: learner.objective(one, m, e, d), meta, images, small_draws())[0])
    assert largest_difference(*gradients) < 1e-9
    unmoved = [".".join(path) for path, leaf in leaves(gradients[0]) if not leaf.any()]
    assert unmoved == []


# ------------------------------------------------------------------ limits
@pytest.mark.parametrize("form", FORMS)
def test_a_context_of_zero_is_the_network_itself(form):
    learner = Cavia(form=form)
    assert largest_difference(ran_with(learner, meta_of(learner), steps=0), ran_with(Maml(), meta_of(Maml()), steps=0)) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [{"context": 0}, {"inner_lr": 0.0}], ids=["no context", "no rate"])
def test_without_adaptation_it_is_joint_training(form, limit):
    learner, joint = Cavia(form=form, steps=3, **limit), Finetune(uses="query")
    engine, episodes, draws = Engine(SmallGan(), joint), small_episodes(), small_draws()

    def on_query(meta, episodes, draws):
        start = engine.begin(meta, episodes["support"], draws)
        return engine.losses(meta, start.params, episodes["query"], start.state, draws.at("query"))[0]

    want, _ = engine.meta_gradient(on_query, meta_of(joint), episodes, draws)
    assert largest_difference(gradient_of(learner, meta_of(learner))["shared"], want["initial"]) < 1e-12


# ------------------------------------------------------------------ MAML on a reparametrised bias
def maml_through(maps):
    """MAML on first-layer biases b = W a: SGD on a moves b along W W^T grad_b, since grad_a = W^T grad_b."""

    class ThroughMaps(Maml):
        def update(self, meta, player, step, params, grads, inner, support):
            return {name: b - self.inner_lr * (grads[name] @ maps[player].T) @ maps[player] for name, b in params.items()}, inner

    return ThroughMaps(adapts=("generator.0.bias", "discriminator.0.bias"), steps=3, **INSIDE)


def test_an_additive_context_is_maml_on_a_reparametrised_bias():
    """Equal weights all along, and equal gradients of theta (algorithms 2.8)."""
    cavia = Cavia(form="concatenated", context=5, steps=3, **INSIDE)
    meta = meta_of(cavia)
    maml = maml_through({player: maps["0"]["shift"] for player, maps in meta["context"].items()})
    for steps in (1, 2, 3):
        assert largest_difference(ran_with(cavia, meta, steps), ran_with(maml, meta_of(maml), steps)) < 1e-12
    got, want = gradient_of(cavia, meta)["shared"], gradient_of(maml, meta_of(maml))
    for player, own in got.items():
        assert largest_difference(own, {**want["shared"][player], **want["initial"][player]}) < 1e-12


def test_only_contexts_adapt_and_every_task_starts_anew():
    learner = Cavia(form="film", **INSIDE)
    meta = meta_of(learner)
    engine = Engine(SmallGan(), learner)
    first = engine.rollout(meta, small_episodes(), small_draws(), steps=3, order=1)
    assert {path for path, _ in leaves(first.params)} == {("generator", CONTEXT), ("discriminator", CONTEXT)}
    again = engine.rollout(meta, small_episodes(), small_draws(), steps=3, order=1)
    assert not any(leaf.any() for _, leaf in leaves(again.path[0]))
    assert largest_difference(again.params, first.params) == 0


def test_learned_rates_start_as_none_and_their_first_step_gradient_is_a_product():
    """After one step from a context of zeros, dJ/dfactor = factor-free context o dJ/da: phi = -lr factor o g, so both are phi o dJ/dphi."""
    plain, learned = (Cavia(form="film", context=3, steps=1, learned_rates=rates, **INSIDE) for rates in (False, True))
    meta = meta_of(learned)
    assert largest_difference(ran_with(plain, meta_of(plain)), ran_with(learned, meta)) == 0
    engine = Engine(SmallGan(), learned)
    end = engine.rollout(meta, small_episodes(), small_draws(), steps=1, order=1)
    pulled = engine.query_gradients(meta, end, small_episodes()["query"], small_draws().at("query"))
    first = Cavia(form="film", context=3, steps=1, order=1, learned_rates=True, **INSIDE)
    engine = Engine(SmallGan(), first, adaptation_steps=1)
    gradient, _ = engine.meta_gradient(lambda m, e, d: first.objective(engine, m, e, d), meta, small_episodes(), small_draws())
    for player, own in gradient["rates"].items():
        want = (end.params[player][CONTEXT] * pulled[player][player][CONTEXT]).mean(0)
        assert torch.allclose(own[CONTEXT], want, rtol=1e-9, atol=1e-14)


# ------------------------------------------------------------------ who gets a context
@pytest.mark.parametrize(
    ("options", "adapted"),
    [
        ({"players": ("generator",)}, {"generator": {CONTEXT}}),
        (
            {"players": ("generator",), "adapts": ("discriminator.2.*",)},
            {"generator": {CONTEXT}, "discriminator": {"2.weight", "2.bias"}},
        ),
        ({"adapts": ("head",)}, {"generator": {CONTEXT, "0.weight", "0.bias"}, "discriminator": {CONTEXT, "2.weight", "2.bias"}}),
    ],
    ids=["generator against a shared critic", "generator against an adapted head", "contexts and heads"],
)
def test_who_adapts_what(options, adapted):
    learner = Cavia(**options, **INSIDE)
    start = Engine(SmallGan(), learner).begin(meta_of(learner), small_episodes()["support"], small_draws()).params
    assert {player: set(own) for player, own in start.items()} == adapted


def test_an_adapted_opponent_adapts_as_under_maml():
    """With nobody's context moving, the others play MAML's game."""
    cavia = Cavia(players=("generator",), adapts=("discriminator.*",), inner_lr={"generator": 0.0, "discriminator": 0.1})
    maml = Maml(adapts=("discriminator.*",), inner_lr=0.1, inner_optimiser=Sgd())
    assert largest_difference(ran_with(cavia, meta_of(cavia)), ran_with(maml, meta_of(maml))) < 1e-12


# ------------------------------------------------------------------ errors
def test_mistakes_are_named():
    with pytest.raises(ContractError, match="matches none of this game's players: generator, discriminator"):
        meta_of(Cavia(players=("critic",)))
    with pytest.raises(ContractError, match="use full"):
        Cavia(cross_player="own-path")
    nothing = {"generator": nn.PReLU().double(), "discriminator": nn.PReLU().double()}
    with pytest.raises(ContractError, match="generator: form 'film' needs a linear layer or a convolution"):
        meta_of(Cavia(), SmallGan(modules=nothing))
    biasless = {"generator": nn.Linear(2, 2, bias=False).double(), "discriminator": nn.Linear(2, 1).double()}
    with pytest.raises(ContractError, match="with a bias"):
        meta_of(Cavia(form="concatenated"), SmallGan(modules=biasless))
    grouped = {"generator": nn.ConvTranspose2d(4, 4, 3, groups=2).double(), "discriminator": nn.Linear(2, 1).double()}
    with pytest.raises(ContractError, match="groups"):
        meta_of(Cavia(), SmallGan(modules=grouped))


# ------------------------------------------------------------------ contracts
class TestConcatenated(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Cavia(form="concatenated", context=3, steps=2, **INSIDE)


class TestFilm(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Cavia(form="film", context=3, steps=2, **INSIDE)


class TestLowRank(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Cavia(form="low-rank", context=3, steps=2, inner_lr=0.05, inner_optimiser=Adam(eps=1e-2))


class TestAgainstAnAdaptedCritic(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Cavia(context=3, players=("generator",), adapts=("discriminator.*",), inner_lr={"generator": 0.3, "discriminator": 0.05})


class TestLearnedRates(MetaLearnerContract):
    @pytest.fixture
    def learner(self):
        return Cavia(form="film", context=3, steps=2, learned_rates=True, **INSIDE)
