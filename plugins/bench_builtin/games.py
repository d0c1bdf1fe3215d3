"""Games: losses of one task, written without batching or autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from bench.contracts import Kind, Parts, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Weights = Mapping[str, Mapping[str, Tensor]]


class Gan:
    """Generator against discriminator.

    Args:
        order: who moves when in an adaptation step: alternating (the discriminator first, ``n_critic`` times) or simultaneous.
        n_critic: discriminator moves per adaptation step, alternating order only.
        fakes: generated samples per loss; None: as many as real ones.
        noise: fresh latents at every step, or fixed ones per task.

    Source: Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661; order of play: Mescheder et al., 2017.
    """

    roles: ClassVar[Mapping[str, str]] = {"generator": "generator", "discriminator": "discriminator"}
    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points", "signal")
    needs_loss: ClassVar[bool] = True
    players = ("generator", "discriminator")

    def __init__(
        self,
        *,
        order: Literal["alternating", "simultaneous"] = "alternating",
        n_critic: Annotated[int, Field(ge=1)] = 1,
        fakes: Annotated[int, Field(ge=1)] | None = None,
        noise: Literal["fresh", "fixed"] = "fresh",
    ) -> None:
        self.fakes, self.noise = fakes, noise
        simultaneous = order == "simultaneous"
        self.schedule = (self.players,) if simultaneous else (*[("discriminator",)] * n_critic, ("generator",))

    def bind(self, parts: Parts) -> BoundGan:
        return BoundGan(self, parts)


class BoundGan:
    """A :class:`Gan` on its modules, loss and penalties."""

    players = Gan.players

    def __init__(self, rules: Gan, parts: Parts) -> None:
        self.rules, self.modules, self.critic = rules, parts.modules, parts.critic
        self.loss, self.penalties = parts.loss, parts.penalties
        self.schedule = rules.schedule

    def state(self) -> Tree:
        return {name: penalty.start() for name, penalty in self.penalties.items() if hasattr(penalty, "start")}

    def losses(self, weights: Weights, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        real = batch["x"]
        fake = self._generate(weights, self.rules.fakes or len(real), draws.fixed() if self.rules.noise == "fixed" else draws)
        critic = self.critic(self.modules["discriminator"], weights["discriminator"])
        real_logits, fake_logits = critic.logits(real), critic.logits(fake)  # apart: batch statistics must not mix
        values, state = {}, dict(state)
        if "generator" in players:
            values["generator"] = self.loss.generator_loss(real_logits, fake_logits)
        if "discriminator" in players:
            values["discriminator"] = self.loss.discriminator_loss(real_logits, fake_logits)
        for name, penalty in self.penalties.items():
            if penalty.player in players:
                value, after = penalty.penalty(critic, real, fake, state.get(name, {}), draws.at(name))
                values[penalty.player] = values[penalty.player] + value
                if name in state:
                    state[name] = after
        return values, state

    def sample(self, weights: Weights, batch: Tree, n: int, draws: Draws) -> Tensor:
        return self._generate(weights, n, draws)

    def _generate(self, weights: Weights, n: int, draws: Draws) -> Tensor:
        generator = self.modules["generator"]
        return functional_call(generator, dict(weights["generator"]), (draws.normal("z", (n, generator.latent)),))


class Regression:
    """Mean squared error of y given x, one player (Finn et al., 2017, section 5.1)."""

    roles: ClassVar[Mapping[str, str]] = {"model": "model"}
    kinds: ClassVar[tuple[Kind, ...]] = ("regression",)
    needs_loss: ClassVar[bool] = False

    def bind(self, parts: Parts) -> BoundRegression:
        return BoundRegression(parts)


class BoundRegression:
    """A :class:`Regression` on its module."""

    players = ("model",)
    schedule = (("model",),)

    def __init__(self, parts: Parts) -> None:
        self.modules = parts.modules

    def state(self) -> Tree:
        return {}

    def losses(self, weights: Weights, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        return {"model": (self._predict(weights, batch["x"]) - batch["y"]).square().mean()}, state

    def sample(self, weights: Weights, batch: Tree, n: int, draws: Draws) -> Tensor:
        return self._predict(weights, batch["x"])

    def _predict(self, weights: Weights, x: Tensor) -> Tensor:
        return functional_call(self.modules["model"], dict(weights["model"]), (x,))


GAMES = {"gan": Gan, "regression": Regression}
