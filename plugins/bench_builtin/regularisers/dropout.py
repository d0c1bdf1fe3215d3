"""Noise on hidden units that is learned to make adaptation generalise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from bench.contracts import ContractError, Game, LayerCall, Tree
from bench_builtin.regularisers.layers import inverse_softplus, kernel_layers, zeros_beside

if TYPE_CHECKING:
    from bench.contracts import Draws

ONE = inverse_softplus(1.0)


class MetaDropout:
    """Output of a hidden layer times softplus(a(x) + noise * eps), a learned map of the layer's inputs (meta-dropout).

    a has the layer's own form and is learned in the outer loop, never adapted; it starts where softplus(a) = 1. eps is anew for every
    point, unit and pass while the inner loop takes gradients, at meta-test too; where the query is judged and where samples are drawn
    there is no noise, and the factor is softplus(a(x)). Last layers stay as they are.

    Departures from the authors' code: a starts at factor 1 (theirs at softplus(0), before batch norm); one draw of the noise per
    adaptation step at meta-test as in meta-training (theirs: 30 at meta-test); no additive noise on the last layer.

    Args:
        noise: standard deviation before the softplus, 1 in the paper.
        layers: patterns of ``player.layer``, which hidden layers are noisy; ``discriminator.*`` is one player.

    Source: Lee et al., 2020, https://openreview.net/forum?id=BJgd81SYwr, section 3.
    """

    needs_objective: ClassVar[bool] = True

    def __init__(self, *, noise: Annotated[float, Field(ge=0)] = 1.0, layers: tuple[str, ...] = ("*",)) -> None:
        self.noise, self.patterns = noise, layers

    def init(self, rng: torch.Generator, game: Game, meta: Tree) -> Tree:
        chosen = self.layers(game, meta)
        return {player: {name: zeros_beside(kernel_layers(game.modules[player])[name]) for name in chosen[player]} for player in chosen}

    def layers(self, game: Game, meta: Tree) -> Mapping[str, Sequence[str]]:
        """Hidden layers that a pattern means.

        Raises:
            ContractError: there is none.
        """
        hidden = {player: list(kernel_layers(module))[:-1] for player, module in game.modules.items()}
        chosen = {
            player: [name for name in names if any(fnmatch(f"{player}.{name}", pattern) for pattern in self.patterns)]
            for player, names in hidden.items()
        }
        if not any(chosen.values()):
            known = [f"{player}.{name}" for player, names in hidden.items() for name in names]
            raise ContractError(
                f"meta-dropout: no hidden layer is called {' or '.join(self.patterns)}; there are {', '.join(known) or 'none'}; "
                "change `layers`, or take a deeper network"
            )
        return {player: names for player, names in chosen.items() if names}

    def activation(self, own: Tree, call: LayerCall, draws: Draws) -> tuple[Tensor, Tensor | None]:
        factor = call.run(own[call.player][call.layer], call.inputs) + ONE
        if call.adapting:
            factor = factor + self.noise * draws.normal("noise", tuple(factor.shape))
        return call.output * softplus(factor), None
