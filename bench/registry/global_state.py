"""What all components of a process share and none may change: random states, and settings of torch, NumPy and the process.

A component that changes them changes the numbers of whatever runs after it, so they are compared and put back, and what changed is told.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.errors import ContractError

CURE = "take noise from `draws` or `rng`, and convert tensors instead of changing defaults"


@dataclass(frozen=True)
class Part:
    """One thing that is shared.

    Attributes:
        get: its value, which ``==`` compares.
        put: sets it to an earlier value.
        words: regular expression of the names in source code that may change it.
        innocent: libraries change it, too, when they are first imported (scikit-learn does), so that it is put back without a word.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]
    words: str
    innocent: bool = False


def _numpy_state() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return kind, np.asarray(keys).tobytes(), *rest


def _seed_numpy(state: tuple[Any, ...]) -> None:
    kind, keys, *rest = state
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


_DRAWING = "seed|rand|normal|uniform|bernoulli|multinomial|dropout|shuffle|choice|permutation|sample"

PARTS = (
    Part("Python's random state", random.getstate, random.setstate, _DRAWING, innocent=True),
    Part("NumPy's random state", _numpy_state, _seed_numpy, _DRAWING),
    Part(
        "torch's random state",
        lambda: torch.get_rng_state().numpy().tobytes(),
        lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
        _DRAWING,
    ),
    Part("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, "set_default_(dtype|tensor_type)"),
    Part(
        "torch's default device",
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
        "set_default_device",
    ),
    Part("torch's number of threads", torch.get_num_threads, torch.set_num_threads, "set_num_threads"),
    Part("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled, "set_grad_enabled|no_grad|inference_mode"),
    Part(
        "torch's determinism",
        _determinism,
        lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]),
        "use_deterministic_algorithms|deterministic",
    ),
    Part("torch's anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, "detect_anomaly"),
    Part("NumPy's handling of errors", np.geterr, lambda given: np.seterr(**given), "seterr"),
    Part("the current folder", os.getcwd, os.chdir, "chdir"),
)


class Snapshot:
    """The shared parts as they are now."""

    def __init__(self) -> None:
        self._values = [part.get() for part in PARTS]

    def changed(self) -> list[Part]:
        """Those that are otherwise now."""
        return [part for part, value in zip(PARTS, self._values, strict=True) if part.get() != value]

    def restore(self) -> None:
        """Put back what has changed, and only that: setting determinism takes seconds."""
        for part, value in zip(PARTS, self._values, strict=True):
            if part.get() != value:
                part.put(value)


@contextmanager
def undisturbed(who: Callable[[Sequence[Part]], str]) -> Iterator[Callable[[], None]]:
    """Put the shared parts back after the body, and refuse one that changes them.

    Args:
        who: the culprit of these changes, for the message.

    Yields:
        A function that refuses changes at once, for a body that takes long.

    Raises:
        ContractError: the body has changed something. What it raises besides goes its way, with a note.
    """
    before = Snapshot()

    def told() -> str:
        changed = [part for part in before.changed() if not part.innocent]
        names = ", ".join(part.name for part in changed)
        return f"{who(changed)} changed {names}, which all components share; {CURE}" if changed else ""

    def check() -> None:
        if text := told():
            raise ContractError(text)

    try:
        yield check
        check()
    except ContractError:
        raise
    except BaseException as error:
        if text := told():
            error.add_note(text)
        raise
    finally:
        before.restore()
