"""The part of a suite that one cell is made of: to rebuild a trial, nothing else that its suite names need be installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.registry.registry import Registry
from bench.suite.components import set_label
from bench.suite.model import Overrides, Suite, transfer_name

COLUMNS = {
    "games": "game",
    "networks": "network",
    "gan_losses": "gan_loss",
    "meta_learners": "meta_learner",
    "regularisers": "regularisers",
    "augmentations": "augmentations",
}
"""Family -> column of a cell that holds the label of its component, or of its set."""


def narrowed(suite: Suite, cell: Mapping[str, Any], registry: Registry) -> Suite:
    """``suite`` with the task distribution and the components of ``cell`` alone, and with the metrics that are installed.

    The trials of such a suite are those of the whole one but for the names of their arms, which tell what a design changes.
    The learner of the warm start stays, which ``cell`` may not name.
    """
    place = str(cell.get("task_distribution"))
    own = [one for one in suite.task_distributions if place == one.label or place.startswith(transfer_name(one.label, ""))]
    changes = {**_part(suite, cell, registry), "task_distributions": tuple(own)}
    changes["per_task_distribution"] = {
        label: one.model_copy(update={name: value for name, value in _part(one, cell, registry).items() if name in one.model_fields_set})
        for label, one in suite.per_task_distribution.items()
        if label in [one.label for one in own]
    }
    return suite.model_copy(update={**changes, "design": "full"})


def local_hint(suite: Suite) -> str:
    """How to bring along the local plugins of a suite that was run, for the end of a message; '' where it has none."""
    return f"\n  {', '.join(suite.plugins)} came with the suite: --suite FILE --allow-local-plugins" if suite.plugins else ""


def _part(whole: Suite | Overrides, cell: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    kept: dict[str, Any] = {"metrics": tuple(one for one in whole.metrics if one.name in registry.names("metrics"))}
    for family, column in COLUMNS.items():
        items = getattr(whole, family)
        labels = [set_label(one) if isinstance(one, tuple) else one.label for one in items]
        # An old ledger lacks columns that came later.
        meant = {cell.get(column), *(whole.budget.warm_start if family == "meta_learners" else ())} if column in cell else set(labels)
        kept[family] = tuple(one for one, label in zip(items, labels, strict=True) if label in meant)
    return kept
