"""Few-shot classification: one player that tells the classes of a labelled task apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from torch.nn.functional import log_softmax

from bench.contracts import Kind, Parts, Tree

if TYPE_CHECKING:
    from bench.contracts import Draws

Weights = Mapping[str, Mapping[str, Tensor]]


class Classifier:
    """Cross-entropy of the labels given x, mean over the batch in nats; labels may be mixtures (Finn et al., 2017, section 5.2)."""

    roles: ClassVar[Mapping[str, str]] = {"classifier": "classifier"}
    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points", "signal")
    needs_loss: ClassVar[bool] = False
    labels: ClassVar[str] = "required"
    predicts: ClassVar[bool] = True

    def bind(self, parts: Parts) -> BoundClassifier:
        return BoundClassifier(parts)


class BoundClassifier:
    """A :class:`Classifier` on its module."""

    players = ("classifier",)
    schedule = (("classifier",),)
    predicts = Classifier.predicts

    def __init__(self, parts: Parts) -> None:
        self.modules, self.critic, self.spec = parts.modules, parts.critic, parts.spec

    def state(self) -> Tree:
        return {}

    def losses(self, weights: Weights, batch: Tree, players: tuple[str, ...], state: Tree, draws: Draws) -> tuple[dict[str, Tensor], Tree]:
        log_p_BC = log_softmax(self._logits(weights, batch["x"]), 1)
        return {"classifier": -(batch["y"] * log_p_BC).sum(1).mean()}, state

    def sample(self, weights: Weights, batch: Tree, n: int, draws: Draws) -> Tensor:
        """Logits (B, classes) at ``batch["x"]``."""
        return self._logits(weights, batch["x"])

    def _logits(self, weights: Weights, x: Tensor) -> Tensor:
        return self.critic(self.modules["classifier"], weights["classifier"])(x)
