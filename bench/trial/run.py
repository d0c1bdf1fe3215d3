"""What an executor calls in a worker: a trial as JSON in, its ledger row and measurements out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench import seeds
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.grid.cells import Trial
from bench.store import load_tree, save_samples, save_tree, tree_metadata, write_atomic, write_progress
from bench.suite.model import Component
from bench.trees import Tree, flatten, unflatten
from bench.trial.assemble import Setup, assemble
from bench.trial.evaluation import evaluate
from bench.trial.rows import Rows
from bench.trial.training import Training, meta_train

COSTS = ("seconds", "gradient_evaluations", "samples_seen", "flops")


def run(payload: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Run the trial of ``payload`` ({"trial": ..., "results": folder}).

    Returns:
        The ledger row (status, reason, costs) and the measurements by column.
    """
    trial, results = Trial.from_dict(payload["trial"]), Path(payload["results"])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=trial.device != "cpu")
    _forget_peak_memory(trial.device)
    setup = assemble(trial, results / "artefacts")
    _record_extractor(setup, results / "artefacts" / f"{trial.features_key}.json")
    setup.registry.observe("bench_trial_started", trial=trial.to_dict())
    folder = results / "trials" / trial.trial_id
    folder.mkdir(parents=True, exist_ok=True)
    warm = _warm_start(setup, results / "artefacts")
    training = _train(setup, folder, warm["spent"])
    row: dict[str, Any] = {"status": "diverged" if training.diverged else "ok", "reason": training.diverged}
    evaluation_began = time.perf_counter()
    artefacts = ["checkpoint.safetensors"]
    if not training.diverged:
        steps = trial.protocol["adaptation_steps"]["test"]
        tested = evaluate(setup, training.meta, "meta-test", steps, outer_step=training.step)
        training.rows.extend(tested.rows)
        save_samples(folder / "samples.npz", tested.samples)
        artefacts.append("samples.npz")
        if tested.diverged:
            row |= {"status": "diverged", "reason": tested.diverged}
    if not setup.vectorised and not row["reason"]:
        row["reason"] = "tasks ran one by one: a component is not vectorised, so costs do not compare"
    evaluation_seconds = training.evaluation_seconds + time.perf_counter() - evaluation_began
    row |= {name: getattr(training, name) + warm[name] for name in COSTS}
    row |= {
        "seconds": row["seconds"] + evaluation_seconds,
        "evaluation_seconds": evaluation_seconds,
        "peak_memory_bytes": _peak_memory(trial.device),
        "outer_steps": training.step,
        "artefacts": artefacts,
    }
    return row, training.rows.columns


def _train(setup: Setup, folder: Path, spent: float) -> Training:
    """Meta-train on what the warm start left of the budget."""
    trial = setup.trial

    def validate(meta: Tree, outer_step: int) -> Rows:
        return evaluate(setup, meta, "meta-val", [trial.primary_step], outer_step=outer_step, only=trial.primary_metric).rows

    generator = torch.Generator().manual_seed(_learner_seed(trial))
    meta = setup.learner.init(generator, setup.trainer.game)
    return meta_train(
        setup.trainer,
        setup.stream,
        meta,
        Outer(setup.learner, setup.outer_regularisers),
        replicate=trial.replicate,
        axis=trial.budget["axis"],
        amount=trial.budget["amount"] - spent,
        validations=trial.protocol["validations"],
        validate=validate if trial.primary_metric in {name for _, metric in setup.metrics for name in metric.outputs} else None,
        checkpoint=folder / "checkpoint.safetensors",
        on_progress=_reporter(folder),
    )


def _warm_start(setup: Setup, artefacts: Path) -> dict[str, float]:
    """Give the networks the parameters of the joint phase that arms share; its costs are charged to each of them."""
    trial = setup.trial
    if not trial.warm_key:
        return dict.fromkeys(("spent", *COSTS), 0.0)
    path = artefacts / f"{trial.warm_key}.safetensors"
    if not path.exists():
        _build_warm_start(setup, path)
    for player, weights in unflatten(load_tree(path)).items():
        setup.modules[player].load_state_dict(weights)
    return {name: float(value) for name, value in tree_metadata(path).items()}


def _build_warm_start(setup: Setup, path: Path) -> None:
    """Joint training of the warm start's learner from the networks' initialisation."""
    trial, plan = setup.trial, setup.trial.budget["warm_start"]
    component = Component(**plan["learner"])
    learner = setup.registry.create("meta_learners", component.name, component.parameters)
    engine = Engine(
        setup.trainer.game,
        learner,
        adaptation_steps=trial.protocol["adaptation_steps"]["train"],
        vectorise=setup.vectorised,
        task_chunk=trial.protocol["task_chunk"],
    )
    meta = learner.init(torch.Generator().manual_seed(_learner_seed(trial)), engine.game)
    training = meta_train(
        engine,
        setup.plain_stream,
        meta,
        Outer(learner),
        replicate=trial.replicate,
        axis=trial.budget["axis"],
        amount=plan["amount"],
    )
    charged = {name: repr(getattr(training, name)) for name in ("spent", *COSTS)}
    save_tree(path, flatten(training.meta["initial"]), metadata=charged)


def _record_extractor(setup: Setup, path: Path) -> None:
    """Beside the results: which features they rest on, and how good these are."""
    if not path.exists():
        name = setup.trial.feature_extractor.name
        about = {"name": name, "task_distribution": setup.trial.task_distribution.label, "fingerprint": setup.extractor.fingerprint()}
        write_atomic(path, json.dumps({**about, "certificate": setup.extractor.certificate()}, indent=1).encode())


def _learner_seed(trial: Trial) -> int:
    return seeds.key("meta-learner", trial.seed, trial.replicate)


def _reporter(folder: Path) -> Any:
    """Tell the driver the share of the budget that is spent, at most once a second."""
    last = 0.0

    def report(progress: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            write_progress(folder / "progress.json", {"progress": progress})

    return report


def _forget_peak_memory(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (Linux); elsewhere the peak is the worker's
    except OSError:
        return


def _peak_memory(device: str) -> float | None:
    """Peak memory of the trial in bytes: of the device, or of the worker's process with everything it has imported."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated())
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
