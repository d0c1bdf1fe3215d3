"""What an executor calls in a worker: a trial as JSON in, its ledger row and measurements out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import seeds
from bench.episodes import TaskStream
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.grid.cells import Trial
from bench.grid.tuning import validation_loss
from bench.registry.local import LocalFile
from bench.store import load_tree, save_samples, save_tree, tree_metadata, write_atomic, write_progress
from bench.suite.model import Component
from bench.trees import Tree, flatten, tree_map, unflatten
from bench.trial.assemble import Setup, assemble, where_measured, worker_registry
from bench.trial.containment import Settled, contained
from bench.trial.evaluation import evaluate
from bench.trial.judging import with_judge
from bench.trial.lineage import CHECKPOINT, write_lineage
from bench.trial.lineage import FILE as LINEAGE
from bench.trial.rows import Rows
from bench.trial.training import Training, Validation, meta_train

COSTS = ("seconds", "gradient_evaluations", "samples_seen", "flops")


def run(payload: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Run the trial of ``payload``.

    Args:
        payload: ``trial``, see :meth:`bench.grid.cells.Trial.to_dict`; ``results``, the folder; ``plugins``, the local ones, see
            :meth:`bench.registry.local.LocalFile.to_dict`; and where the trial has a shorter one to
            go on from, ``shorter``, that one's id (:class:`bench.trial.lineage.Shorter`).

    Returns:
        The ledger row (status, reason, costs) and the measurements by column.
    """
    trial, results = Trial.from_dict(payload["trial"]), Path(payload["results"])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=trial.device != "cpu")
    _forget_peak_memory(trial.device)
    local = tuple(LocalFile.from_dict(one) for one in payload.get("plugins", ()))
    shorter = results / "trials" / payload["shorter"] / CHECKPOINT if payload.get("shorter") else None
    with contained(trial, worker_registry(*local)) as check:
        return _run(trial, results, local, shorter, check)


def _run(
    trial: Trial, results: Path, local: Sequence[LocalFile], shorter: Path | None, check: Callable[[], None]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    artefacts, folder = results / "artefacts", results / "trials" / trial.trial_id
    folder.mkdir(parents=True, exist_ok=True)
    report = partial(_reporter, folder, check)
    setup = with_judge(assemble(trial, artefacts, local), trial, artefacts, report("training the judge"))
    _record_extractor(setup, trial.task_distribution, artefacts / f"{trial.features_key}.json")
    measured = where_measured(setup, artefacts)
    if trial.transfer is not None:
        measured = with_judge(measured, trial.transfer, artefacts, report("training the judge"))
        _record_extractor(measured, trial.transfer.task_distribution, artefacts / f"{trial.transfer.features_key}.json")
    setup.registry.observe("bench_trial_started", trial=trial.to_dict())
    warm = _warm_start(setup, artefacts, report("the shared warm start"))
    settled = Settled(setup.made)
    progress = report()

    def checked(share: float) -> None:
        progress(share)
        settled.check()

    training = _train(setup, folder, artefacts, warm["spent"], shorter, checked)
    row: dict[str, Any] = {"status": "diverged" if training.diverged else "ok", "reason": training.diverged}
    evaluation_began = time.perf_counter()
    files = [CHECKPOINT, LINEAGE]
    if trial.configuration is not None:  # it chooses settings, so it has no business on meta-test
        if not training.diverged and not math.isfinite(training.best_loss):
            row |= {"status": "diverged", "reason": f"no validation on meta-val has a finite {trial.primary_metric}"}
    elif not training.diverged:
        steps = trial.protocol["adaptation_steps"]["test"]
        tested = evaluate(measured, training.meta, "meta-test", steps, outer_step=training.meta_step)
        training.rows.extend(tested.rows)
        save_samples(folder / "samples.npz", tested.samples)
        files.append("samples.npz")
        if tested.diverged:
            row |= {"status": "diverged", "reason": tested.diverged}
    settled.check()
    row["reason"] = row["reason"] or "; ".join(caveats(setup))
    evaluation_seconds = training.evaluation_seconds + time.perf_counter() - evaluation_began
    row |= {name: getattr(training, name) + warm[name] for name in COSTS}
    row |= {
        "seconds": row["seconds"] + evaluation_seconds,
        "evaluation_seconds": evaluation_seconds,
        "peak_memory_bytes": _peak_memory(trial.device),
        "outer_steps": training.step,
        "artefacts": files,
    }
    return row, training.rows.columns


def caveats(setup: Setup) -> list[str]:
    """What a reader of the row must know although all went well."""
    caveats = [] if setup.vectorised else ["tasks ran one by one: a component is not vectorised, so costs do not compare"]
    for component, augmentation in zip(setup.trial.augmentations, setup.trainer.augmentations, strict=True):
        if getattr(augmentation, "leaks", False):
            caveats.append(f"{component.name} transforms what adaptation sees but no fakes, so the generator may imitate its transforms")
    return caveats


def _train(
    setup: Setup, folder: Path, artefacts: Path, spent: float, shorter: Path | None, on_progress: Callable[[float], None]
) -> Training:
    """Meta-train on what the warm start left of the budget, or go on from where a cell that shares the meta-training ended.

    ``shorter`` is the checkpoint of the same cell with a smaller budget.
    """
    trial, checkpoint = setup.trial, folder / CHECKPOINT
    shared = artefacts / f"{trial.transfer.training_key}.safetensors" if trial.transfer else None
    if shared is not None and shared.exists():
        write_atomic(checkpoint, shared.read_bytes())

    def validate(meta: Tree, outer_step: int) -> Rows:
        return evaluate(setup, meta, "meta-val", [trial.primary_step], outer_step=outer_step, only=trial.primary_metric).rows

    reading = next((metric.outputs[trial.primary_metric] for _, metric in setup.metrics if trial.primary_metric in metric.outputs), None)

    def judge(rows: Rows) -> float:
        pairs = zip(rows.columns["metric"], rows.columns["value"], strict=True)
        return validation_loss([value for metric, value in pairs if metric == trial.primary_metric], reading) if reading else math.inf

    times = trial.protocol["validations"]
    training = meta_train(
        setup.trainer,
        setup.stream,
        setup.trainer.init(torch.Generator().manual_seed(_learner_seed(trial))),
        Outer(setup.learner, setup.trainer.regularisers.values()),
        replicate=trial.replicate,
        axis=trial.budget["axis"],
        amount=trial.budget["amount"] - spent,
        validation=Validation(times, validate, judge if trial.tunes else None) if reading and times else None,
        checkpoint=checkpoint,
        shorter=shorter,
        on_progress=on_progress,
    )
    write_lineage(folder, trial, training.horizon_use)
    if shared is not None and not shared.exists():
        write_atomic(shared, checkpoint.read_bytes())
    return training


def _warm_start(setup: Setup, artefacts: Path, on_progress: Callable[[float], None]) -> dict[str, float]:
    """Give the networks the parameters of the joint phase that arms share; its costs are charged to each of them."""
    trial = setup.trial
    if not trial.warm_key:
        return dict.fromkeys(("spent", *COSTS), 0.0)
    path = artefacts / f"{trial.warm_key}.safetensors"
    if not path.exists():
        _build_warm_start(setup, path, on_progress)
    for player, weights in unflatten(load_tree(path)).items():
        setup.modules[player].load_state_dict(weights)
    return {name: float(value) for name, value in tree_metadata(path).items()}


def _build_warm_start(setup: Setup, path: Path, on_progress: Callable[[float], None]) -> None:
    """Joint training of the warm start's learner from the networks' initialisation."""
    trial, plan = setup.trial, setup.trial.budget["warm_start"]
    component = Component(**plan["learner"])
    learner = setup.registry.create("meta_learners", component.name, component.parameters)
    engine = Engine(
        setup.trainer.game,
        learner,
        augmentations=setup.trainer.augmentations,
        rules=setup.trainer.rules,
        adaptation_steps=trial.protocol["adaptation_steps"]["train"],
        vectorise=setup.vectorised,
        task_chunk=trial.protocol["task_chunk"],
    )
    meta = engine.init(torch.Generator().manual_seed(_learner_seed(trial)))
    training = meta_train(
        engine,
        setup.plain_stream,
        meta,
        Outer(learner),
        replicate=trial.replicate,
        axis=trial.budget["axis"],
        amount=plan["amount"],
        on_progress=on_progress,
    )
    charged = {name: repr(getattr(training, name)) for name in ("spent", *COSTS)}
    save_tree(path, flatten(_networks(engine, setup.plain_stream, training.meta)), metadata=charged)


def _networks(engine: Engine, stream: TaskStream, meta: Tree) -> Tree:
    """{player: {name: tensor}} that a learner's adaptation starts from; joint training has one start for all tasks."""
    episodes, draws = stream.training(replicate=0, step=0)
    start = engine.begin(meta, episodes["support"], draws)
    return tree_map(lambda leaf: leaf[0], engine.map("weights", partial(engine.learner.weights, meta), start.params))


def _record_extractor(setup: Setup, distribution: Component, path: Path) -> None:
    """Beside the results: which features they rest on, and how good these are."""
    if not path.exists():
        name = setup.trial.feature_extractor.name
        about = {"name": name, "task_distribution": distribution.label, "fingerprint": setup.extractor.fingerprint()}
        write_atomic(path, json.dumps({**about, "certificate": setup.extractor.certificate()}, indent=1).encode())


def _learner_seed(trial: Trial) -> int:
    return seeds.key("meta-learner", trial.seed, trial.replicate)


def _reporter(folder: Path, check: Callable[[], None], doing: str = "") -> Callable[[float], None]:
    """At most once a second, ``check`` that all is well, and tell the driver how far the trial is, or what it is ``doing`` before."""
    last = 0.0

    def report(progress: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            check()
            write_progress(folder / "progress.json", {"progress": progress, "doing": doing})

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
