"""Plans: what is missing, what it would cost, and what the replicates can decide."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.driver.planning import decidable, known_rows, make_plan
from bench.driver.progress import Progress, spell_seconds
from bench.driver.run import RunOptions, prepare
from bench.driver.shortening import quick
from bench.grid.cells import expand
from bench.registry.registry import discover
from bench.stats import detectable_difference, spread_of_difference
from bench.store import Store, TrialRow
from bench.suite.model import Budget, Suite, load_suite

ROOT = Path(__file__).parent.parent
TWIN = ROOT / "tests" / "suites" / "twin.yaml"
KINDS = {"gaussian-rings": "points"}


@pytest.fixture(scope="module")
def suite():
    return load_suite(TWIN, discover("builtin"))


@pytest.fixture(scope="module")
def trials(suite):
    return expand(suite, discover("builtin"))


def rows(trials, **values):
    return {trial.trial_id: TrialRow(trial.trial_id, cell=trial.cell(), **values) for trial in trials}


def runnable(trials):
    return [trial for trial in trials if not trial.skip]


# ------------------------------------------------------------------ what is missing
def test_everything_is_missing_at_first(trials):
    plan = make_plan(trials, {}, KINDS)
    assert plan.missing == runnable(trials)
    assert plan.cached == 0
    assert plan.measured == 0
    assert set(plan.seconds) == {trial.trial_id for trial in runnable(trials)}
    assert dict(plan.skipped) == {"excluded by the suite: the penalty belongs to the Wasserstein loss": len(trials) - len(runnable(trials))}


@pytest.mark.parametrize("status", ["ok", "diverged", "failed", "oom", "timeout"])
def test_a_cell_with_an_outcome_is_not_run_again(trials, status):
    plan = make_plan(trials, rows(runnable(trials), status=status), KINDS)
    assert plan.missing == []
    assert plan.cached == len(runnable(trials))
    assert plan.measured == 1.0
    assert plan.seconds == {}


@pytest.mark.parametrize("status", ["planned", "running", "infra", "skipped"])
def test_a_cell_without_an_outcome_of_its_own_is_run(trials, status):
    """A killed worker, a machine that failed it, a rule that no longer excludes it."""
    plan = make_plan(trials, rows(runnable(trials), status=status), KINDS)
    assert plan.missing == runnable(trials)
    assert plan.cached == 0


def test_counts_add_up(trials):
    plan = make_plan(trials, rows(runnable(trials)[::3], status="ok"), KINDS)
    assert plan.cached + len(plan.missing) + sum(plan.skipped.values()) == len(trials)


def test_rows_of_other_cells_do_not_matter(trials):
    stranger = {"0" * 20: TrialRow("0" * 20, cell=trials[0].cell(), status="ok")}
    assert make_plan(trials, stranger, KINDS).missing == runnable(trials)


def test_a_folder_without_a_ledger_has_no_rows(tmp_path):
    assert known_rows(tmp_path) == {}
    assert known_rows(tmp_path / "none") == {}


def test_a_plan_reads_what_a_run_has_written(trials, tmp_path):
    done, begun, *_ = runnable(trials)
    with Store.create(tmp_path) as store:
        store.plan({trial.trial_id: trial.cell() for trial in runnable(trials)})
        store.start(done.trial_id)
        store.finish(done.trial_id, {"status": "ok", "seconds": 2.0})
        store.start(begun.trial_id)
    plan = make_plan(trials, known_rows(tmp_path), KINDS)
    assert plan.cached == 1
    assert done not in plan.missing
    assert begun in plan.missing


# ------------------------------------------------------------------ time and disk
def test_expected_time_is_the_median_of_cells_that_have_run(trials):
    arm = [trial for trial in runnable(trials) if trial.arm == "reptile"]
    known = {
        trial.trial_id: TrialRow(trial.trial_id, cell=trial.cell(), status="ok", seconds=seconds)
        for trial, seconds in zip(arm[:3], (1.0, 4.0, 100.0), strict=True)
    }
    plan = make_plan(trials, known, KINDS)
    lanes = {trial.arm: plan.seconds[trial.trial_id] for trial in plan.missing}
    assert lanes["reptile"] == 4.0
    assert plan.measured == sum(trial.arm == "reptile" for trial in plan.missing) / len(plan.missing)


def test_times_of_failures_say_nothing(trials):
    arm = [trial for trial in runnable(trials) if trial.arm == "reptile"]
    assert make_plan(trials, rows(arm[:1], status="failed", seconds=1e6), KINDS).measured == 0


def test_a_first_guess_grows_with_budget_tasks_and_steps_and_counts_both_axes_alike(trials):
    trial = next(trial for trial in runnable(trials) if trial.arm == "reptile")

    def guess(**changes):
        (seconds,) = make_plan([replace(trial, **changes)], {}, KINDS).seconds.values()
        return seconds

    protocol = trial.protocol
    assert guess(budget={**trial.budget, "amount": 10_000}) > guess() > 0
    assert guess(protocol={**protocol, "tasks": {"meta_val": 2, "meta_test": 500}}) > guess()
    assert guess(protocol={**protocol, "adaptation_steps": {"train": 2, "test": [0, 500]}}) > guess()
    per_step = 2 * protocol["task_batch"] * (protocol["adaptation_steps"]["train"] + 1)
    by_steps, by_evaluations = (
        guess(budget={**trial.budget, "axis": axis, "amount": amount})
        for axis, amount in (("outer_steps", 50), ("gradient_evaluations", 50 * per_step))
    )
    assert by_steps == pytest.approx(by_evaluations)


def test_the_size_on_disk_grows_with_the_cells(trials):
    whole, half = (make_plan(part, {}, KINDS).bytes for part in (runnable(trials), runnable(trials)[::2]))
    assert whole == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (1.4, "1 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (5399, "90 min"), (5400, "1.5 h"), (90_000, "25.0 h")],
)
def test_durations_are_spelled_for_people(seconds, text):
    assert spell_seconds(seconds) == text


class Terminal:
    """Something to print to that is no terminal."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return False


def test_progress_counts_down_and_learns_from_what_cells_have_taken(trials, monkeypatch):
    """Ten cells of expected 100 s on two slots; each takes 200 s, so expectations double as evidence grows."""
    cells, screen, now = runnable(trials)[:10], Terminal(), [0.0]
    monkeypatch.setattr("bench.driver.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    with Progress(10, {trial.trial_id: 100.0 for trial in cells}, 2, screen) as progress:
        assert progress.remaining() == "about 8 min left"
        for trial in cells[:5]:
            progress.started(trial)
            now[0] += 200
            progress.finished(trial, {"status": "ok", "seconds": 250.0})  # a shared warm start is charged, not waited for
        scale = (5 * 200 + 100) / (5 * 100 + 100)
        assert progress.remaining() == f"about {spell_seconds(500 * scale / 2)} left"
        for trial in cells[5:]:
            progress.finished(trial, {"status": "failed", "reason": "broken", "seconds": 1.0})
        assert progress.remaining() == "done"
    lines = screen.text.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("[1/10] ok gaussian-rings ")
    assert lines[-1].endswith("broken · done")


def test_a_row_without_a_time_does_not_disturb_progress(trials):
    screen = Terminal()
    with Progress(1, {}, 1, screen) as progress:
        progress.finished(trials[0], {"status": "infra", "reason": "the worker died"})
    assert "infra" in screen.text


# ------------------------------------------------------------------ --quick
def budget_of(suite, **budget):
    return quick(suite.model_copy(update={"budget": Budget(**budget)})).budget


def test_a_quick_run_has_a_folder_of_its_own(suite):
    assert prepare(TWIN, RunOptions(quick=True)).results == Path("results/twin-quick")
    assert prepare(TWIN, RunOptions()).results == Path("results/twin")
    assert quick(suite).replicates == 1


@pytest.mark.parametrize("axis", ["gradient_evaluations", "outer_steps"])
@pytest.mark.parametrize(("amount", "expected"), [(40_000, 2000), (400, 20), (100, 20), (7, 7), (2, 2)])
def test_a_quick_budget_is_a_twentieth_but_never_more_than_the_whole(suite, axis, amount, expected):
    assert budget_of(suite, **{axis: amount}).amount == expected


@pytest.mark.parametrize(("amount", "warm"), [(40_000, 39_999), (1200, 400), (20, 19), (19, 1), (2, 1)])
def test_a_quick_warm_start_leaves_something_to_train_with(suite, amount, warm):
    small = budget_of(suite, gradient_evaluations=amount, warm_start={"finetune": warm})
    assert 1 <= small.warm_start["finetune"] <= max(1, small.amount // 2) < max(2, small.amount)
    Budget.model_validate(small.model_dump())  # still a budget that a suite could have


def test_quick_overrides_are_small_too():
    suite = load_suite(ROOT / "suites" / "smoke.yaml", discover("builtin"))
    glyphs = quick(suite).for_distribution("glyphs")
    assert glyphs.budget.amount == 20
    assert glyphs.protocol.tasks.meta_test <= 6
    assert glyphs.networks[0].name == "dcgan"
    assert Suite.from_dict(quick(suite).to_dict()) == quick(suite)


# ------------------------------------------------------------------ what can be decided
def test_without_results_only_the_replicates_are_told(suite, trials, tmp_path):
    (sentence,) = decidable(suite, trials, tmp_path)
    assert "run one pass (or --quick) and plan again" in sentence
    assert "energy" in sentence


def measured(trials, folder, values):
    """Results with energies ``values`` {arm: (R, T)} at the primary step."""
    with Store.create(folder) as store:
        store.plan({trial.trial_id: trial.cell() for trial in trials})
        for trial in trials:
            energies = values[trial.arm][trial.replicate]
            table = {
                "split": ["meta-test"] * len(energies),
                "task_id": [f"ring-{task}" for task in range(len(energies))],
                "adaptation_step": [2] * len(energies),
                "outer_step": [1] * len(energies),
                "metric": ["energy"] * len(energies),
                "value": list(energies),
            }
            store.start(trial.trial_id)
            store.finish(trial.trial_id, {"status": "ok", "seconds": 1.0}, table)


def test_with_results_the_smallest_detectable_difference_is_told(suite, trials, tmp_path):
    """The one that the measured spread of the paired difference gives."""
    arms = [
        trial for trial in runnable(trials) if trial.arm in ("reptile", "finetune") and trial.gan_loss.name == "wasserstein"
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    values = {
        arm: 1 + rng.normal(size=(2, 1)) * 0.1 + rng.normal(size=(1, 6)) * 0.2 + rng.normal(size=(2, 6)) * 0.05
        for arm in ("reptile", "finetune")
    }
    measured(arms, tmp_path, values)
    (sentence,) = decidable(suite, trials, tmp_path)

    def frame(arm):
        return pd.DataFrame([(r, t, values[arm][r, t]) for r in range(2) for t in range(6)], columns=["replicate", "task_id", "value"])

    sd_replicate, sd_task = spread_of_difference(frame("reptile"), frame("finetune"))
    smallest = detectable_difference(sd_replicate=sd_replicate, sd_task=sd_task, n_replicates=2, n_tasks=6)
    assert sentence.startswith(
        f"gaussian-rings: 2 replicates detect a difference of {smallest:.3g} in energy at step 2 between reptile and finetune"
    )


def test_one_arm_alone_decides_nothing(suite, trials, tmp_path):
    arms = [trial for trial in runnable(trials) if trial.arm == "reptile" and trial.gan_loss.name == "wasserstein"]
    measured(arms, tmp_path, {"reptile": np.ones((2, 6))})
    (sentence,) = decidable(suite, trials, tmp_path)
    assert "too few measurements so far" in sentence


def test_a_ledger_without_measurements_decides_nothing(suite, trials, tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({trial.trial_id: trial.cell() for trial in runnable(trials)})
    (sentence,) = decidable(suite, trials, tmp_path)
    assert "too few measurements so far" in sentence
