"""Caps and summaries: every planned trial counts, whatever became of it."""

import numpy as np
import pandas as pd
import pytest

from bench.contracts import Output
from bench.errors import MetricError
from bench.stats import iqm, summarise, two_way_interval, with_caps

OUTPUTS = {"recall": Output("higher", 1.0, "recall"), "vendi": Output("closer", 1.0, "Vendi"), "energy": Output("lower", 0.0, "energy")}
CEILING = {"t0": 5.0, "t1": 6.0}


def row(arm, replicate, *, status="ok", **measurement):
    blank = {
        "trial_id": f"{arm}-{replicate}",
        "suite": "s",
        "arm": arm,
        "game": "gan",
        "task_distribution": "ring",
        "replicate": replicate,
        "status": status,
        "split": None,
        "task_id": None,
        "outer_step": pd.NA,
        "adaptation_step": pd.NA,
        "metric": None,
        "value": np.nan,
        "ceiling": np.nan,
        "n_real": pd.NA,
        "n_fake": pd.NA,
        "fingerprint": None,
        "seconds": 1.5,
    }
    return {**blank, **measurement}


def measured(arm, replicate, *, metric="energy", values=((9.0, 9.0), (1.0, 2.0)), ceiling=CEILING, status="ok"):
    """Rows at adaptation steps 0, 5 for tasks t0, t1."""
    return [
        row(
            arm,
            replicate,
            status=status,
            split="meta-test",
            task_id=f"t{task}",
            outer_step=100,
            adaptation_step=step,
            metric=metric,
            value=value,
            ceiling=ceiling[f"t{task}"],
            n_real=16,
            n_fake=64,
            fingerprint="f",
        )
        for step, at_step in zip((0, 5), values, strict=True)
        for task, value in enumerate(at_step)
    ]


def frame(*parts):
    rows = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    return pd.DataFrame(rows).astype({"outer_step": "Int64", "adaptation_step": "Int64", "n_real": "Int64", "n_fake": "Int64"})


def at(table, arm, replicate, step=5, metric="energy"):
    rows = table[
        (table["arm"] == arm) & (table["replicate"] == replicate) & (table["adaptation_step"] == step) & (table["metric"] == metric)
    ]
    return dict(zip(rows["task_id"], rows["value"], strict=True))


@pytest.mark.parametrize("status", ["failed", "diverged", "oom", "timeout"])
def test_a_trial_without_measurements_counts_as_a_constant_generator(status):
    table = with_caps(frame(measured("a", 0), row("a", 1, status=status)))
    assert at(table, "a", 1) == at(table, "a", 1, step=0) == CEILING
    added = table[table["imputed"]]
    assert len(added) == 4
    assert set(added["status"]) == {status}
    assert set(added["seconds"]) == {1.5}
    assert set(added["fingerprint"]) == {"f"}
    assert table["metric"].notna().all()  # the empty row is gone


@pytest.mark.parametrize("status", ["planned", "running", "infra", "skipped"])
def test_a_trial_that_says_nothing_about_its_learner_stays_missing(status):
    table = with_caps(frame(measured("a", 0), row("a", 1, status=status)))
    assert not table["imputed"].any()
    assert at(table, "a", 1) == {}
    assert len(table) == 5


def test_undefined_and_infinite_values_are_capped_where_they_stand():
    table = with_caps(frame(measured("a", 0), measured("a", 1, values=((9.0, 9.0), (np.nan, np.inf)))))
    assert at(table, "a", 1) == CEILING
    assert table["imputed"].sum() == 2


def test_a_trial_that_diverged_midway_keeps_what_it_measured():
    whole = measured("a", 1, status="diverged")
    table = with_caps(frame(measured("a", 0), whole[:3]))
    assert at(table, "a", 1) == {"t0": 1.0, "t1": 6.0}
    assert table["imputed"].sum() == 1


def test_without_a_ceiling_the_worst_start_of_any_trial_is_the_cap():
    unknown = {"t0": np.nan, "t1": np.nan}
    table = with_caps(
        frame(
            measured("a", 0, values=((7.0, 8.0), (1.0, 2.0)), ceiling=unknown),
            measured("b", 0, values=((9.0, 3.0), (1.0, 2.0)), ceiling=unknown),
            row("b", 1, status="failed"),
        )
    )
    assert at(table, "b", 1) == {"t0": 9.0, "t1": 8.0}


def test_the_cap_of_a_metric_that_is_better_higher_is_never_a_reward():
    full = {"t0": 1.0, "t1": 0.0}  # a constant generator may cover everything
    table = with_caps(
        frame(measured("a", 0, metric="recall", values=((0.3, 0.4), (0.9, 0.9)), ceiling=full), row("a", 1, status="failed")),
        outputs=OUTPUTS,
    )
    assert at(table, "a", 1, metric="recall") == {"t0": 0.3, "t1": 0.0}


def test_the_worst_start_of_a_ratio_is_the_one_furthest_from_its_ideal():
    unknown = {"t0": np.nan, "t1": np.nan}
    table = with_caps(
        frame(
            measured("a", 0, metric="vendi", values=((0.2, 1.1), (1.0, 1.0)), ceiling=unknown),
            measured("a", 1, metric="vendi", values=((1.5, 0.7), (1.0, 1.0)), ceiling=unknown),
            row("a", 2, status="failed"),
        ),
        outputs=OUTPUTS,
    )
    assert at(table, "a", 2, metric="vendi") == {"t0": 0.2, "t1": 0.7}


def test_caps_do_not_cross_task_distributions():
    other = [{**one, "task_distribution": "grid", "trial_id": "g-0"} for one in measured("a", 0, ceiling={"t0": 50.0, "t1": 60.0})]
    failed = {**row("a", 1, status="failed"), "task_distribution": "grid", "trial_id": "g-1"}
    table = with_caps(frame(measured("a", 0), other, failed))
    assert at(table[table["task_distribution"] == "grid"], "a", 1) == {"t0": 50.0, "t1": 60.0}
    alone = with_caps(frame(measured("a", 0), failed))
    assert not alone["imputed"].any()  # no trial of that distribution says which values are owed


def test_other_splits_are_as_before():
    curve = row("a", 0, split="meta-train", task_id="", outer_step=3, metric="meta_loss", value=np.nan)
    table = with_caps(frame(measured("a", 0), curve, row("a", 1, status="failed")))
    kept = table[table["split"] == "meta-train"]
    assert len(kept) == 1
    assert kept["value"].isna().all()
    assert not kept["imputed"].any()


def test_capping_leaves_its_input_alone_and_a_frame_without_measurements_as_it_is():
    table = frame(measured("a", 0), row("a", 1, status="failed"))
    before = table.copy()
    with_caps(table)
    pd.testing.assert_frame_equal(table, before)
    nothing = with_caps(frame(row("a", 0, status="failed"), row("a", 1, status="failed")))
    assert len(nothing) == 2
    with pytest.raises(MetricError, match="needs the columns ceiling"):
        with_caps(table.drop(columns="ceiling"))


def test_a_summary_has_one_row_a_group_with_its_interval_and_counts():
    table = frame(
        measured("a", 0),
        measured("a", 1, values=((9.0, 9.0), (3.0, 5.0))),
        measured("b", 0),
        row("b", 1, status="failed"),
        row("b", 2, status="skipped"),
    )
    summary = summarise(table, by=["arm"], metric="energy", adaptation_step=5).set_index("arm")
    a, b = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 2.0], [5.0, 6.0]])
    for arm, values in (("a", a), ("b", b)):
        assert summary.loc[arm, "estimate"] == values.mean()
        assert summary.loc[arm, "iqm"] == iqm(values)
        tidy = pd.DataFrame({"replicate": [0, 0, 1, 1], "task_id": ["t0", "t1"] * 2, "value": values.ravel()})
        assert summary.loc[arm, "low"] == pytest.approx(two_way_interval(tidy).low)
    assert summary.loc["a", ["n_tasks", "n_replicates", "n_ok", "n_planned", "n_imputed"]].tolist() == [2, 2, 2, 2, 0]
    assert summary.loc["b", ["n_tasks", "n_replicates", "n_ok", "n_planned", "n_imputed"]].tolist() == [2, 2, 1, 2, 1]


def test_the_default_step_is_the_last_one():
    table = frame(measured("a", 0), measured("a", 1))
    pd.testing.assert_frame_equal(
        summarise(table, by=["arm"], metric="energy"), summarise(table, by=["arm"], metric="energy", adaptation_step=5)
    )
    assert summarise(table, by=["arm"], metric="energy", adaptation_step=0)["estimate"].tolist() == [9.0]


def test_a_curve_over_adaptation_steps_counts_every_planned_trial_at_each():
    table = frame(measured("a", 0), measured("a", 1), row("a", 2, status="infra"))
    curve = summarise(table, by=["arm", "adaptation_step"], metric="energy")
    assert curve["adaptation_step"].tolist() == [0, 5]
    assert curve["estimate"].tolist() == [9.0, 1.5]
    assert curve[["n_ok", "n_planned"]].to_numpy().tolist() == [[2, 3], [2, 3]]
    by_step = summarise(table, by=["adaptation_step"], metric="energy")
    assert by_step["n_planned"].tolist() == [3, 3]


def test_a_group_without_measurements_has_a_row_that_says_so():
    table = frame(measured("a", 0), row("b", 0, status="planned"), row("b", 1, status="infra"))
    summary = summarise(table, by=["arm", "task_distribution"], metric="energy").set_index("arm")
    assert np.isnan(summary.loc["b", "estimate"])
    assert summary.loc["b", ["n_ok", "n_planned", "reason"]].tolist() == [0, 2, "no measurement"]
    assert "1 replicate" in summary.loc["a", "reason"]


def test_a_pooled_metric_has_an_interval_over_replicates():
    rows = [
        row("a", replicate, split="meta-test", task_id="pooled", adaptation_step=5, metric="fid-pooled", value=value)
        for replicate, value in enumerate((1.0, 2.0, 6.0))
    ]
    summary = summarise(frame(rows), by=["arm"], metric="fid-pooled").iloc[0]
    assert summary["estimate"] == 3
    assert summary["df"] == pytest.approx(2)
    assert summary["low"] < 3 < summary["high"]


def test_an_unknown_metric_is_refused_with_the_measured_ones():
    with pytest.raises(MetricError, match=r"'energie'. Did you mean 'energy'\? Measured: energy"):
        summarise(frame(measured("a", 0)), by=["arm"], metric="energie")
    with pytest.raises(MetricError, match="needs the columns armm"):
        summarise(frame(measured("a", 0)), by=["armm"], metric="energy")
