"""The whole of ``bench run``: suite -> plan -> schedule -> store -> report."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench.driver.planning import Plan, known_rows, make_plan
from bench.driver.progress import Progress, spell_seconds
from bench.driver.tuning import RECORD, Choice, choices, write_record
from bench.errors import ExitCode, UsageError
from bench.grid.cells import Trial, expand, identity_parts, refuse_nothing
from bench.grid.selection import select
from bench.registry.registry import Registry, discover
from bench.store import Store, unwritable, write_atomic, write_identities
from bench.suite.locations import anonymous_suite, anonymous_text
from bench.suite.model import Budget, Suite, load_suite

WORK = "bench.trial.run:run"
COMMAND = "command.txt"
FAILURES = ("failed", "oom", "timeout", "infra")


@dataclass(frozen=True)
class RunOptions:
    """What ``bench run`` is told beside the suite.

    Attributes:
        timeout: seconds after which a trial is killed.
        max_failures: failed cells after which the run stops.
        again: statuses of which finished cells run once more.
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
    max_failures: int | None = None
    again: tuple[str, ...] = ()


class TooManyFailures(Exception):
    """As many cells failed as the user would bear."""


@dataclass(frozen=True)
class Planned:
    """A suite, its cells, and where their results belong."""

    suite: Suite
    registry: Registry
    plan: Plan
    results: Path
    whole: bool  # all cells of the suite, rather than a selection


def prepare(suite_path: Path, options: RunOptions) -> Planned:
    """Read the suite, expand it and compare it with what its results folder holds; runs nothing.

    Raises:
        SuiteError, PluginError, NothingSelectedError, StoreError: as their texts say.
        UsageError: the results folder is a file, or holds the results of another suite.
    """
    registry = discover()
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
    return Planned(suite, registry, make_plan(trials, known_rows(results), kinds, again=options.again), results, whole=not options.select)


def _check_folder(results: Path, name: str) -> None:
    """Refuse a results folder whose cells would be dropped for those of the suite ``name``."""
    if results.exists() and not results.is_dir():
        raise UsageError(f"{results} is a file; name a folder with --output")
    try:
        held = json.loads((results / "suite.json").read_bytes()).get("name", name)
    except (OSError, ValueError, AttributeError):  # not there, or cut off by a crash: written anew
        return
    if held != name:
        raise UsageError(f"{results} holds the results of the suite {held!r}, not of {name!r}; choose another folder with --output")


def quick(suite: Suite) -> Suite:
    """One replicate, a twentieth of the budget, few tasks: does it run at all? Its results have a folder of their own."""

    def small_budget(budget: Budget) -> Budget:
        amount = min(budget.amount, max(20, budget.amount // 20))
        # At most half, so that something is left for the learners themselves.
        warm = {name: min(max(1, value // 20), max(1, amount // 2)) for name, value in budget.warm_start.items()}
        return budget.model_copy(update={budget.axis: amount, "warm_start": warm})

    def small_protocol(protocol: Any) -> Any:
        tasks = protocol.tasks.model_copy(
            update={"meta_val": min(2, protocol.tasks.meta_val), "meta_test": min(6, protocol.tasks.meta_test)}
        )
        return protocol.model_copy(update={"tasks": tasks, "validations": min(1, protocol.validations)})

    overrides = {}
    for label, override in suite.per_task_distribution.items():
        small = {"budget": small_budget, "protocol": small_protocol}
        changed = {name: shrink(getattr(override, name)) for name, shrink in small.items() if name in override.model_fields_set}
        overrides[label] = override.model_copy(update=changed)
    return suite.model_copy(
        update={
            "name": f"{suite.name}-quick",
            "replicates": 1,
            "budget": small_budget(suite.budget),
            "protocol": small_protocol(suite.protocol),
            "per_task_distribution": overrides,
            "tuning": suite.tuning and suite.tuning.model_copy(update={"trials": min(2, suite.tuning.trials)}),
        }
    )


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
    say(f"{planned.suite.name}: {_describe(plan, slots)}; results in {results}")
    with Store.create(results) as store:
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
        statuses = [row.status for row in store.rows.values()]
    planned.registry.observe("bench_suite_finished", results=str(results), rows=len(statuses))
    failed = sum(status in FAILURES for status in statuses)
    say(_report(planned))
    if failed:
        say(f"{failed} of {len(statuses)} cells failed; reasons are in the report and in {results}/trials/<id>/error.txt")
    return ExitCode.CELL_FAILED if failed else ExitCode.OK


def plan_text(planned: Planned, *, jobs: int | None = None, as_json: bool = False) -> str:
    """What ``bench plan`` prints."""
    from bench.driver.planning import decidable

    plan, slots = planned.plan, jobs or os.cpu_count() or 1
    decisions = decidable(planned.suite, plan.trials, planned.results)
    seconds = sum(plan.seconds.values())
    if as_json:
        missing = {trial.trial_id for trial in plan.missing}
        cells = [{"trial_id": t.trial_id, **t.cell(), "skip": t.skip, "missing": t.trial_id in missing} for t in plan.trials]
        content = {"cells": cells, "cached": plan.cached, "seconds": seconds, "slots": slots, "bytes": plan.bytes, "decisions": decisions}
        return json.dumps(content, indent=1)
    lines = [f"{planned.suite.name}: {planned.suite.question}", _describe(plan, slots)]
    counts: dict[tuple[str, str], int] = {}
    for trial in plan.trials:
        if not trial.skip:
            arm = trial.arm if trial.configuration is None else f"tuning {trial.arm}"
            counts[trial.place, arm] = counts.get((trial.place, arm), 0) + 1
    lines += [f"  {label}: {arm} x {count}" for (label, arm), count in counts.items()]
    if tuning := [trial for trial in plan.trials if trial.configuration is not None]:
        waiting = sum(plan.seconds.get(trial.trial_id, 0.0) for trial in tuning)
        arms = len({(trial.place, trial.arm) for trial in tuning})
        lines.append(f"  of them to tune {arms} arms: {len(tuning)} cells, {spell_seconds(waiting) if waiting else 'none'} of the time")
    lines += [f"  skipped x {count}: {reason}" for reason, count in plan.skipped.items()]
    basis = "from cells that have run" if plan.measured > 0.5 else "a first guess; it improves with the first finished cells"
    lines.append(
        f"time: {spell_seconds(seconds)} of one core, {spell_seconds(seconds / slots)} on {slots} ({basis})" if seconds else "time: none"
    )
    lines.append(f"disk: about {plan.bytes / 1e6:.0f} MB in {planned.results}")
    return "\n".join([*lines, *(f"decides: {sentence}" for sentence in decisions)])


def _describe(plan: Plan, slots: int) -> str:
    parts = [f"{len(plan.trials)} cells", f"{plan.cached} finished before", f"{len(plan.missing)} to run"]
    if plan.skipped:
        parts.append(f"{sum(plan.skipped.values())} skipped")
    if plan.missing:
        parts.append(f"about {spell_seconds(sum(plan.seconds.values()) / slots)}" + ("" if plan.measured > 0.5 else " (first guess)"))
    return ", ".join(parts)


def _record_plan(store: Store, planned: Planned, suite_path: Path) -> None:
    """Every cell gets its row before anything runs."""
    suite_text = anonymous_text(suite_path.read_bytes(), planned.suite, planned.registry)
    resolved = json.dumps(anonymous_suite(planned.suite, planned.registry).to_dict(), indent=1, sort_keys=True).encode()
    for name, content in (("suite.yaml", suite_text), ("suite.json", resolved)):
        path = store.folder / name
        if not path.exists() or path.read_bytes() != content:
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
    results = str(planned.results.resolve())
    tuning = [trial for trial in plan.missing if trial.configuration is not None]
    final = [trial for trial in plan.missing if trial.configuration is None]
    chosen: dict[tuple[str, ...], Choice] = {}

    def job(trial: Trial) -> Job:
        runs = replace(trial, meta_learner=chosen[trial.tuning].learner) if trial.tuning else trial
        return Job(
            key=trial.trial_id,
            payload={"trial": runs.to_dict(), "results": results},
            needs=trial.needs,
            expected_seconds=plan.seconds[trial.trial_id],
            lane=f"{trial.place} {trial.arm}",
            limit_seconds=options.timeout,
        )

    gpus = 1.0 if _device(options.device).startswith("cuda") else 0.0
    executor = make_executor(options.executor, slots=slots, address=options.address, gpus_per_slot=gpus)

    with Progress(len(trials), plan.seconds, slots) as progress:
        if executor.note:
            progress.say(executor.note)

        def on_event(event: Event) -> None:
            trial = trials[event.job.key]
            if event.kind == "started":
                store.start(trial.trial_id)
                progress.started(trial)
                return
            row = {**event.row, "environment": environment, **(chosen[trial.tuning].costs if trial.tuning else {})}
            store.finish(trial.trial_id, row, event.measurements)
            progress.finished(trial, row)
            planned.registry.observe("bench_trial_finished", trial=trial.to_dict(), row=row)
            failures = sum(progress.done[status] for status in FAILURES)
            if options.max_failures is not None and failures >= options.max_failures:
                told = f"{failures} cells" if failures > 1 else "1 cell"
                raise TooManyFailures(f"{told} failed, the last with: {row.get('reason') or row['status']}")

        def on_tick() -> None:
            store.tick()
            progress.tick()

        def is_built(key: str) -> bool:
            suffix = "json" if key.startswith("features-") else "safetensors"
            return (store.folder / "artefacts" / f"{key}.{suffix}").exists()

        def run(wave: list[Trial]) -> None:
            jobs = [job(trial) for trial in wave]
            executor.run(jobs, WORK, on_event=on_event, on_tick=on_tick, on_interrupt=store.flush, is_built=is_built)

        with _terminations_as_interrupts():
            try:
                run(tuning)
                store.flush()
                chosen |= _choices(store, planned)
                run([trial for trial in final if not trial.tuning or trial.tuning in chosen])
            except KeyboardInterrupt:
                return True
        if waiting := sum(bool(trial.tuning) and trial.tuning not in chosen for trial in final):
            progress.say(f"{waiting} cells wait for tuning trials that their machine has lost; the same command runs them anew")
    return False


def _choices(store: Store, planned: Planned) -> dict[tuple[str, ...], Choice]:
    return choices(planned.plan.trials, store.rows, planned.results, planned.registry)


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
        ("max_failures", "--max-failures"),
    ):
        if getattr(options, name) != getattr(defaults, name):
            words += [flag, str(getattr(options, name))]
    words += ["--quick"] * options.quick + (["-k", options.select] if options.select else [])
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
    return _command(shown, RunOptions(device=options.device, quick=options.quick, select=options.select))


def _report(planned: Planned) -> str:
    """Write the report unless it stands for the ledger as it is."""
    page, made_from = planned.results / "report.html", planned.results / "report" / "ledger.blake2b"
    digest = hashlib.blake2b((planned.results / "ledger.jsonl").read_bytes() + (planned.results / "suite.json").read_bytes()).hexdigest()
    if page.exists() and made_from.exists() and made_from.read_text() == digest:
        return f"Nothing new. Report: {page}"
    from bench.driver.reporting import report

    report(planned.results, registry=planned.registry)
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
    row, measurements = run_trial({"trial": trial.to_dict(), "results": str(folder.resolve())})
    say(json.dumps({key: value for key, value in row.items() if key != "artefacts"}, indent=1))
    say(f"{len(measurements['value'])} measurements; artefacts in {folder}/trials/{trial.trial_id}")
    return ExitCode.OK
