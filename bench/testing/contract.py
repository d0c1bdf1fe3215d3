"""What all contract classes share: failures that an author expects, and global state that a component leaves alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from bench.errors import ContractError, did_you_mean
from bench.registry.global_state import Snapshot

UNUSUAL = 1_873_540_291
"""A seed that nobody sets: a component that seeds a generator, even again, is seen."""


class Contract:
    """A contract class: its tests are what a component owes its users.

    Attributes:
        expected_failures: {name of a test: why this component cannot pass it}. Such a test is run and must fail, so that a reason
            which no longer holds is found.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **settings: Any) -> None:
        """Mark the tests that are expected to fail.

        Raises:
            ContractError: there is no test of that name, or no reason.
        """
        super().__init_subclass__(**settings)
        for name, reason in vars(cls).get("expected_failures", {}).items():
            known = [test for test in dir(cls) if test.startswith("test_")]
            if name not in known:
                raise ContractError(f"{cls.__name__}.expected_failures names {name!r}, which is no test of it.{did_you_mean(name, known)}")
            if not str(reason).strip():
                raise ContractError(f"{cls.__name__}.expected_failures: {name!r} needs a reason, which reports and certificates show")
            setattr(cls, name, pytest.mark.xfail(reason=str(reason), strict=True)(_copied(getattr(cls, name))))


def _copied(test: Callable[..., None]) -> Callable[..., None]:
    """A test of its own, so that a mark does not reach the class it was inherited from."""

    @wraps(test)
    def copied(*fixtures: Any, **named: Any) -> None:
        test(*fixtures, **named)

    return copied


@contextmanager
def global_state_untouched(*, torch_draws: bool = False) -> Iterator[None]:
    """Fail where the body changes what all components of a process share; what was changed is put back.

    Args:
        torch_draws: whether torch's global generator may move, as the initialisers of a network move it.

    Raises:
        AssertionError: a part of :data:`bench.registry.global_state.PARTS` differs afterwards.
    """
    outside = Snapshot()
    random.seed(UNUSUAL)
    np.random.seed(UNUSUAL)
    if not torch_draws:
        torch.manual_seed(UNUSUAL)
    before = Snapshot()
    try:
        yield
        changed = [part.name for part in before.changed() if not (torch_draws and part.name == "torch's random state")]
        assert not changed, f"it changed {', '.join(changed)}, which other components share; take noise from `draws` or `rng`"
    finally:
        outside.restore()
