"""Every way in which a regulariser of meta-learning acts, by toys whose effect is known in closed form."""

import pytest
import torch

from bench.errors import ContractError
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.store import load_tree, save_tree
from bench.testing import SmallGan, identical, largest_difference, small_draws, small_episodes, small_networks
from bench.testing.small_game import FEATURES, SHOTS
from bench.trees import flatten, leaves, tree_map, unflatten
from bench_builtin.inner_optimisers import Sgd
from bench_builtin.meta_learners import Maml, Reptile
from bench_builtin.regularisers import R1

BOTH = pytest.mark.parametrize("vectorise", [True, False], ids=["vmap", "loop"])
MAML = Maml(inner_lr=0.05, inner_optimiser=Sgd(), steps=2, outer_optimiser=Sgd(), outer_lr=0.1)
REPTILE = Reptile(uses="support", inner_lr=0.05, inner_optimiser=Sgd(), steps=2, outer_lr=1.0, outer_schedule="constant")


def gradient_of(engine, meta):
    return engine.meta_gradient(lambda m, c, d: MAML.objective(engine, m, c, d), meta, small_episodes(), small_draws())[0]


def stepped(learner, regularisers, **settings):
    """Meta before and after one outer step."""
    engine = Engine(SmallGan(), learner, regularisers=regularisers, **settings)
    meta = engine.init(torch.Generator().manual_seed(0))
    return meta, engine.outer_step(meta, small_episodes(), Outer(learner, regularisers.values()), small_draws())[0]


# ------------------------------------------------------------------ perturb
class Shift:
    """The generator's last bias runs as bias + by."""

    def __init__(self, by):
        self.by = by

    def perturb(self, own, meta, weights, draws):
        generator = weights["generator"]
        return {**weights, "generator": {**generator, "2.bias": generator["2.bias"] + self.by}}


@BOTH
def test_perturbed_weights_are_what_losses_are_taken_at(vectorise):
    """f(w + c) with a constant c: the loss and the gradient of w moved by c."""
    game, by = SmallGan(), 0.3
    learner, draws, batch = MAML, small_draws(), small_episodes()["support"]
    meta = learner.init(torch.Generator(), game)
    moved = tree_map(torch.clone, meta)
    moved["initial"]["generator"]["2.bias"] += by
    got, want = (
        engine.gradients(m, engine.begin(m, batch, draws).params, batch, {}, draws, game.players, 1)[0]
        for engine, m in (
            (Engine(game, learner, regularisers={"shift": Shift(by)}, vectorise=vectorise), meta),
            (Engine(game, learner, vectorise=vectorise), moved),
        )
    )
    assert largest_difference(got, want) < 1e-12


def test_weights_are_perturbed_in_meta_training_only():
    game, adapted = SmallGan(), []
    for regularisers in ({"shift": Shift(0.3)}, {}):
        engine = Engine(game, MAML, regularisers=regularisers, training=False)
        adapted.append(engine.rollout(engine.init(torch.Generator()), small_episodes(), small_draws(), steps=2, order=1).params)
    assert identical(*adapted)


# ------------------------------------------------------------------ activation
class Scale:
    """A layer's output times ``by``, or times what is learned; notes every call that it sees."""

    def __init__(self, by=None, *, player="discriminator", layer="2", penalty=None):
        self.by, self.player, self.layer, self.penalty, self.seen = by, player, layer, penalty, []

    def init(self, rng, game, meta):
        return {self.player: {"log": torch.zeros((), dtype=torch.float64)}} if self.by is None else {}

    def layers(self, game, meta):
        return {self.player: [self.layer]}

    def activation(self, own, call, draws):
        self.seen.append((call.player, call.layer, tuple(call.inputs.shape), call.adapting, call.training))
        by = own[self.player]["log"].exp() if self.by is None else self.by
        return by * call.output, None if self.penalty is None else self.penalty * call.output.sum()


def scaled_networks(by):
    """The discriminator's last layer, which is linear, with weights and bias times ``by``."""
    modules = small_networks()
    with torch.no_grad():
        for weight in modules["discriminator"][2].parameters():
            weight *= by
    return modules


@BOTH
def test_a_scaled_layer_is_a_layer_with_scaled_weights(vectorise):
    episodes, draws, values = small_episodes(), small_draws(), []
    for game, regularisers in ((SmallGan(), {"scale": Scale(2.0)}), (SmallGan(modules=scaled_networks(2.0)), {})):
        engine = Engine(game, MAML, regularisers=regularisers, vectorise=vectorise)
        meta = engine.init(torch.Generator())
        start = engine.begin(meta, episodes["support"], draws)
        values.append(engine.losses(meta, start.params, episodes["support"], {}, draws)[0])
    assert largest_difference(*values) < 1e-12


@BOTH
def test_a_penalty_on_a_layer_joins_the_loss_of_its_player_once_per_call(vectorise):
    """The discriminator's logits of real and of fake samples, summed, and nothing for the generator."""
    game, episodes, draws = SmallGan(), small_episodes(), small_draws()
    plain = Engine(game, MAML, vectorise=vectorise)
    meta = plain.init(torch.Generator())
    start = plain.begin(meta, episodes["support"], draws)
    arguments = meta, start.params, episodes["support"], {}, draws
    before = plain.losses(*arguments)[0]
    logits = []
    probe = Scale(1.0)
    probe.activation = lambda own, call, draws: (logits.append(call.output), (call.output, None))[1]
    Engine(game, MAML, regularisers={"probe": probe}, vectorise=False).losses(*arguments)
    after = Engine(game, MAML, regularisers={"scale": Scale(1.0, penalty=0.5)}, vectorise=vectorise).losses(*arguments)[0]
    real_and_fake = torch.stack([one.sum() + other.sum() for one, other in zip(logits[::2], logits[1::2], strict=True)])
    assert torch.allclose(after["discriminator"], before["discriminator"] + 0.5 * real_and_fake, rtol=1e-12)
    assert torch.equal(after["generator"], before["generator"])


def test_a_layer_knows_whether_it_adapts_and_runs_at_other_weights():
    outputs = []

    class Probe(Scale):
        def activation(self, own, call, draws):
            weights = {"weight": torch.zeros(1, 8).double(), "bias": torch.full((1,), 7.0).double()}
            outputs.append(call.run(weights, call.inputs))
            return super().activation(own, call, draws)

    probe = Probe(1.0)
    engine = Engine(SmallGan(), MAML, regularisers={"probe": probe}, vectorise=False, adaptation_steps=1)
    meta = engine.init(torch.Generator())
    gradient_of(engine, meta)
    assert {call[:3] for call in probe.seen} == {("discriminator", "2", (5, 8)), ("discriminator", "2", (6, 8))}
    assert {(call[2][0] == SHOTS, call[3]) for call in probe.seen} == {(True, True), (False, False)}  # support adapts, query judges
    assert all(call[4] for call in probe.seen)
    assert all((output == 7).all() for output in outputs)


def test_real_and_fake_batches_meet_different_noise():
    drawn = []

    class Noise(Scale):
        def activation(self, own, call, draws):
            drawn.append(draws.normal("noise", (3,)))
            return call.output, None

    engine = Engine(SmallGan(), MAML, regularisers={"noise": Noise(1.0)}, vectorise=False)
    meta = engine.init(torch.Generator())
    gradient_of(engine, meta)
    assert len({tuple(noise.tolist()) for noise in drawn}) == len(drawn)


def test_two_engines_on_the_same_networks_do_not_double_what_layers_do():
    """A trainer and an adapter share modules: each one's layers answer to it alone."""
    game, episodes, draws = SmallGan(), small_episodes(), small_draws()
    engines = [Engine(game, MAML, regularisers={"scale": Scale(2.0)}) for _ in range(2)]
    plain = Engine(game, MAML)
    meta = plain.init(torch.Generator())
    start = plain.begin(meta, episodes["support"], draws)
    untouched, *scaled, later = (
        engine.losses(meta, start.params, episodes["support"], {}, draws)[0] for engine in (plain, *engines, engines[0], plain)
    )
    assert all(identical(one, scaled[0]) for one in scaled)
    assert identical(untouched, later)
    assert largest_difference(scaled[0], untouched) > 1e-2


@BOTH
def test_an_input_gradient_is_that_of_the_layers_as_they_are(vectorise):
    """With the layer's output replaced by 0, only the penalty is left of the loss: that of the network without a regulariser."""
    game, episodes, draws = SmallGan(penalties={"r1": R1(weight=3.0)}), small_episodes(), small_draws()
    plain = Engine(SmallGan(), MAML, vectorise=vectorise)
    meta = plain.init(torch.Generator())
    start = plain.begin(meta, episodes["support"], draws)
    arguments = meta, start.params, episodes["support"], {}, draws, ("discriminator",)
    penalty = Engine(game, MAML, vectorise=vectorise).losses(*arguments)[0]["discriminator"] - plain.losses(*arguments)[0]["discriminator"]
    noisy = Scale(0.0)
    noisy.activation = lambda own, call, draws: (0.0 * call.output * draws.normal("noise", (1,)), None)
    got = Engine(game, MAML, regularisers={"off": noisy}, vectorise=vectorise).losses(*arguments)[0]["discriminator"]
    assert torch.allclose(got, 2 * torch.log(torch.tensor(2.0).double()) + penalty, rtol=1e-12)


@BOTH
@pytest.mark.parametrize("remember", [10, 0], ids=["remembered", "recomputed"])
def test_layers_and_input_gradients_have_right_derivatives_together(vectorise, remember):
    """A learned scale, noise in a layer and an input-gradient penalty under second-order adaptation, against central differences."""

    class Noisy(Scale):
        def activation(self, own, call, draws):
            changed, _ = super().activation(own, call, draws)
            return changed + 0.1 * draws.normal("noise", (1,)), 0.01 * changed.square().mean()

    engine = Engine(
        SmallGan(penalties={"r1": R1(weight=1.0)}), MAML, regularisers={"noisy": Noisy()}, vectorise=vectorise, remember=remember
    )
    meta = engine.init(torch.Generator())
    gradient = gradient_of(engine, meta)

    def along(h):
        moved = {**meta, "noisy": {"discriminator": {"log": meta["noisy"]["discriminator"]["log"] + h}}}
        return float(MAML.objective(engine, moved, small_episodes(), small_draws())["discriminator"].detach().mean())

    h = 1e-3
    difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert gradient["noisy"]["discriminator"]["log"].item() == pytest.approx(difference, rel=1e-8)


# ------------------------------------------------------------------ what a regulariser owns
def test_what_a_regulariser_owns_is_learned_and_stored_with_meta(tmp_path):
    """One outer SGD step along its part of the meta-gradient; a checkpoint holds it like the learner's own."""
    meta, after = stepped(MAML, {"scale": Scale()})
    gradient = gradient_of(Engine(SmallGan(), MAML, regularisers={"scale": Scale()}), meta)
    (before, slope, moved) = (tree["scale"]["discriminator"]["log"] for tree in (meta, gradient, after))
    assert slope.abs() > 1e-4
    assert torch.equal(moved, before - MAML.outer_lr * slope)
    save_tree(tmp_path / "meta", flatten(after))
    assert identical(unflatten(load_tree(tmp_path / "meta")), after)


def test_a_regularisers_name_that_meta_has_already_is_refused():
    with pytest.raises(ContractError, match="both call a part of meta 'initial'"):
        Engine(SmallGan(), MAML, regularisers={"initial": Scale()}).init(torch.Generator())


# ------------------------------------------------------------------ term
class Decay:
    """Adds weight / 2 |theta_p|^2 to each player's meta-objective."""

    def __init__(self, weight):
        self.weight = weight

    def term(self, own, meta, game, episodes, draws):
        return {
            player: self.weight / 2 * sum(leaf.square().sum() for _, leaf in leaves(meta["initial"][player])) for player in game.players
        }


@pytest.mark.parametrize("learner", [MAML, REPTILE], ids=["maml", "reptile"])
def test_a_term_adds_its_own_gradient(learner):
    """weight * theta, whatever the learner: it needs no objective."""
    meta, plain = stepped(learner, {})
    _, after = stepped(learner, {"decay": Decay(0.3)})
    want = tree_map(lambda new, theta: new - learner.outer_lr * 0.3 * theta, plain, meta)
    assert largest_difference(after, want) < 1e-12


def test_a_term_that_plays_the_game_is_charged_for_it():
    class Joint:
        def term(self, own, meta, game, episodes, draws):
            start = game.begin(meta, episodes["support"], draws)
            return {player: value.mean() for player, value in game.losses(meta, start.params, episodes["query"], {}, draws)[0].items()}

    def spent(regularisers):
        engine = Engine(SmallGan(), REPTILE, regularisers=regularisers)
        engine.outer_step(engine.init(torch.Generator()), small_episodes(), Outer(REPTILE), small_draws())
        return engine.gradient_evaluations

    assert spent({"joint": Joint()}) == spent({}) + 3 * 2  # tasks x players
    assert spent({"decay": Decay(0.3)}) == spent({})


# ------------------------------------------------------------------ gradients of single tasks
class Clip:
    """Every entry of a task's gradient within [-bound, bound]."""

    def __init__(self, bound):
        self.bound = bound

    def adjust_task_gradient(self, meta, gradient):
        return tree_map(lambda leaf: leaf.clamp(-self.bound, self.bound), gradient)


def task_gradients(of):
    """``of(episodes, draws)`` of each task alone, and of all together."""
    episodes, draws = small_episodes(), small_draws()
    ones = [of(tree_map(lambda leaf, t=t: leaf[t : t + 1], episodes), draws.of(draws.key[t : t + 1])) for t in range(3)]
    return ones, of(episodes, draws)


@BOTH
@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_each_tasks_meta_gradient_is_adjusted_before_the_mean(chunk, vectorise):
    def gradient(regularisers):
        engine = Engine(SmallGan(), MAML, regularisers=regularisers, task_chunk=chunk, vectorise=vectorise)
        meta = engine.init(torch.Generator())
        return lambda episodes, draws: engine.meta_gradient(lambda m, c, d: MAML.objective(engine, m, c, d), meta, episodes, draws)[0]

    bound = 0.02
    ones, _ = task_gradients(gradient({}))
    _, clipped = task_gradients(gradient({"clip": Clip(bound)}))
    want = tree_map(lambda *tasks: sum(leaf.clamp(-bound, bound) for leaf in tasks) / 3, *ones)
    assert largest_difference(clipped, want) < 1e-12
    assert largest_difference(tree_map(lambda *tasks: (sum(tasks) / 3).clamp(-bound, bound), *ones), want) > 1e-2  # not after the mean


@BOTH
@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_each_tasks_pseudo_gradient_is_adjusted_before_the_mean(chunk, vectorise):
    """Reptile with a clip: theta - mean_i clip(theta - phi_i)."""
    bound = 1e-3
    meta, after = stepped(REPTILE, {"clip": Clip(bound)}, task_chunk=chunk, vectorise=vectorise)
    end = Engine(SmallGan(), REPTILE).rollout(meta, small_episodes(), small_draws(), steps=2, order=1).params
    want = tree_map(lambda theta, phi: theta - (theta - phi).clamp(-bound, bound).mean(0), meta["initial"], end)
    assert largest_difference(after["initial"], want) < 1e-12


def test_adjusting_nothing_changes_a_meta_gradient_by_rounding_only():
    grads = []
    for regularisers in ({}, {"clip": Clip(float("inf"))}):
        engine = Engine(SmallGan(), MAML, regularisers=regularisers)
        grads.append(gradient_of(engine, engine.init(torch.Generator())))
    assert largest_difference(*grads) < 1e-12


# ------------------------------------------------------------------ the outer update
def test_adjustments_of_the_whole_gradient_and_of_the_update_act_in_turn():
    class Halve:
        def adjust_gradient(self, meta, gradient):
            return tree_map(lambda leaf: 0.5 * leaf, gradient)

    class Pull:
        def adjust_update(self, meta, updated, rates):
            return tree_map(lambda new, theta, rate: new - rate * theta, updated, meta, rates)

    meta, plain = stepped(MAML, {})
    _, after = stepped(MAML, {"halve": Halve(), "pull": Pull()})
    want = tree_map(lambda new, theta: theta + 0.5 * (new - theta) - MAML.outer_lr * theta, plain, meta)
    assert largest_difference(after, want) < 1e-12


def test_layers_of_a_generator_act_on_samples_too():
    """Held-out samples come from the network as it is regularised, which a layer's own state at test time is."""
    game = SmallGan()
    engine = Engine(game, MAML, regularisers={"scale": Scale(3.0, player="generator")}, training=False)
    meta = engine.init(torch.Generator())
    end = engine.begin(meta, small_episodes()["support"], small_draws())
    plain = Engine(game, MAML).sample(meta, end, 4, small_draws(), small_episodes()["query"])
    assert plain.shape == (3, 4, FEATURES)
    assert torch.allclose(engine.sample(meta, end, 4, small_draws(), small_episodes()["query"]), 3 * plain)
