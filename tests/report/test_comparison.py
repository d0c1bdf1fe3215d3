"""Planted differences in the comparison and the conditional section; what must be there, and what must not."""

import numpy as np
import pytest
import synthetic

from bench.report.answer import answers
from bench.report.comparison import comparison_blocks, comparison_table, versus_baseline
from bench.report.conditional import WARNING, conditional_blocks
from bench.report.estimates import Estimates
from bench.report.intervals import cliques
from bench.report.study import build_study
from bench.report.style import looks


def study(table, **changes):
    return build_study(table, synthetic.ledger(table), synthetic.suite(**changes), synthetic.OUTPUTS)


def frame(**settings):
    return synthetic.frame(**({"distributions": ("glyphs",), "metrics": ("energy",), "curves": False, "tasks": 6} | settings))


def blocks(make, subject):
    return make(Estimates(subject), looks(subject.live_arms))


def compared(table):
    subject = study(table)
    return comparison_table(subject, subject.slices[0], versus_baseline(Estimates(subject), subject.slices[0]))


def tables(found):
    return {block.key: block for block in found if hasattr(block, "columns")}


def keys(found):
    return {picture.key for block in found if hasattr(block, "pictures") for picture in block.pictures}


@pytest.fixture(scope="module")
def planted():
    return study(frame(gain=1.0, control_gain=0.4, noise=0.05))


@pytest.fixture(scope="module")
def comparison(planted):
    return blocks(comparison_blocks, planted)


@pytest.fixture(scope="module")
def conditional(planted):
    return blocks(conditional_blocks, planted)


def row(table, arm):
    return table.data.set_index("arm").loc[arm]


def test_scores_are_shares_of_the_way_from_a_constant_generator_to_the_ideal(comparison, planted):
    table = tables(comparison)["scores-glyphs"]
    energies = planted.test[(planted.test["adaptation_step"] == 10)].groupby("arm", observed=True)["value"].mean()
    for arm, energy in energies.items():
        found = row(table, arm)
        assert found["mean"] == pytest.approx(1 - energy / 10.5)
        assert found["mean_low"] < found["mean"] < found["mean_high"]
        assert found["iqm_low"] < found["iqm"] < found["iqm_high"]
        assert found["optimality_gap"] == pytest.approx(1 - found["mean"])  # no score exceeds 1 here


def test_every_arm_stands_against_the_declared_baseline_and_beside_its_own_control(comparison, planted):
    table = tables(comparison)["comparison-glyphs"]
    assert list(table.data["arm"]) == ["scratch", "reptile", "reptile + outer-clip", "maml"]
    reptile = row(table, "reptile")
    (answer,) = answers(Estimates(planted))[:1]
    assert (reptile["difference"], reptile["low"], reptile["high"]) == (answer.contrast.value, answer.contrast.low, answer.contrast.high)
    assert reptile["difference_to_control"] == answer.control.value
    assert reptile["low"] < -1.0 < reptile["high"]
    assert reptile["control_low"] < -0.6 < reptile["control_high"]
    assert reptile["p_improvement"] > 0.95
    assert reptile["standardised"] > 0  # positive where the arm is better
    assert row(table, "scratch")["standardised"] < 0
    assert "no control" in {cell.text for cells in table.rows for cell in cells}


def test_p_values_of_replicates_are_adjusted_for_the_planned_family(planted, comparison):
    from bench.stats import welch_test

    table, estimates, slice_ = tables(comparison)["comparison-glyphs"], Estimates(planted), planted.slices[0]
    plain = welch_test(*(estimates.losses(slice_, arm, "energy", 10) for arm in ("reptile", "finetune"))).p
    assert row(table, "reptile")["welch_p_holm"] >= plain
    assert row(table, "reptile")["permutation_p_holm"] >= 2 / 252  # the least that 5 and 5 replicates can give
    assert "Holm" in " ".join(table.notes)
    assert "for the 4 planned comparisons" in " ".join(table.notes)


def test_few_replicates_are_said_and_stars_never_printed():
    found = compared(frame(gain=1.0, replicates=3))
    assert any("3 replicates: no permutation of them gives p below 0.1" in note for note in found.notes)
    assert "*" not in "".join(cell.text for cells in found.rows for cell in cells)


def test_what_treats_tasks_as_repetitions_stands_apart_and_says_so(comparison, conditional):
    assert conditional[0].text == WARNING
    assert "conditional" in tables(conditional)["conditional-glyphs"].caption
    shown = " ".join(table.caption + " ".join(table.notes) + " ".join(table.columns) for table in tables(comparison).values())
    assert "signed-rank" not in shown.lower()
    assert "friedman" not in shown.lower()


def test_ranks_order_the_arms_by_their_planted_level(conditional):
    ranks = tables(conditional)["conditional-glyphs"].data.set_index("arm")["mean_rank"]
    assert ranks["scratch"] == 5  # worst on every task
    assert ranks[["reptile", "reptile + outer-clip"]].max() < ranks["finetune"]
    assert "reptile (shuffled tasks)" not in ranks  # a control is no competitor
    assert keys(conditional) == {"ranks-glyphs"}


def test_the_figures_of_a_slice_are_there(comparison):
    assert keys(comparison) == {"intervals-glyphs", "profile-glyphs", "paired-glyphs", "tasks-glyphs"}


def test_a_metric_without_an_ideal_is_compared_without_scores():
    outputs = {"energy": {**synthetic.OUTPUTS["energy"], "ideal": None}}
    table = frame()
    found = blocks(comparison_blocks, build_study(table, synthetic.ledger(table), synthetic.suite(), outputs))
    assert any("No scores here" in getattr(block, "text", "") for block in found)
    assert set(tables(found)) == {"comparison-glyphs"}
    assert keys(found) == {"paired-glyphs"}


def test_one_replicate_is_compared_without_intervals():
    found = compared(frame(replicates=1))
    assert found.data["low"].isna().all()
    assert found.data["welch_p_holm"].isna().all()
    assert np.isfinite(found.data["difference"]).all()


def test_an_arm_without_results_leaves_the_family():
    lost = {("maml", replicate): "planned" for replicate in range(5)}
    assert "maml" not in set(compared(frame(status=lost)).data["arm"])


def test_before_there_are_measurements_nothing_is_compared():
    arms = [*synthetic.LEARNERS, "reptile + outer-clip"]
    subject = study(frame(status={(arm, replicate): "planned" for arm in arms for replicate in range(5)}))
    assert blocks(comparison_blocks, subject) == blocks(conditional_blocks, subject) == ()


def test_cliques_are_the_longest_runs_within_the_critical_difference():
    assert cliques([1.0, 1.5, 2.5, 3.0, 5.0], 1.2) == [(0, 1), (1, 2), (2, 3)]
    assert cliques([1.0, 1.1, 1.2], 1.0) == [(0, 2)]
    assert cliques([1.0, 3.0], 1.0) == []
    assert cliques([1.0, 3.0], float("nan")) == []
