"""A check: a measured number, its limit, and whether it keeps it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Check:
    """One number against one limit.

    Attributes:
        key: short name, unique in an audit.
        claim: what holds if it passes, in a sentence.
        value: what was measured.
        sense: side of the limit that passes.
        limit: what is allowed, before the allowance for chance.
        allowance: two Monte-Carlo standard errors at the limit; 0 where chance plays no part.
        draws: repetitions behind the value.
    """

    key: str
    claim: str
    value: float
    sense: Literal["at most", "at least"]
    limit: float
    allowance: float
    draws: int

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; an undefined value does not keep it."""
        if self.sense == "at most":
            return self.value <= self.limit + self.allowance
        return self.value >= self.limit - self.allowance

    def to_dict(self) -> dict[str, Any]:
        """For the certificate: numbers rounded to six digits, which the text of another platform repeats."""
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**rounded, "value": rounded["value"] if math.isfinite(self.value) else None, "passed": self.passed}


def share_check(key: str, claim: str, share: float, sense: Literal["at most", "at least"], limit: float, *, draws: int) -> Check:
    """A check of a share of ``draws`` independent draws, with two binomial standard errors of leave."""
    return Check(key, claim, share, sense, limit, 2 * standard_error(limit, draws), draws)


def standard_error(share: float, draws: int) -> float:
    """Binomial standard error of a share; NaN without draws."""
    return math.sqrt(share * (1 - share) / draws) if draws else math.nan
