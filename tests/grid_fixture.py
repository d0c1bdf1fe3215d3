"""A suite with a little of everything, to see what changes to it do to its cells."""

from pathlib import Path
from typing import Any

import yaml

from bench.grid.cells import Trial
from bench.registry.registry import Registry
from bench.suite.model import Suite, load_suite

SUITE: dict[str, Any] = {
    "question": "Which?",
    "name": "base",
    "seed": 1,
    "replicates": 2,
    "primary": {"metric": "energy", "adaptation_step": 2, "compare": ["reptile", "finetune"]},
    "budget": {"gradient_evaluations": 500, "warm_start": {"finetune": 100}},
    "protocol": {"shots": 6, "query": 6, "adaptation_steps": {"train": 2, "test": [0, 2]}},
    "games": ["gan"],
    "task_distributions": ["gaussian-rings"],
    "networks": ["mlp"],
    "gan_losses": ["non-saturating", "wasserstein"],
    "meta_learners": ["scratch", "finetune", "reptile", {"maml": {"order": {"sweep": [1, 2]}}}],
    "regularisers": [[], ["gradient-penalty"], ["outer-clip"]],
    "controls": {"shuffled-tasks": ["reptile"]},
    "metrics": ["energy", "modes"],
}


def suite_of(folder: Path, registry: Registry, changes: dict[str, Any] | None = None, text: str = "") -> Suite:
    """The suite with some keys changed, or what a text says, read from a file."""
    path = folder / "suite.yaml"
    path.write_text(text or yaml.safe_dump({**SUITE, **(changes or {})}, sort_keys=False))
    return load_suite(path, registry)


def one(trials: list[Trial], arm: str = "reptile", loss: str = "wasserstein", replicate: int = 0) -> Trial:
    """The only cell of that arm, loss and replicate."""
    (found,) = [t for t in trials if (t.arm, t.gan_loss.label if t.gan_loss else "", t.replicate) == (arm, loss, replicate)]
    return found


def ids(trials: list[Trial]) -> set[str]:
    """Identities."""
    return {trial.trial_id for trial in trials}
