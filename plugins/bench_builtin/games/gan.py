"""Two-player generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import ContractError, Kind, Lookahead, Output, Parts, Play, Tree, cycled

if TYPE_CHECKING:
    from bench.contracts import Draws

Weights = Mapping[str, Mapping[str, Tensor]]

SATURATED = 0.01  # of the pull at a sample that the logistic loss judges wrongly


class Gan:
    """Generator against discriminator; both see the labels of a labelled task, and row i of the fakes has the label of row i of the reals.

    Args:
        order: who moves when in an adaptation step: alternating (the discriminator first, ``n_critic`` times) or simultaneous.
        n_critic: discriminator moves per adaptation step, alternating order only.
        fakes: generated samples per loss; None: as many as real ones.
        noise: fresh latents at every step, or fixed ones per task.
        unroll: the generator's loss is taken at the discriminator after so many further gradient steps of its own; 0: as it is.
        unroll_lr: rate of these steps.

    Source: Goodfellow et al., 2014, https://arxiv.org/abs/1406.2661; order of play: Mescheder et al., 2017; unrolling: Metz et al., 2017.
    """

    roles: ClassVar[Mapping[str, str]] = {"generator": "generator", "discriminator": "discriminator"}
    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points", "signal")
    needs_loss: ClassVar[bool] = True
    labels: ClassVar[str] = "optional"
    ignored_when: ClassVar[Mapping[str, Mapping[str, object]]] = {"unroll_lr": {"unroll": 0}}
    health_outputs: ClassVar[Mapping[str, Output]] = {
        "saturation": Output("lower", 0.0, "saturated share of discriminator logits", about="game", range=(0, 1)),
        "discriminator-gap": Output("closer", 0.0, "discriminator logit, support - query (above 0: overfits)", about="game"),
    }
    players = ("generator", "discriminator")

    def __init__(
        self,
        *,
        order: Literal["alternating", "simultaneous"] = "alternating",
        n_critic: Annotated[int, Field(ge=1)] = 1,
        fakes: Annotated[int, Field(ge=1)] | None = None,
        noise: Literal["fresh", "fixed"] = "fresh",
        unroll: Annotated[int, Field(ge=0)] = 0,
        unroll_lr: Annotated[float, Field(gt=0)] = 0.01,
    ) -> None:
        if order == "simultaneous" and n_critic != 1:
            raise ContractError(f"gan: n_critic ({n_critic}) counts moves of alternating play; leave it out, or set order: alternating")
        self.fakes, self.noise = fakes, noise
        simultaneous = order == "simultaneous"
        self.schedule = (self.players,) if simultaneous else (*[("discriminator",)] * n_critic, ("generator",))
        self.lookahead = {"generator": Lookahead("discriminator", unroll, unroll_lr)} if unroll else {}

    def bind(self, parts: Parts) -> BoundGan:
        return BoundGan(self, parts)


class BoundGan:
    """A :class:`Gan` on its modules, loss, penalties and augmentations."""

    players = Gan.players

    def __init__(self, rules: Gan, parts: Parts) -> None:
        self.rules, self.modules, self.critic, self.spec = rules, parts.modules, parts.critic, parts.spec
        self.loss, self.penalties = parts.loss, {name: one for name, one in parts.penalties.items() if hasattr(one, "penalty")}
        self.views = {name: one for name, one in parts.augmentations.items() if hasattr(one, "augment_view")}
        self.generated_share = max((getattr(one, "generated_share", 0.0) for one in parts.augmentations.values()), default=0.0)
        self.schedule, self.lookahead = rules.schedule, rules.lookahead

    def state(self) -> Tree:
        return {name: one.start() for name, one in {**self.penalties, **self.views}.items() if hasattr(one, "start")}

    def losses(self, weights: Weights, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        labels, state = batch.get("y"), dict(state)
        n_fake = self.rules.fakes or len(batch["x"])
        latents = self._latents(n_fake, draws.fixed() if self.rules.noise == "fixed" else draws)

        def generate(z: Tensor) -> Tensor:
            return self._generate(weights, z, cycled(labels, len(z)))

        def seen(x: Tensor, who: str) -> Tensor:
            for name, view in self.views.items():
                x = view.augment_view(x, state.get(name, {}), draws.at(name, who))
            return x

        play = Play(
            real=seen(batch["x"], "real"),
            fake=seen(generate(latents), "fake"),
            latents=latents,
            labels=labels,
            critic=self.critic(self.modules["discriminator"], weights["discriminator"]),
            generate=generate,
            weights=weights,
        )
        real_logits, fake_logits = play.logits(play.real), play.logits(play.fake)  # apart: batch statistics must not mix
        values = {}
        if "generator" in players:
            values["generator"] = self.loss.generator_loss(real_logits, fake_logits)
        if "discriminator" in players:
            value = self.loss.discriminator_loss(real_logits, fake_logits)
            if self.generated_share:
                taken = play.logits(seen(generate(self._latents(n_fake, draws.at("fed-back"))), "fed-back"))
                value = torch.lerp(value, self.loss.discriminator_loss(taken, fake_logits), self.generated_share)
            values["discriminator"] = value
        for name, penalty in self.penalties.items():
            for player in getattr(penalty, "players", ("discriminator",)):
                if player in players:
                    extra, after = penalty.penalty(player, play, state.get(name, {}), draws.at(name))
                    values[player] = values[player] + extra
                    if name in state:
                        state[name] = after
        if "discriminator" in players:
            state |= {
                name: view.watch(real_logits, state[name]) for name, view in self.views.items() if name in state and hasattr(view, "watch")
            }
        return values, state

    def sample(self, weights: Weights, batch: Tree, n: int, draws: Draws) -> Tensor:
        """(n, *shape); in a labelled task, row i is of class i modulo the number of classes."""
        labels = torch.eye(batch["y"].shape[1], dtype=batch["y"].dtype, device=batch["y"].device) if "y" in batch else None
        return self._generate(weights, self._latents(n, draws), cycled(labels, n))

    def health(self, weights: Weights, episode: Tree, state: Tree, draws: Draws) -> dict[str, Tensor]:
        """Of the discriminator, without augmentation: ``saturation`` and ``discriminator-gap``.

        A sample, one of n of its kind, is saturated where n |dL_D / dlogit| < 0.01: the discriminator learns nothing from it any more.
        For the logistic loss that is a logit beyond ln 99 = 4.6 on the right side, where the gradient of the minimax generator vanishes
        (Goodfellow et al., 2014, section 3; Arjovsky and Bottou, 2017, https://arxiv.org/abs/1701.04862, theorem 2.4); for the hinge
        loss, one beyond the margin. The share is the mean of those of real and of generated samples.

        The gap is the mean logit of the support minus that of the query: above 0, the discriminator remembers what it has seen
        (Karras et al., 2020, https://arxiv.org/abs/2006.06676, section 2). Batches are as large as the support, since logits may
        depend on that.
        """
        support, query = episode["support"], episode["query"]
        labels, n = support.get("y"), len(support["x"])
        again = torch.arange(n, device=query["x"].device) % len(query["x"])
        unseen = {name: values.index_select(0, again) for name, values in query.items()}
        fake = self._generate(weights, self._latents(n, draws), cycled(labels, n))
        critic = self.critic(self.modules["discriminator"], weights["discriminator"])
        on_support, on_query, on_fake = (
            critic.logits(x, y) for x, y in ((support["x"], labels), (unseen["x"], unseen.get("y")), (fake, cycled(labels, n)))
        )
        slopes = critic.slopes(self.loss.discriminator_loss, on_support, on_fake)
        resting = torch.stack([(len(slope) * slope.abs() < SATURATED).to(slope.dtype).mean() for slope in slopes])
        return {"saturation": resting.mean(), "discriminator-gap": on_support.mean() - on_query.mean()}

    def _latents(self, n: int, draws: Draws) -> Tensor:
        return draws.normal("z", (n, self.modules["generator"].latent))

    def _generate(self, weights: Weights, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.critic(self.modules["generator"], weights["generator"])(*((z,) if labels is None else (z, labels)))
