"""Those who do it: this engine as suites run it, three libraries as their documentation shows them, and a loop written by hand.

A contender is a function ``(world) -> step``; ``step()`` makes one outer step from the world's parameters and returns the new ones,
{"player.name": tensor}. Peers see one task at a time, share the forward pass between the players wherever their interface lets them,
and get the noise for nothing.

Notation: theta = initial parameters, phi = adapted ones.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus
from worlds import ADAM_BETAS, INNER_LR, OUTER_LR, World

from bench.contracts import Parts
from bench.game.critic import Critic
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench_builtin.games import Gan
from bench_builtin.gan_losses import NonSaturating
from bench_builtin.inner_optimisers import Adam, Sgd
from bench_builtin.meta_learners import Maml, Reptile

Step = Callable[[], dict[str, Tensor]]
Network = Callable[[Tensor], Tensor]
PLAYERS = ("generator", "discriminator")
TINY = 1e-20  # Adam's eps where contenders are compared: it stands inside the root here, outside in PyTorch


class MissingPeerError(Exception):
    """A peer that this machine has not; the message says how to get it."""


# ------------------------------------------------------------------ this engine
def bench(world: World, **settings: Any) -> Step:
    """The engine with the built-in game, loss and learners, eight tasks at a time as in a suite's default protocol."""
    regime = world.regime
    game = Gan(order="simultaneous").bind(Parts(modules=world.modules, critic=Critic, loss=NonSaturating()))
    inner = Sgd() if regime.inner == "sgd" else Adam(beta1=ADAM_BETAS[0], beta2=ADAM_BETAS[1], eps=eps(world))
    common: dict[str, Any] = {"inner_lr": INNER_LR, "inner_optimiser": inner, "outer_lr": OUTER_LR, "outer_optimiser": Sgd()}
    learner: Any
    if regime.method == "maml":
        learner = Maml(order=regime.order, cross_player="own-path", **common)
    else:
        learner = Reptile(uses="support", outer_schedule="constant", **common)
    engine = Engine(game, learner, adaptation_steps=regime.steps, **{"task_chunk": 8, **settings})
    meta = engine.init(torch.Generator().manual_seed(0))
    episodes = {"support": {"x": world.support}, "query": {"x": world.query}}

    def step() -> dict[str, Tensor]:
        after, _ = engine.outer_step(meta, episodes, Outer(learner), world.draws)
        return {f"{player}.{name}": leaf for player, own in after["initial"].items() for name, leaf in own.items()}

    return step


def eps(world: World) -> float:
    """Adam's, negligible in float64, where the engine's and PyTorch's formula are to agree."""
    return TINY if world.support.dtype == torch.float64 else 1e-8


# ------------------------------------------------------------------ what peers share
def losses(generate: Network, judge: Network, real: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Of generator and discriminator, from one forward pass."""
    fake = judge(generate(z))
    return softplus(-fake).mean(), softplus(-judge(real)).mean() + softplus(fake).mean()


def by_task(world: World) -> Iterator[tuple[Tensor, list[Tensor], Tensor, Tensor]]:
    """Support, noise of every step, query and its noise, task by task."""
    for t in range(world.regime.tasks):
        yield world.support[t], [z[t] for z in world.support_noise], world.query[t], world.query_noise[t]


def parameters_of(world: World) -> list[Tensor]:
    """theta: both players' parameters, the generator's first."""
    return [weight for player in PLAYERS for weight in world.modules[player].parameters()]


def stepped(world: World, add: Callable[[], None]) -> Step:
    """An outer step of SGD from the gradients, summed over tasks, that ``add`` leaves in ``.grad``."""
    names = [f"{player}.{name}" for player in PLAYERS for name, _ in world.modules[player].named_parameters()]
    theta = parameters_of(world)

    def step() -> dict[str, Tensor]:
        for weight in theta:
            weight.grad = None
        add()
        with torch.no_grad():
            return {name: weight - OUTER_LR / world.regime.tasks * weight.grad for name, weight in zip(names, theta, strict=True)}

    return step


def accumulate(theta: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Add to ``.grad``, as ``backward`` does."""
    for weight, gradient in zip(theta, gradients, strict=True):
        weight.grad = gradient.clone() if weight.grad is None else weight.grad.add_(gradient)


def both_gradients(
    values: tuple[Tensor, Tensor], generator: Sequence[Tensor], discriminator: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Each player's loss by its own parameters."""
    own = torch.autograd.grad(values[0], generator, create_graph=create_graph, retain_graph=True)
    return own, torch.autograd.grad(values[1], discriminator, create_graph=create_graph)


# ------------------------------------------------------------------ peers
def hand(world: World) -> Step:
    """``torch.autograd.grad`` and ``functional_call``; for Reptile, copies of the networks and ``torch.optim``."""
    if world.regime.method == "reptile":
        return copies(world)
    names = {player: [name for name, _ in world.modules[player].named_parameters()] for player in PLAYERS}
    theta = {player: list(world.modules[player].parameters()) for player in PLAYERS}
    second = world.regime.order == 2

    def at(player: str, phi: dict[str, list[Tensor]]) -> Network:
        named = dict(zip(names[player], phi[player], strict=True))
        return lambda x: functional_call(world.modules[player], named, (x,))

    def gradients(phi: dict[str, list[Tensor]], real: Tensor, z: Tensor, *, create_graph: bool) -> tuple[tuple[Tensor, ...], ...]:
        values = losses(at("generator", phi), at("discriminator", phi), real, z)
        return both_gradients(values, phi["generator"], phi["discriminator"], create_graph=create_graph)

    def add() -> None:
        for support, noise, query, query_z in by_task(world):
            phi = theta
            for z in noise:
                found = gradients(phi, support, z, create_graph=second)
                pairs = {player: zip(phi[player], own, strict=True) for player, own in zip(PLAYERS, found, strict=True)}
                phi = {player: [p - INNER_LR * g for p, g in own] for player, own in pairs.items()}
                if not second:
                    phi = {player: [p.detach().requires_grad_() for p in own] for player, own in phi.items()}
            flat = [gradient for own in gradients(phi, query, query_z, create_graph=False) for gradient in own]
            if second:
                torch.autograd.backward(phi["generator"] + phi["discriminator"], flat)
            else:
                accumulate(theta["generator"] + theta["discriminator"], flat)

    return stepped(world, add)


def copies(world: World) -> Step:
    """Reptile by ``copy.deepcopy`` and ``torch.optim``."""
    theta = parameters_of(world)

    def optimiser(module: nn.Module) -> torch.optim.Optimizer:
        if world.regime.inner == "sgd":
            return torch.optim.SGD(module.parameters(), lr=INNER_LR)
        return torch.optim.Adam(module.parameters(), lr=INNER_LR, betas=ADAM_BETAS, eps=eps(world))

    def add() -> None:
        for support, noise, _, _ in by_task(world):
            generator, discriminator = (copy.deepcopy(world.modules[player]) for player in PLAYERS)
            optimisers, phi = [optimiser(generator), optimiser(discriminator)], [generator, discriminator]
            for z in noise:
                found = both_gradients(losses(generator, discriminator, support, z), *(list(one.parameters()) for one in phi))
                for module, own, each in zip(phi, found, optimisers, strict=True):
                    for weight, gradient in zip(module.parameters(), own, strict=True):
                        weight.grad = gradient
                    each.step()
            end = [weight.detach() for module in phi for weight in module.parameters()]
            accumulate(theta, [start.detach() - weight for start, weight in zip(theta, end, strict=True)])

    return stepped(world, add)


def learn2learn(world: World, checkout: Path | None) -> Step:
    """``MAML.clone`` and ``adapt``; at first order ``maml_update``, since ``adapt`` frees the forward pass that the players share."""
    maml = learn2learn_maml(checkout)
    theta = [maml.MAML(world.modules[player], lr=INNER_LR, first_order=world.regime.order == 1) for player in PLAYERS]
    flat, reptile = parameters_of(world), world.regime.method == "reptile"
    if world.regime.inner != "sgd":
        raise MissingPeerError("its inner loop takes plain gradient steps only")

    def add() -> None:
        for support, noise, query, query_z in by_task(world):
            generator, discriminator = (one.clone() for one in theta)
            for z in noise:
                values = losses(generator, discriminator, support, z)
                if world.regime.order == 2 and not reptile:
                    generator.adapt(values[0])
                    discriminator.adapt(values[1])
                else:
                    found = both_gradients(values, *(list(one.parameters()) for one in (generator, discriminator)))
                    for one, own in zip((generator, discriminator), found, strict=True):
                        one.module = maml.maml_update(one.module, INNER_LR, own)
            phi = [list(one.parameters()) for one in (generator, discriminator)]
            end = phi[0] + phi[1]
            if reptile:
                accumulate(flat, [(start - weight).detach() for start, weight in zip(flat, end, strict=True)])
            else:
                found = both_gradients(losses(generator, discriminator, query, query_z), *phi)
                torch.autograd.backward(end, [*found[0], *found[1]])

    return stepped(world, add)


def learn2learn_maml(checkout: Path | None) -> ModuleType:
    """Its module ``learn2learn.algorithms.maml``, unmodified, installed or from a checkout of its repository.

    Its wheel does not build on Python 3.11 and later, but this module is plain Python. The packages above it are entered without
    their ``__init__``, which imports what that build would have made.

    Raises:
        MissingPeerError: neither is there.
    """
    if checkout is None:
        try:
            return importlib.import_module("learn2learn.algorithms.maml")
        except ImportError as error:
            cure = (
                "its wheel does not build on Python >= 3.11: git clone https://github.com/learnables/learn2learn, then --learn2learn PATH"
            )
            raise MissingPeerError(cure) from error
    if not (checkout / "learn2learn" / "algorithms" / "maml.py").exists():
        raise MissingPeerError(f"{checkout} is no checkout of learn2learn: learn2learn/algorithms/maml.py is not there")
    for name in ("learn2learn", "learn2learn.algorithms"):
        package = ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules.setdefault(name, package)
    return importlib.import_module("learn2learn.algorithms.maml")


def higher(world: World) -> Step:
    """``innerloop_ctx`` and its differentiable optimisers; at first order each player has a forward pass of its own."""
    library, regime = peer("higher"), world.regime
    if regime.method == "reptile":
        raise MissingPeerError("nothing to unroll in Reptile")
    second, theta = regime.order == 2, parameters_of(world)

    def add() -> None:
        for support, noise, query, query_z in by_task(world):
            with ExitStack() as stack:
                inner = [
                    stack.enter_context(
                        library.innerloop_ctx(
                            module,
                            torch.optim.SGD(module.parameters(), lr=INNER_LR),
                            copy_initial_weights=False,
                            track_higher_grads=second,
                        )
                    )
                    for module in (world.modules[player] for player in PLAYERS)
                ]
                (generator, generator_step), (discriminator, discriminator_step) = inner
                for z in noise:
                    values = losses(generator, discriminator, support, z)
                    if not second:  # each step frees the graph of its loss
                        fake = discriminator(generator(z).detach())
                        values = values[0], softplus(-discriminator(support)).mean() + softplus(fake).mean()
                    generator_step.step(values[0])
                    discriminator_step.step(values[1])
                phi = [list(one.parameters()) for one in (generator, discriminator)]
                found = both_gradients(losses(generator, discriminator, query, query_z), *phi)
                if second:
                    torch.autograd.backward(phi[0] + phi[1], [*found[0], *found[1]])
                else:
                    accumulate(theta, [*found[0], *found[1]])

    return stepped(world, add)


def torchopt(world: World) -> Step:
    """``MetaSGD`` on the networks themselves, whose state is put back after each task; at first order the graph is cut after each step."""
    library, regime = peer("torchopt"), world.regime
    if regime.method == "reptile":
        raise MissingPeerError("nothing to unroll in Reptile")
    second, theta = regime.order == 2, parameters_of(world)
    generator, discriminator = (world.modules[player] for player in PLAYERS)

    def add() -> None:
        optimisers = [library.MetaSGD(module, lr=INNER_LR) for module in (generator, discriminator)]
        start = [library.extract_state_dict(one, by="reference") for one in (generator, discriminator, *optimisers)]
        for support, noise, query, query_z in by_task(world):
            for z in noise:
                values = losses(generator, discriminator, support, z)
                for optimiser, value in zip(optimisers, values, strict=True):
                    optimiser.step(value)
                if not second:
                    for module in (generator, discriminator):
                        library.stop_gradient(module)
            phi = [[weight for _, weight in one.named_parameters()] for one in (generator, discriminator)]
            found = both_gradients(losses(generator, discriminator, query, query_z), *phi)
            if second:
                torch.autograd.backward(phi[0] + phi[1], [*found[0], *found[1]])
            else:
                accumulate(theta, [*found[0], *found[1]])
            for one, state in zip((generator, discriminator, *optimisers), start, strict=True):
                library.recover_state_dict(one, state)

    return stepped(world, add)


def peer(name: str) -> ModuleType:
    """A peer's module.

    Raises:
        MissingPeerError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPeerError(f"not installed: pip install 'metagan-bench[peers]' ({error})") from error
