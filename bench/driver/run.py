"""The whole of ``bench run``: suite -> plan -> schedule -> store -> report."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.driver.claims import Claims
from bench.driver.outputs import RECORD as OUTPUTS
from bench.driver.outputs import suite_outputs
from bench.driver.plan_text import describe
from bench.driver.planning import Plan, known_rows, make_plan
from bench.driver.progress import Progress
from bench.driver.shortening import quick
from bench.driver.stopping import stoppable
from bench.driver.tuning import RECORD, Choice, choices, write_record
from bench.errors import ExitCode, StoreError, UsageError
from bench.grid.cells import Trial, expand, refuse_nothing
from bench.grid.identity import identity_parts
from bench.grid.judging import judges
from bench.grid.selection import select
from bench.registry.registry import Registry, discover_for
from bench.store import Store, append_run, read_file, read_json, unwritable, write_atomic, write_identities
from bench.suite.locations import anonymous_suite, anonymous_text
from bench.suite.model import Suite, load_suite
from bench.trial import interruption
from bench.trial.lineage import shorter_trials

WORK = "bench.trial.run:run"
PROBE = "bench.trial.probe:probe"
COMMAND = "command.txt"
FAILURES = ("failed", "oom", "timeout", "infra")


@dataclass(frozen=True)
class RunOptions:
    """What ``bench run`` is told beside the suite.

    Attributes:
        timeout: seconds after which a trial is killed.
        gpus_per_trial: share of a card, or number of cards; None packs trials by the memory that a probe measures.
        max_failures: failed cells after which the run stops.
        again: statuses of which finished cells run once more.
        allow_local: load the Python files that the suite names as its own plugins.
        join: work beside drivers that are at work in the results folder.
    """

    output: Path | None = None
    jobs: int | None = None
    executor: str = "ray"
    address: str | None = None
    device: str = "auto"
    quick: bool = False
    select: str | None = None
    debug: bool = False
    timeout: float | None = None
    gpus_per_trial: float | None = None
    max_failures: int | None = None
    again: tuple[str, ...] = ()
    allow_local: bool = False
    join: bool = False


class TooManyFailures(Exception):
    """As many cells failed as the user would bear."""


@dataclass(frozen=True)
class Planned:
    """A suite, its cells, and where their results belong.

    Attributes:
        whole: all cells of the suite, rather than a selection.
        attempts: by trial id, how many attempts at a cell had ended.
    """

    suite: Suite
    registry: Registry
    plan: Plan
    results: Path
    whole: bool
    attempts: Mapping[str, int]


def prepare(suite_path: Path, options: RunOptions) -> Planned:
    """Read the suite, expand it and compare it with what its results folder holds; runs nothing.

    Raises:
        SuiteError, PluginError, NothingSelectedError, StoreError: as their texts say.
        UsageError: the results folder is a file, or holds the results of another suite.
    """
    registry = discover_for(suite_path, allow_local=options.allow_local)
    suite = load_suite(suite_path, registry)
    if options.quick:
        suite = quick(suite)
    trials = expand(suite, registry, device=_device(options.device))
    if options.select:
        trials = select(trials, options.select)
    refuse_nothing(trials)
    results = options.output or Path("results") / suite.name
    _check_folder(results, suite.name)
    kinds = {c.label: registry.kind(c.name, c.parameters) for c in suite.task_distributions}
    rows = known_rows(results)
    needed = judges((trial for trial in trials if not trial.skip), registry)
    plan = make_plan(
        trials,
        rows,
        kinds,
        again=options.again,
        shorter=shorter_trials(results, trials),
        judges={key: judge for key, judge in needed.items() if not (results / "artefacts" / f"{key}.safetensors").exists()},
    )
    return Planned(
        suite,
        registry,
        plan,
        results,
        whole=not options.select,
        attempts={trial_id: row.attempts - (row.status == "running") for trial_id, row in rows.items()},
    )


def _check_folder(results: Path, name: str) -> None:
    """Refuse a results folder whose cells would be dropped for those of the suite ``name``."""
    if results.exists() and not results.is_dir():
        raise UsageError(f"{results} is a file; name a folder with --output")
    try:
        held = read_json(results / "suite.json").get("name", name)
    except StoreError:  # not there, or cut off by a crash: written anew
        return
    if held != name:
        raise UsageError(f"{results} holds the results of the suite {held!r}, not of {name!r}; choose another folder with --output")


def run(suite_path: Path, options: RunOptions, say: Any = print) -> ExitCode:
    """Run what is missing of a suite, and report.

    Returns:
        OK, CELL_FAILED where a cell failed for other reasons than its numbers, or INTERRUPTED.
    """
    planned = prepare(suite_path, options)
    if options.debug:
        return _debug(planned, say)
    _check_device(options)
    plan, results = planned.plan, planned.results
    slots = 1 if options.executor == "inline" else options.jobs or os.cpu_count() or 1
    say(f"{planned.suite.name}: {describe(plan, slots)}; results in {results}")
    with Store.create(results, join=options.join) as store:
        _record_plan(store, planned, suite_path)
        if plan.missing or not (store.folder / COMMAND).exists():
            write_atomic(store.folder / COMMAND, _reproduction(suite_path, options).encode())
        try:
            interrupted = bool(plan.missing) and _execute(store, planned, options, slots)
        except TooManyFailures as error:
            say(f"Stopped: {error}\nWhat is finished is saved; mend the cause, then bench retry {shlex.quote(str(suite_path))} --failed")
            return ExitCode.CELL_FAILED
        store.flush()
        if planned.suite.tuning:
            write_record(results / RECORD, [choice.record for choice in _choices(store, planned).values()], whole=planned.whole)
        if interrupted:
            say(f"Interrupted. What is finished is saved; the same command goes on from there:\n  {_command(suite_path, options)}")
            return ExitCode.INTERRUPTED
        store.catch_up()
        statuses = [row.status for row in store.rows.values()]
    if not store.last:
        say(f"Every cell of this command has ended. Other drivers are still at work in {results}; the last of them writes the report")
        return ExitCode.CELL_FAILED if any(status in FAILURES for status in statuses) else ExitCode.OK
    planned.registry.observe("bench_suite_finished", results=str(results), rows=len(statuses))
    failed = sum(status in FAILURES for status in statuses)
    say(_report(planned))
    if failed:
        say(f"{failed} of {len(statuses)} cells failed; reasons are in the report and in {results}/trials/<id>/error.txt")
    return ExitCode.CELL_FAILED if failed else ExitCode.OK


def _record_plan(store: Store, planned: Planned, suite_path: Path) -> None:
    """Every cell gets its row before anything runs.

    Raises:
        UsageError: drivers that are at work in the folder run other settings.
    """
    with store.alone() as alone:
        _write_plan(store, planned, suite_path, alone=alone)


def _write_plan(store: Store, planned: Planned, suite_path: Path, *, alone: bool) -> None:
    suite_text = anonymous_text(suite_path.read_bytes(), planned.suite, planned.registry)
    resolved = json.dumps(anonymous_suite(planned.suite, planned.registry).to_dict(), indent=1, sort_keys=True).encode()
    outputs = json.dumps(suite_outputs(planned.suite, planned.registry), indent=1, sort_keys=True).encode()
    for name, content in (("suite.json", resolved), ("suite.yaml", suite_text), (OUTPUTS, outputs)):
        path = store.folder / name
        if path.exists() and read_file(path) == content:
            continue
        if path.exists() and not alone and name == "suite.json":
            raise UsageError(
                f"another driver at work in {store.folder} runs {planned.suite.name!r} with other settings (see its suite.yaml); "
                "wait for it, or choose another folder with --output"
            )
        write_atomic(path, content)
    for trial in planned.plan.trials:
        if trial.skip:
            store.skip(trial.trial_id, trial.skip, cell=trial.cell())
    store.plan({trial.trial_id: trial.cell() for trial in planned.plan.trials if not trial.skip})
    write_identities(store.folder, {trial.trial_id: identity_parts(trial) for trial in planned.plan.missing})
    if planned.whole:
        store.drop(set(store.rows) - {trial.trial_id for trial in planned.plan.trials})


def _execute(store: Store, planned: Planned, options: RunOptions, slots: int) -> bool:
    """Run the missing cells, tuning trials before the others, whose settings they choose; True if the user interrupted."""
    from bench.environment import environment_record
    from bench.schedule import Event, Job, make_executor

    plan = planned.plan
    environment = store.record_environment(environment_record(plugin_hashes(planned.registry)))
    trials = {trial.trial_id: trial for trial in plan.missing}
    local = [file.to_dict() for file in planned.registry.local]
    tuning = [trial for trial in plan.missing if trial.configuration is not None]
    final = [trial for trial in plan.missing if trial.configuration is None]
    chosen: dict[tuple[str, ...], Choice] = {}
    claims = Claims(store, planned.attempts)

    def payload(trial: Trial) -> dict[str, Any]:
        runs = replace(trial, meta_learner=chosen[trial.tuning].learner) if trial.tuning else trial
        return {"trial": runs.to_dict(), "plugins": local, "shorter": plan.start_of(trial)}

    def job(trial: Trial) -> Job:
        return Job(
            key=trial.trial_id,
            payload=partial(payload, trial),
            needs=trial.needs,
            expected_seconds=plan.seconds[trial.trial_id],
            lane=f"{trial.place} {trial.arm} {trial.network.label} {trial.protocol['shots']}",
            limit_seconds=options.timeout,
        )

    gpus = options.gpus_per_trial if _device(options.device).startswith("cuda") else 0.0
    executor = make_executor(options.executor, slots=slots, address=options.address, gpus_per_slot=gpus, probe=PROBE)
    started, began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()

    with Progress(len(trials), plan.seconds, slots) as progress:
        if executor.note:
            progress.say(executor.note)

        def may_start(key: str) -> bool:
            mine = claims.take(key)
            if not mine:
                progress.leave(trials[key])
            return mine

        def on_event(event: Event) -> None:
            trial = trials[event.job.key]
            if event.kind == "started":
                if event.attempt > 1:  # the first is recorded by the claim
                    store.start(trial.trial_id)
                progress.started(trial)
                return
            row = {**event.row, "environment": environment, **(chosen[trial.tuning].costs if trial.tuning else {})}
            store.finish(trial.trial_id, row, event.measurements)
            progress.finished(trial, row)
            planned.registry.observe("bench_trial_finished", trial=trial.to_dict(), row=row, measurements=event.measurements)
            failures = sum(progress.done[status] for status in FAILURES)
            if options.max_failures is not None and failures >= options.max_failures:
                told = f"{failures} cells" if failures > 1 else "1 cell"
                raise TooManyFailures(f"{told} failed, the last with: {row.get('reason') or row['status']}")

        def on_tick() -> None:
            store.tick()
            progress.tick()

        def on_wait() -> None:
            on_tick()
            interruption.check()

        def is_built(key: str) -> bool:
            suffix = "json" if key.startswith("features-") else "safetensors"
            return (store.folder / "artefacts" / f"{key}.{suffix}").exists()

        def run(wave: list[Trial]) -> None:
            left = wave
            while left:
                jobs = [job(trial) for trial in left]
                executor.run(
                    jobs,
                    WORK,
                    on_event=on_event,
                    on_tick=on_tick,
                    on_interrupt=store.flush,
                    is_built=is_built,
                    may_start=may_start,
                    folder=planned.results.resolve(),
                )
                orphans = claims.orphans((trial.trial_id for trial in wave), on_wait=on_wait)
                left = [trial for trial in wave if trial.trial_id in orphans]
                progress.join(left)

        with stoppable():
            try:
                run(tuning)
                store.flush()
                chosen |= _choices(store, planned)
                run([trial for trial in final if not trial.tuning or trial.tuning in chosen])
            except KeyboardInterrupt:
                return True
            finally:
                append_run(store.folder, {"started": started, "seconds": round(time.monotonic() - began, 3), **executor.account.record()})
        if waiting := sum(bool(trial.tuning) and trial.tuning not in chosen for trial in final):
            progress.say(f"{waiting} cells wait for tuning trials that their machine has lost; the same command runs them anew")
    return False


def _choices(store: Store, planned: Planned) -> dict[tuple[str, ...], Choice]:
    return choices(planned.plan.trials, store.rows, planned.results, planned.registry)


def plugin_hashes(registry: Registry) -> dict[str, str]:
    """{plugin: distribution, version and content}, as the environment record of a trial keeps it."""
    return {plugin.name: f"{plugin.distribution} {plugin.version} {plugin.content_hash[:16]}" for plugin in registry.plugins}


def _device(asked: str) -> str:
    """``auto`` is the GPU where there is one; without importing torch."""
    if asked != "auto":
        return asked
    return "cuda" if Path("/dev/nvidia0").exists() else "cpu"


def _command(suite_path: Path, options: RunOptions) -> str:
    words = ["bench", "run", str(suite_path)]
    defaults = RunOptions()
    for name, flag in (
        ("output", "--output"),
        ("jobs", "--jobs"),
        ("executor", "--executor"),
        ("address", "--address"),
        ("device", "--device"),
        ("timeout", "--timeout"),
        ("gpus_per_trial", "--gpus-per-trial"),
        ("max_failures", "--max-failures"),
    ):
        if getattr(options, name) != getattr(defaults, name):
            words += [flag, str(getattr(options, name))]
    words += ["--quick"] * options.quick + ["--join"] * options.join
    words += ["--allow-local-plugins"] * options.allow_local + (["-k", options.select] if options.select else [])
    return shlex.join(words)


def _check_device(options: RunOptions) -> None:
    """Refuse a GPU that is not there before every cell fails for it."""
    if options.device != "cuda" or options.address:
        return
    import torch

    if not torch.cuda.is_available():
        raise UsageError("--device cuda, but PyTorch finds no CUDA device here; use --device cpu, or --address of a cluster that has one")


def _reproduction(suite_path: Path, options: RunOptions) -> str:
    """The command without what changes no number: where results go, and on how many slots of what they are made."""
    # A path of this machine would be of no use to a reader elsewhere, and says where the user lives.
    shown = Path(suite_path.name) if suite_path.is_absolute() or ".." in suite_path.parts else suite_path
    kept = RunOptions(device=options.device, quick=options.quick, select=options.select, allow_local=options.allow_local)
    return _command(shown, kept)


def _report(planned: Planned) -> str:
    """Write the report unless it stands for the ledger as it is."""
    page, made_from = planned.results / "report.html", planned.results / "report" / "ledger.blake2b"
    digest = hashlib.blake2b(read_file(planned.results / "ledger.jsonl") + read_file(planned.results / "suite.json")).hexdigest()
    if page.exists() and made_from.exists() and made_from.read_text() == digest:
        return f"Nothing new. Report: {page}"
    from bench.driver.reporting import report
    from bench.report import RUN_FORMATS

    report(planned.results, registry=planned.registry, formats=RUN_FORMATS)
    write_atomic(made_from, digest.encode())
    return f"Report: {page}"


def _debug(planned: Planned, say: Any) -> ExitCode:
    """One cell in this process with its own settings, its exceptions raised here; nothing is stored in the ledger."""
    from bench.trial.run import run as run_trial

    runnable = [trial for trial in planned.plan.trials if not trial.skip]
    trial = next((trial for trial in runnable if trial.configuration is None), None)
    if trial is None:
        raise UsageError("every selected cell is skipped, so there is nothing to debug; see bench plan")
    say(f"debugging {trial.arm} on {trial.place}, replicate {trial.replicate}, trial {trial.trial_id}")
    folder = planned.results / "debug"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    local = [file.to_dict() for file in planned.registry.local]
    row, measurements = run_trial({"trial": trial.to_dict(), "results": str(folder.resolve()), "plugins": local})
    say(json.dumps({key: value for key, value in row.items() if key != "artefacts"}, indent=1))
    say(f"{len(measurements['value'])} measurements; artefacts in {folder}/trials/{trial.trial_id}")
    return ExitCode.OK
