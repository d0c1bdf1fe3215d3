"""Fronts, currencies and what the axis of cost may be."""

import numpy as np
import pytest
import synthetic

from bench.cli import main
from bench.errors import ExitCode, UsageError
from bench.report.costs import COSTS, CURRENCIES, costs_for, unequal_spending
from bench.report.curves import training_curve
from bench.report.estimates import Estimates
from bench.report.scatter import fidelity_diversity, paired_tasks, pareto_front, quality_cost
from bench.report.study import build_study
from bench.report.style import looks


def build(table, **changes):
    ledger = synthetic.ledger(table).assign(outer_steps=400.0)
    return build_study(table, ledger, synthetic.suite(**changes), synthetic.OUTPUTS)


def frame(**settings):
    return synthetic.frame(**({"distributions": ("glyphs",), "metrics": ("energy",), "curves": False, "tasks": 4} | settings))


@pytest.mark.parametrize(
    ("costs", "losses", "front"),
    [
        ([3, 1, 2], [1, 3, 2], [1, 2, 0]),
        ([1, 2, 3], [1, 2, 0.5], [0, 2]),  # the second is beaten in both
        ([1, 1, 2], [2, 1, 1], [1]),  # equal cost: the better; equal loss: the cheaper
        ([5], [1], [0]),
    ],
)
def test_the_front_joins_what_nothing_beats_in_both(costs, losses, front):
    assert pareto_front(costs, losses) == front


def test_no_point_of_a_front_is_beaten_and_every_other_one_is():
    rng = np.random.default_rng(0)
    costs, losses = rng.integers(0, 8, 30), rng.integers(0, 8, 30)
    front = pareto_front(costs.tolist(), losses)
    for i in range(30):
        no_worse = (costs <= costs[i]) & (losses <= losses[i]) & ((costs < costs[i]) | (losses < losses[i]))
        twins = [j for j in front if (costs[j], losses[j]) == (costs[i], losses[i])]
        assert bool(no_worse.any()) != bool(twins)


def test_every_currency_is_drawn_unless_one_is_asked_for():
    assert [cost.column for cost in costs_for(None)] == [COSTS[word].column for word in CURRENCIES]
    assert [cost.label for cost in costs_for("flops")] == ["FLOPs"]
    with pytest.raises(UsageError, match="'flop'.*Did you mean 'flops'"):
        costs_for("flop")


def test_the_command_line_takes_every_currency_and_no_other_word(capsys):
    assert main(["report", "nowhere", "--x", "money"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert all(word in told for word in COSTS)
    for word in COSTS:
        main(["report", "nowhere", "--x", word])
        assert "no suite.json" in capsys.readouterr().err  # the word was taken: it is the folder that is missing


def test_seconds_are_those_of_training_and_caps_of_quality_count():
    table = frame(status={("maml", 1): "diverged"})
    subject = build(table)
    assert COSTS["seconds"].of(subject, subject.slices[0], "maml") == pytest.approx(np.mean([20, 21, 22, 23, 24]) - 3)
    picture = quality_cost(Estimates(subject), subject.slices[0], looks(subject.live_arms), costs_for(None))
    assert all(COSTS[word].label in picture.alt for word in CURRENCIES)


def test_nothing_recorded_draws_nothing():
    table = frame()
    table["flops"] = np.nan
    subject = build(table)
    assert quality_cost(Estimates(subject), subject.slices[0], looks(subject.live_arms), costs_for("flops")) is None


def test_training_curves_stand_on_what_was_spent_by_then():
    """41 200 evaluations, a third of them warm start: outer step 0 lies at a third, the last one at the whole."""
    from bench.report.curves import _spent

    subject = build(frame(curves=True), budget={"gradient_evaluations": 12000, "warm_start": {"finetune": 4000}})
    spent = _spent(subject, subject.slices[0], "reptile", COSTS["gradients"], [0, 200, 400])
    assert spent == pytest.approx([41200 / 3, 41200 * 2 / 3, 41200])
    picture = training_curve(subject, subject.slices[0], "meta_loss", looks(subject.live_arms), COSTS["gradients"])
    assert "against the gradient evaluations" in picture.alt


def test_arms_that_spent_unequally_are_named():
    table = frame()
    assert unequal_spending(build(table)) == []
    table.loc[table["arm"] == "maml", "gradient_evaluations"] *= 1.5
    (flag,) = unequal_spending(build(table))
    assert "maml 61.8 k" in flag
    table.loc[table["arm"] == "maml", "gradient_evaluations"] = 0.0  # it does not meta-train, which the suite's own flags tell
    assert unequal_spending(build(table)) == []


def test_the_paired_plot_counts_the_tasks_that_the_first_arm_wins():
    table = frame(gain=1.0, noise=0.01)
    subject = build(table)
    (pair,) = subject.compared(subject.slices[0])[:1]
    assert "reptile better on 4 of 4 tasks" in paired_tasks(Estimates(subject), subject.slices[0], pair, looks(subject.live_arms)).alt


def test_fidelity_and_diversity_need_both_to_be_measured():
    subject = build(frame())
    assert fidelity_diversity(Estimates(subject), subject.slices[0], looks(subject.live_arms)) is None
    subject = build(frame(metrics=("energy", "vendi", "high-quality"), distributions=("gaussian-rings",)))
    picture = fidelity_diversity(Estimates(subject), subject.slices[0], looks(subject.live_arms))
    assert "Vendi ratio against high-quality fraction at adaptation step 10" in picture.alt
