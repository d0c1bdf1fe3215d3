import numpy as np
import pytest
import synthetic

from bench.errors import UsageError
from bench.report.regression import BETTER, SAME, UNDECIDED, WORSE, compare, comparison_tables
from bench.report.study import build_study


def study(table, **changes):
    return build_study(table, synthetic.ledger(table), synthetic.suite(**changes), synthetic.OUTPUTS)


def frame(**settings):
    return synthetic.frame(**({"distributions": ("glyphs",), "metrics": ("energy", "recall"), "curves": False} | settings))


def shifted(table, arm, by, metric="energy"):
    """The same cells with an arm's values moved."""
    moved = table.copy()
    moved.loc[(moved["arm"] == arm) & (moved["metric"] == metric), "value"] += by
    return moved


def verdicts(found, metric="energy"):
    return {change.arm: change.verdict for change in found.changes if change.metric == metric}


def test_the_same_folder_has_the_same_numbers():
    found = compare(study(frame()), study(frame()))
    assert set(verdicts(found).values()) == {SAME}
    assert found.regressions == ()
    assert {change.difference for change in found.changes} == {0.0}


def test_a_planted_change_is_found_with_its_size_and_direction():
    before = frame()
    found = compare(study(before), study(shifted(shifted(before, "maml", 0.5), "reptile", -0.25)))
    assert verdicts(found)["maml"] == WORSE
    assert verdicts(found)["reptile"] == BETTER
    assert verdicts(found)["finetune"] == SAME
    (regression,) = found.regressions
    assert regression.arm == "maml"
    assert regression.difference == pytest.approx(0.5)
    assert (regression.low, regression.high) == pytest.approx((0.5, 0.5))  # paired: every replicate and task moved alike


def test_a_metric_of_which_more_is_better_turns_the_verdict():
    before = frame()
    found = compare(study(before), study(shifted(before, "maml", -0.2, metric="recall")), every_metric=True)
    assert verdicts(found, "recall")["maml"] == WORSE
    assert found.regressions == ()  # the primary metric alone decides
    assert {change.metric for change in compare(study(before), study(before)).changes} == {"energy"}


def test_other_random_numbers_are_undecided():
    found = compare(study(frame(seed=0)), study(frame(seed=1)))
    assert UNDECIDED in verdicts(found).values()


def test_lost_cells_are_a_regression_although_their_numbers_are_capped():
    before, after = frame(), frame(status={("maml", 0): "failed"})
    (regression,) = compare(study(before), study(after)).regressions
    assert (regression.arm, regression.n_ok, regression.lost) == ("maml", (5, 4), True)
    assert compare(study(after), study(before)).regressions == ()


def test_arms_of_one_folder_alone_are_named():
    before = frame(control_gain=0.5)
    found = compare(study(before), study(frame()))
    assert found.only_before == ("glyphs: reptile (shuffled tasks)",)
    assert found.only_after == ()


def test_folders_that_do_not_compare_are_refused_with_the_setting():
    protocol = synthetic.suite()["protocol"]
    with pytest.raises(UsageError, match=r"differ in protocol\.tasks\.meta_test: 12 and 24"):
        compare(study(frame()), study(frame(), protocol=protocol | {"tasks": protocol["tasks"] | {"meta_test": 24}}))
    with pytest.raises(UsageError, match="differ in seed: 0 and 1"):
        compare(study(frame()), study(frame(), seed=1))
    other = frame().assign(fingerprint="another extractor")
    with pytest.raises(UsageError, match="'energy' on 'glyphs' is defined differently"):
        compare(study(frame()), study(other))
    with pytest.raises(UsageError, match="no measurements"):
        compare(study(frame()), study(frame(status={(arm, r): "failed" for arm in set(frame()["arm"]) for r in range(5)})))


def test_the_table_has_a_row_an_arm_and_its_numbers():
    before = study(frame())
    (table,) = comparison_tables(compare(before, study(shifted(frame(), "maml", 0.5))), before)
    row = table.data.set_index("arm").loc["maml"]
    assert row["after"] - row["before"] == pytest.approx(0.5)
    assert np.isclose(row["difference"], 0.5)
    assert len(table.rows) == 5
    assert "lower is better" in table.caption


def test_frames_with_other_categories_compare():
    """Texts come from a results folder as categories, which differ where one folder has a metric more."""

    def categories(table):
        return table.astype({"metric": "category", "fingerprint": "category", "task_distribution": "category"})

    before, more = frame(), frame(metrics=("energy", "recall", "kid"))
    assert compare(study(categories(before)), study(categories(more))).changes
    other = categories(before.assign(fingerprint="another extractor"))
    with pytest.raises(UsageError, match="is defined differently"):
        compare(study(categories(before)), study(other))
