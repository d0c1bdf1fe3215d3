"""Learners without a game: they draw samples around those of the support. What a GAN that adapts must beat.

NumPy, one task at a time. Suffixes: S support samples, Q query samples, E episodes, N samples, F features of a flattened sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import Choice, Episode, Kind, Space
from bench_builtin.kinds import GENERATIVE

TOLERANCE, MOST_ROUNDS = 1e-8, 1000  # of the bandwidth's logarithm; EM converges linearly, in some tens of rounds
Fitted = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Memorise:
    """Draws support samples with replacement, plus noise: what a measure that rewards copies would call perfect.

    Args:
        noise: standard deviation of normal noise on every feature, in units of the samples; 0 copies.
    """

    noise: Annotated[float, Field(ge=0)] = 0.0

    plays: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    at_test: ClassVar[tuple[str, ...]] = ("noise",)
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    episodes: ClassVar[int] = 0

    def fit(self, episodes: Sequence[Episode]) -> Fitted:
        return {}

    def sample(self, fitted: Fitted, support: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        return around(support, self.noise, n, rng)


@dataclass(frozen=True, kw_only=True)
class Kde:
    """Kernel density estimate: p(x) = mean_i N(x; x_i, h^2 I) over the support samples x_i.

    Args:
        bandwidth: h. A number is h itself, in units of the samples. ``scott``: h = s S^(-1/(F + 4)), s^2 the mean over features of the
            support's variance (the rule for normal data, and much too wide for images: the factor tends to 1). ``meta-train``: the one
            h under which the queries of meta-train tasks are most likely given their supports.
        tasks: meta-train tasks that ``meta-train`` looks at.

    Source: Scott, 1992, Multivariate Density Estimation, eq. 6.42, with one scale for all features.
    """

    bandwidth: Literal["scott", "meta-train"] | Annotated[float, Field(gt=0)] = "meta-train"
    tasks: Annotated[int, Field(ge=1)] = 64

    plays: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    space: ClassVar[Space] = {"bandwidth": Choice(("scott", "meta-train"))}
    at_test: ClassVar[tuple[str, ...]] = ()

    @property
    def episodes(self) -> int:
        """What :meth:`fit` needs."""
        return self.tasks if self.bandwidth == "meta-train" else 0

    def fit(self, episodes: Sequence[Episode]) -> Fitted:
        if self.bandwidth == "scott":
            return {}
        h = most_likely_bandwidth(episodes) if self.bandwidth == "meta-train" else self.bandwidth
        return {"bandwidth": np.asarray(h)}

    def sample(self, fitted: Fitted, support: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        h = float(fitted["bandwidth"]) if "bandwidth" in fitted else scott(support)
        return around(support, h, n, rng)


def around(support: np.ndarray, sd: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` draws, (N, ...): a support sample each, with replacement, plus normal noise of ``sd``."""
    chosen = support[rng.integers(len(support), size=n)]
    drawn: np.ndarray = (chosen + sd * rng.standard_normal(chosen.shape)).astype(support.dtype)
    return drawn


def scott(support: np.ndarray) -> float:
    """Scott's bandwidth of samples (S, ...); 0 for a single one."""
    flat = support.reshape(len(support), -1).astype(np.float64)
    size, features = flat.shape
    spread = math.sqrt(flat.var(axis=0, ddof=min(1, size - 1)).mean())
    return spread * float(size) ** (-1 / (features + 4))


def most_likely_bandwidth(episodes: Sequence[Episode]) -> float:
    """argmax_h of sum_E sum_Q log mean_S N(q; x, h^2 I): one bandwidth for all tasks.

    By expectation maximisation: h^2 <- mean over queries of sum_S w d^2 / F, where w is a support sample's share in explaining the
    query and d its distance. No round lowers the likelihood (Dempster et al., 1977).
    """
    squares_EQS = np.stack([_square_distances(episode) for episode in episodes])
    features = math.prod(np.shape(episodes[0].support["x"])[1:])
    log_h2 = math.log(max(squares_EQS.mean() / features, np.finfo(float).tiny))
    for _ in range(MOST_ROUNDS):
        exponents = -0.5 * squares_EQS / math.exp(log_h2)
        weights = np.exp(exponents - exponents.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        before = log_h2
        log_h2 = math.log(max((weights * squares_EQS).sum(2).mean() / features, np.finfo(float).tiny))
        if abs(log_h2 - before) < 2 * TOLERANCE:
            break
    return math.exp(0.5 * log_h2)


def _square_distances(episode: Episode) -> np.ndarray:
    """Between query and support, (Q, S)."""
    query, support = (np.reshape(part["x"], (len(part["x"]), -1)).astype(np.float64) for part in (episode.query, episode.support))
    squares: np.ndarray = np.square(query[:, None] - support[None]).sum(2)
    return squares
