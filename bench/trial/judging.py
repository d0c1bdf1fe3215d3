"""Meta-train a metric's judge, or take it from the artefacts, and ask it.

Shape suffixes: T tasks, S support samples, Q query samples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench import seeds
from bench.game.outer import Outer
from bench.grid.cells import Transfer, Trial
from bench.grid.judging import judge_trial
from bench.store import save_tree
from bench.trees import Tree, flatten
from bench.trial.adaptation import begin
from bench.trial.assemble import Setup, assemble
from bench.trial.training import load_trained, meta_train


@dataclass(frozen=True)
class Judge:
    """A predicting game's learner after meta-training: what :attr:`bench.contracts.Adapted.judge` calls."""

    setup: Setup
    meta: Tree

    def __call__(self, support_TS: np.ndarray, labels_TSC: np.ndarray, query_TQ: np.ndarray) -> np.ndarray:
        """Logits (T, Q, C) at ``query_TQ`` after adaptation to the support."""
        trial, device = self.setup.trial, self.setup.trial.device
        chunk = trial.protocol["task_chunk"]
        logits = []
        for start in range(0, len(query_TQ), chunk):
            support, labels, query = (
                torch.as_tensor(np.asarray(part[start : start + chunk], dtype=np.float32), device=device)
                for part in (support_TS, labels_TSC, query_TQ)
            )
            batch = {"support": {"x": support, "y": labels}, "query": {"x": query}}
            keys = [seeds.key("judge", trial.seed, start + i) for i in range(len(query))]
            adapted = begin(self.setup.adapter, self.meta, batch, self.setup.stream.draws(keys)).further(trial.primary_step)
            logits.append(adapted.samples(query.shape[1], batch["query"]))
        return np.concatenate(logits)


def with_judge(setup: Setup, place: Trial | Transfer, artefacts: Path, on_progress: Callable[[float], None]) -> Setup:
    """``setup`` with the judge that the metrics at ``place`` ask for, if any; meta-trained where the artefacts have none.

    Args:
        setup: what is measured.
        place: its trial, or what that is transferred to.
        artefacts: folder of what trials share.
        on_progress: told the share of the judge's meta-training that is done.

    Raises:
        DataError, ContractError: as :func:`bench.trial.assemble.assemble`; StoreError: the artefact is damaged.
    """
    trial = judge_trial(setup.trial, place, setup.registry)
    if trial is None:
        return replace(setup, judge=None)
    own = assemble(trial, artefacts, setup.registry.local)
    path = artefacts / f"{place.judge_key}.safetensors"
    if not path.exists():
        meta = own.trainer.init(torch.Generator().manual_seed(seeds.key("judge", trial.seed)))
        training = meta_train(
            own.trainer,
            own.stream,
            meta,
            Outer(own.learner),
            replicate=0,
            axis="outer_steps",
            amount=trial.budget["amount"],
            on_progress=on_progress,
        )
        save_tree(path, flatten({"meta": training.meta, "carried": own.trainer.carried}))
    meta, own.adapter.carried = load_trained(path, trial.device)
    return replace(setup, judge=Judge(own, meta))
