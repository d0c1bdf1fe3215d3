"""Planted curves and cells that were lost: nothing is dropped, and what was lost never reaches, always relapses, has collapsed."""

import numpy as np
import pytest
import synthetic

from bench.report.convergence import collapse_blocks, convergence_blocks, convergence_table
from bench.report.estimates import Estimates
from bench.report.study import build_study
from bench.report.style import looks

TASKS = 4


def frame(**settings):
    return synthetic.frame(
        **({"distributions": ("glyphs",), "metrics": ("energy",), "curves": False, "tasks": TASKS, "noise": 0.0} | settings)
    )


def plant(table, arm, metric, values_by_step):
    """Give every run of an arm the same curve."""
    mine = ((table["arm"] == arm) & (table["metric"] == metric)).to_numpy()
    steps = table.loc[mine, "adaptation_step"].astype(int)
    table.loc[mine, "value"] = [dict(zip(synthetic.STEPS, values_by_step, strict=True))[step] for step in steps]


def build(table):
    return build_study(table, synthetic.ledger(table), synthetic.suite(), synthetic.OUTPUTS)


def convergence(table):
    subject = build(table)
    return convergence_table(Estimates(subject), subject.slices[0])


def row(table, arm):
    return table.data.set_index("arm").loc[arm]


def planted(**settings):
    table = frame(**settings)
    plant(table, "finetune", "energy", [9, 8, 7, 6, 4, 2])
    plant(table, "reptile", "energy", [9, 5, 1, 1, 1, 1])
    return table


LOST = {("reptile", 1): "diverged", ("reptile", 3): "timeout"}


def test_lost_cells_are_censored_at_the_full_budget_and_never_dropped():
    found = row(convergence(planted(status=LOST)), "reptile")
    assert found["n_runs"] == 5 * TASKS
    assert found["share_reached"] == pytest.approx(3 / 5)
    assert found["mean_steps"] == pytest.approx((3 * 2 + 2 * 25) / 5)  # the whole budget, not where it diverged
    assert found["expected_running_time"] == pytest.approx((3 * 2 + 2 * 25) / 3)
    assert (found["n_diverged"], found["n_timeout"], found["n_ended"]) == (1, 1, 5)


def test_a_lost_cell_never_reaches_a_target_that_a_constant_generator_would():
    """The baseline ends worse than the ceiling that caps lost cells: the cap alone would count as reached from the start."""
    table = planted(status=LOST)
    plant(table, "finetune", "energy", [20, 20, 20, 20, 20, 20])
    assert row(convergence(table), "reptile")["share_reached"] == pytest.approx(3 / 5)


def test_lost_cells_count_where_no_cap_is_known():
    table = planted(status=LOST)
    table["ceiling"] = np.nan
    table = table[~((table["adaptation_step"] == 0).fillna(False))]  # nor a start to cap with
    found = row(convergence(table), "reptile")
    assert found["n_runs"] == 5 * TASKS
    assert found["share_reached"] == pytest.approx(3 / 5)


def test_unfinished_cells_are_not_counted_as_lost():
    found = row(convergence(planted(status={("reptile", 1): "planned"})), "reptile")
    assert (found["n_runs"], found["share_reached"]) == (4 * TASKS, 1.0)


def test_a_curve_that_gives_back_a_tenth_of_the_scale_relapses():
    table = planted(status=LOST)
    plant(table, "maml", "energy", [9, 3, 2, 2, 3.0, 3.0])  # rises by 1.0 of 10.5
    plant(table, "scratch", "energy", [9, 3, 2, 2, 3.2, 2.0])  # rises by 1.2 and comes back
    found = convergence(table)
    assert row(found, "maml")["share_relapsed"] == 0
    assert row(found, "scratch")["share_relapsed"] == 1
    assert row(found, "reptile")["share_relapsed"] == pytest.approx(2 / 5)  # those that were lost
    assert row(found, "scratch")["median_drawdown"] == pytest.approx(1.2)


def test_the_gain_over_the_baseline_is_the_difference_of_restricted_means():
    found = row(convergence(planted()), "reptile")
    assert found["mean_steps_to_baseline"] == pytest.approx(2 - 25)


def test_every_class_of_loss_has_its_wilson_interval():
    reasons = {("reptile", 1): "diverged: nan_param at outer step 17", ("reptile", 3): "timed out"}
    table = convergence(planted(status=LOST, reasons=reasons))
    assert [column for column in table.columns if column in ("diverged: nan param", "timeout")] == ["diverged: nan param", "timeout"]
    found = row(table, "reptile")
    assert found["n_diverged_nan_param"] == 1
    assert 0 < found["timeout_low"] < 1 / 5 < found["timeout_high"] < 1
    assert row(table, "finetune")["n_timeout"] == 0


def collapse(table):
    subject = build(table)
    return collapse_blocks(Estimates(subject), subject.slices[0], looks(subject.live_arms))


def test_collapse_has_an_onset_and_lost_runs_have_collapsed():
    table = frame(metrics=("energy", "vendi"), status=LOST)
    plant(table, "finetune", "vendi", [0.9, 0.8, 0.4, 0.3, 0.3, 0.2])
    plant(table, "reptile", "vendi", [0.2, 0.6, 0.9, 0.9, 0.9, 0.9])
    gallery, onset = collapse(table)
    assert (row(onset, "finetune")["share_collapsed"], row(onset, "finetune")["median_onset"]) == (1.0, 2)
    reptile = row(onset, "reptile")
    assert (reptile["n_runs"], reptile["share_collapsed"], reptile["median_onset"]) == (5 * TASKS, pytest.approx(2 / 5), 0)
    assert gallery.pictures[0].key == "not-collapsed-glyphs"
    assert "finetune 0 %" in gallery.pictures[0].alt
    assert "reptile 60 %" in gallery.pictures[0].alt


def test_without_a_measure_of_variety_nothing_is_said_of_collapse():
    assert collapse(frame()) == ()


def test_the_curve_of_the_target_ends_at_the_share_of_the_table():
    subject = build(planted(status=LOST))
    pictures = [p for block in convergence_blocks(Estimates(subject), looks(subject.live_arms)) for p in getattr(block, "pictures", ())]
    assert [picture.key for picture in pictures] == ["reached-glyphs"]
    assert "reptile 60 %" in pictures[0].alt
