"""Health of a game: do its players still learn? From the norms of their gradients, whatever the game.

Shape suffixes: K adaptation steps, T tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import nan

import numpy as np
import numpy.typing as npt

from bench.contracts import Output

Array = npt.NDArray[np.float64]

VANISHED = 0.01  # of a player's first step: below it, a player that has not converged has stopped all the same


def gradient_norm(player: str) -> str:
    """Name of the norm of a player's gradient at its last adaptation step."""
    return f"gradient-norm-{player}"


def vanishing_steps(player: str) -> str:
    """Name of :func:`vanishing_share` of a player."""
    return f"vanishing-steps-{player}"


def health_outputs(players: Iterable[str]) -> dict[str, Output]:
    """How the measures of players read. The size of a gradient is neither good nor bad."""
    return {
        name: output
        for player in players
        for name, output in (
            (gradient_norm(player), Output("lower", nan, f"{player}: gradient norm", about="game")),
            (vanishing_steps(player), Output("lower", 0.0, f"{player}: share of vanishing steps", about="game", range=(0, 1))),
        )
    }


def vanishing_share(norms_KT: npt.ArrayLike) -> Array:
    """Share of the steps so far whose gradient has vanished, (K, T): its norm is at most 1 % of the first step's.

    A first gradient of 0 has vanished. NaN from the first norm on that is not finite.

    Args:
        norms_KT: of a player's gradient at each adaptation step, the first one first.
    """
    norms = np.asarray(norms_KT, dtype=np.float64)
    steps_K1 = np.arange(1, len(norms) + 1)[:, None]
    share_KT = np.cumsum(norms <= VANISHED * norms[:1], axis=0) / steps_K1
    return np.where(np.logical_and.accumulate(np.isfinite(norms), axis=0), share_KT, np.nan)
