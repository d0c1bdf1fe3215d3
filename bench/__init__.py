"""Benchmark of meta-learned generative models: which meta-learner adapts best to unseen few-shot tasks?

Public names are imported on first use, so that ``bench --help`` needs neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench import plots
    from bench.driver.lookup import load_trial
    from bench.frame import load_results
    from bench.hookspecs import hookimpl
    from bench.stats import summarise

__all__ = ["hookimpl", "load_results", "load_trial", "plots", "summarise"]

_HOMES = {
    "hookimpl": "bench.hookspecs",
    "load_results": "bench.frame",
    "load_trial": "bench.driver.lookup",
    "summarise": "bench.stats",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in."""
    if name == "plots":
        return importlib.import_module("bench.plots")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
