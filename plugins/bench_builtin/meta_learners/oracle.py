"""An upper bound: adaptation that sees what the others are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from bench_builtin.meta_learners.adaptation import Rates
from bench_builtin.meta_learners.baselines import Scratch


@dataclass(frozen=True, kw_only=True)
class ClassOracle(Scratch):
    """PRIVILEGED: from scratch, on the task's support and all its held-out real samples, for many steps before step 0.

    What these networks, game and inner optimiser reach with every real sample at hand, whatever their start: an upper bound to read
    others against, marked in reports and never ranked. It may copy the samples that it is judged by.

    Args:
        head_start: adaptation steps before adaptation step 0 is counted.
    """

    head_start: Annotated[int, Field(ge=0)] = 500
    inner_lr: Rates = 0.005

    privileged: ClassVar[bool] = True
    at_test: ClassVar[tuple[str, ...]] = (*Scratch.at_test, "head_start")
