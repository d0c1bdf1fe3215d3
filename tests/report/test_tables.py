from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic

from bench.errors import MetricError
from bench.report.convergence import convergence_table
from bench.report.estimates import Estimates
from bench.report.study import STATUSES, build_study
from bench.report.tables import aggregate_table, cost_table, memorisation_table, status_table, trouble_table, variety_table


def build(table, **changes):
    return build_study(table, synthetic.ledger(table), synthetic.suite(**changes), synthetic.OUTPUTS)


def frame(**settings):
    return synthetic.frame(**({"distributions": ("glyphs",), "metrics": ("energy",), "curves": False} | settings))


def row_of(table, arm):
    return table.data.set_index("arm").loc[arm]


def shown(table, arm, column):
    (row,) = (r for r in table.rows if r[0].text == arm)
    return row[table.columns.index(column)]


def test_a_lost_trial_counts_with_the_ceiling_and_in_n_planned():
    table = frame(status={("maml", 2): "diverged"})
    values = table.loc[(table["arm"] == "maml") & (table["adaptation_step"] == 10) & (table["metric"] == "energy"), "value"]
    subject = build(table)
    aggregate = aggregate_table(Estimates(subject), subject.slices[0])
    row = row_of(aggregate, "maml")
    assert row["energy"] == pytest.approx((4 * values.mean() + 10.5) / 5)
    assert (row["n_ok"], row["n_planned"], row["energy_n_imputed"]) == (4, 5, 1)
    assert shown(aggregate, "maml", "n_ok/n_planned").text == "4/5"
    assert "‡" in shown(aggregate, "maml", "energy distance ↓").text
    assert any("constant generator" in note for note in aggregate.notes)


def test_skipped_cells_are_not_planned_and_unfinished_ones_are():
    table = frame(status={("maml", 2): "skipped", ("scratch", 0): "running"})
    subject = build(table)
    aggregate = aggregate_table(Estimates(subject), subject.slices[0])
    assert shown(aggregate, "maml", "n_ok/n_planned").text == "4/4"
    assert shown(aggregate, "scratch", "n_ok/n_planned").text == "4/5"
    assert row_of(aggregate, "scratch")["energy_n_imputed"] == 0
    assert subject.partial == 1


def test_an_arm_that_sees_what_it_is_judged_by_is_never_the_best():
    """The second is compared with the third instead, and a note says what the mark means."""
    table = frame(gain=2.0, noise=0.01)
    table = table[table["regularisers"] == ""]
    bound = table[table["arm"] == "reptile"].assign(arm="bound (privileged)", meta_learner="bound", value=lambda rows: rows["value"] - 3)
    bound["trial_id"] = bound["trial_id"].astype(str) + "-bound"
    subject = build(pd.concat([table, bound]), meta_learners=[*synthetic.LEARNERS, "bound"])
    aggregate = aggregate_table(Estimates(subject), subject.slices[0])
    assert row_of(aggregate, "bound (privileged)")["energy"] < row_of(aggregate, "reptile")["energy"]
    assert [row[0].text for row in aggregate.rows if any(cell.best for cell in row)] == ["reptile"]
    assert any(note.startswith("(privileged): adapts to the very samples") for note in aggregate.notes)


def test_the_best_is_marked_only_where_its_difference_to_the_second_excludes_zero():
    clear = build(frame(gain=2.0, control_gain=0.0, noise=0.01))
    # The plain and the clipped Reptile are the same learner here, so neither is the best.
    aggregate = aggregate_table(Estimates(clear), clear.slices[0])
    assert not any(cell.best for row in aggregate.rows for cell in row)

    table = frame(gain=2.0, noise=0.01)
    alone = build(table[table["regularisers"] == ""])
    aggregate = aggregate_table(Estimates(alone), alone.slices[0])
    assert [row[0].text for row in aggregate.rows if any(cell.best for cell in row)] == ["reptile"]


def test_the_area_of_a_constant_curve_is_the_constant():
    table = frame(gain=0.0, noise=0.0)
    table.loc[table["arm"] == "finetune", "value"] = 3.25
    subject = build(table)
    row = row_of(aggregate_table(Estimates(subject), subject.slices[0]), "finetune")
    assert row["area_energy"] == pytest.approx(3.25)


def test_steps_to_target_of_planted_curves():
    table = frame(noise=0.0)
    steps = table["adaptation_step"].astype("float").to_numpy()
    for arm, values in (("finetune", 10 - steps / 5), ("reptile", np.where(steps >= 2, 1.0, 9.0)), ("maml", 9.0)):
        mine = (table["arm"] == arm).to_numpy()
        table.loc[mine, "value"] = values[mine] if np.ndim(values) else values
    subject = build(table)
    convergence = convergence_table(Estimates(subject), subject.slices[0])
    assert row_of(convergence, "reptile")["mean_steps"] == 2
    assert row_of(convergence, "finetune")["mean_steps"] == 25
    assert row_of(convergence, "reptile")["share_reached"] == 1.0
    assert row_of(convergence, "maml")["share_reached"] == 0.0


def test_the_divergence_rate_has_its_wilson_interval():
    subject = build(frame(status={("maml", r): "diverged" for r in range(5)}))
    row = row_of(convergence_table(Estimates(subject), subject.slices[0]), "maml")
    assert (row["n_diverged"], row["n_ended"]) == (5, 5)
    assert row["diverged_low"] == pytest.approx(5 / (5 + 1.959964**2), rel=1e-5)
    assert row["diverged_high"] == 1.0


def test_every_status_is_a_column_and_every_cell_is_counted():
    states = {("maml", i): s for i, s in enumerate(("diverged", "failed", "oom", "timeout", "infra"))}
    table = frame(status=states | {("scratch", 0): "planned", ("scratch", 1): "running", ("scratch", 2): "skipped"})
    subject = build(table)
    statuses = status_table(subject)
    assert statuses.columns == ("arm", *STATUSES)
    assert statuses.data[list(STATUSES)].to_numpy().sum() == table["trial_id"].nunique()
    assert len(trouble_table(subject).rows) == 8


def test_a_column_never_mixes_two_fingerprints():
    table = frame()
    table.loc[table["arm"] == "maml", "fingerprint"] = "other-weights"
    with pytest.raises(MetricError, match=r"'energy-glyphs'.*'other-weights'"):
        build(table)


def test_different_task_distributions_may_have_different_fingerprints():
    subject = build(frame(distributions=("gaussian-rings", "glyphs")))
    assert len(subject.slices) == 2


def test_pooled_values_have_an_interval_over_replicates_alone():
    table = frame(metrics=("fid",))
    pooled = table[table["task_id"].astype(str).str.endswith("/0")].copy()
    pooled["task_id"], pooled["metric"], pooled["fingerprint"] = "pooled", "fid-pooled", "fid-pooled-glyphs"
    subject = build(pd.concat([table, pooled]))
    row = row_of(aggregate_table(Estimates(subject), subject.slices[0]), "reptile")
    assert row["fid-pooled_low"] < row["fid-pooled"] < row["fid-pooled_high"]


def test_memorisation_has_its_own_table_only_where_it_was_measured():
    without, with_ = build(frame()), build(frame(metrics=("energy", "memorisation")))
    assert memorisation_table(Estimates(without), without.slices[0]) is None
    table = memorisation_table(Estimates(with_), with_.slices[0])
    assert table.columns == ("arm", "support-query gap, step 10", "support-query gap, step 25")


def test_costs_are_means_over_cells_that_ended():
    subject = build(frame(status={("maml", 4): "planned"}))
    row = row_of(cost_table(subject, subject.slices[0]), "maml")
    assert (row["n_cells"], row["seconds"]) == (4, pytest.approx(21.5))  # 20, 21, 22, 23


def test_categorical_frames_give_the_same_tables():
    table = frame(status={("maml", 2): "failed"})
    coded = table.copy()
    for column in ("trial_id", "suite", "arm", "meta_learner", "control", "regularisers", "status", "reason", "metric", "task_id"):
        coded[column] = coded[column].astype("category")
    plain, coded_study = build(table), build(coded)
    first, second = (aggregate_table(Estimates(s), s.slices[0]) for s in (plain, coded_study))
    assert first.rows == second.rows


def test_an_interval_of_a_share_ends_where_shares_do():
    table = synthetic.frame(replicates=2, tasks=3, distributions=("glyphs",), metrics=("energy", "recall"), curves=False)
    study = build(table)
    bounded = replace(study, outputs={**study.outputs, "recall": replace(study.outputs["recall"], range=(0.0, 1.0))})
    (slice_,) = study.slices
    free, within = (Estimates(one).at(slice_, "maml", "recall", 25) for one in (study, bounded))
    assert free.high > 1  # two replicates
    assert (within.value, within.high) == (free.value, 1.0)
    assert within.low == max(free.low, 0.0)


def test_results_and_variety_share_the_metrics_out_and_count_the_cells_first():
    subject = build(frame(metrics=("energy", "recall", "vendi", "fid"), status={("maml", 2): "failed"}, replicates=3, tasks=3))
    quality, variety = (make(Estimates(subject), subject.slices[0]) for make in (aggregate_table, variety_table))
    assert quality.columns[:4] == ("arm", "n_ok/n_planned", "energy distance ↓", "FID (biased, n < d) ↓")
    assert variety.columns == ("arm", "n_ok/n_planned", "recall ↑", "Vendi ratio → 1")
    assert shown(quality, "maml", "n_ok/n_planned") == shown(variety, "maml", "n_ok/n_planned")
    of_recall = variety.data[variety.data["metric"] == "recall"].set_index("arm")["estimate"]
    assert of_recall.to_dict() == quality.data.set_index("arm")["recall"].to_dict()  # the results' CSV has them all


def test_a_primary_metric_of_variety_stands_among_the_results():
    table = frame(metrics=("recall",), replicates=2, tasks=3)
    subject = build(table, primary={"metric": "recall", "adaptation_step": 10, "compare": ["reptile", "finetune"]})
    assert "recall ↑" in aggregate_table(Estimates(subject), subject.slices[0]).columns
    assert variety_table(Estimates(subject), subject.slices[0]) is None
