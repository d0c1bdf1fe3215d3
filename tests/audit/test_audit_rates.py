"""The audit finds what is wrong: rules and intervals with planted faults fail it, sound ones with known shares pass."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.audit.checks import share_check
from bench.audit.designs import Design, frame_of
from bench.audit.rates import called_different, coverage, coverage_checks, error_checks, error_rates, power, power_checks
from bench.audit.rules import RULES, TWO_WAY, Interval, Rule, stratified
from bench.stats import two_way_difference

SMALL = Design(5, 6)


def means_differ_by(limit):
    """A rule that is right if ``limit`` is 1.96 true standard errors."""
    return lambda a, b, rng: abs(a["value"].mean() - b["value"].mean()) > limit


def interval_of_half_width(half):
    return Interval("two-way t", "mean", "new tasks", lambda frame, rng: (frame["value"].mean() - half, frame["value"].mean() + half))


def test_effects_have_the_stated_sizes():
    design = Design(4, 50, sd_replicate=0.7, sd_task=2.0, sd_arm_task=0.5, sd_residual=1.5)
    rng = np.random.default_rng(0)
    differences = np.array([np.subtract(*design.draw(rng, arms=2)[0]) for _ in range(800)])
    sd_replicate, sd_task = design.spread_of_difference()
    assert differences.mean(axis=2).var(axis=1, ddof=1).mean() == pytest.approx(sd_replicate**2, rel=0.06)
    assert differences.mean(axis=1).var(axis=1, ddof=1).mean() == pytest.approx(sd_task**2, rel=0.05)
    # Residuals are part of both spreads, so the sum of both parts exceeds the true variance by one part of them.
    excess = 2 * design.sd_residual**2 / (4 * 50)
    assert differences.mean(axis=(1, 2)).var() + excess == pytest.approx(sd_replicate**2 / 4 + sd_task**2 / 50, rel=0.15)


def test_on_its_own_tasks_an_arm_without_other_effects_has_its_true_mean():
    design = Design(2, 9, sd_replicate=0.0, sd_residual=0.0)
    values_ART, means_A = design.draw(np.random.default_rng(0), arms=3)
    np.testing.assert_allclose(values_ART.mean(axis=(1, 2)), means_A)


@pytest.mark.parametrize(("rule", "share"), [(lambda a, b, rng: True, 1.0), (lambda a, b, rng: False, 0.0)])
def test_calls_are_counted(rule, share):
    found = called_different(lambda rng: SMALL.draw(rng, arms=2)[0], [Rule("r", "new tasks", rule, every=2)], draws=9, seed=0, what=("x",))
    assert (found["called"][0], found["draws"][0]) == (share, 5)


def test_a_rule_of_known_error_errs_as_often():
    design = replace(SMALL, sd_replicate=0.0, sd_arm_task=0.0)
    error = design.sd_residual * np.sqrt(2 / (5 * 6))
    rule = Rule(TWO_WAY.name, "new tasks", means_differ_by(stats.norm.ppf(0.975) * error))
    found = called_different(lambda rng: design.draw(rng, arms=2)[0], [rule], draws=600, seed=0, what=("x",))
    assert found["called"][0] == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 600))


def test_a_rule_that_always_says_different_fails_every_check_of_it():
    guilty = Rule(TWO_WAY.name, "new tasks", lambda a, b, rng: True)
    checks = error_checks(error_rates([SMALL], [guilty], draws=20, seed=0))
    assert len(checks) == 3  # one for each null hypothesis
    assert not any(check.passed for check in checks)


def test_a_rule_that_ignores_replicates_fails_the_audit():
    # Wilcoxon over tasks under the name of the default rule: replicates differ, models of an arm are few.
    wilcoxon = next(rule for rule in RULES if rule.name.startswith("Wilcoxon"))
    guilty = replace(wilcoxon, name=TWO_WAY.name, claim="new tasks", every=1)
    design = Design(3, 40, sd_replicate=1.0)
    checks = {check.key: check for check in error_checks(error_rates([design], [guilty], draws=40, seed=0))}
    assert not checks["errors-two-way-interval-new-tasks-3"].passed
    assert checks["errors-two-way-interval-these-models-3"].passed  # what it does claim


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (0.5, False)])
def test_an_interval_that_is_too_narrow_fails_coverage(factor, passes):
    task_variance = SMALL.sd_task**2 + SMALL.sd_arm_task**2
    error = np.sqrt(SMALL.sd_replicate**2 / 5 + task_variance / 6 + SMALL.sd_residual**2 / 30)
    interval = interval_of_half_width(factor * stats.norm.ppf(0.975) * error)
    (check,) = coverage_checks(coverage([SMALL], [interval], draws=300, seed=0))
    assert check.value == pytest.approx(2 * stats.norm.cdf(factor * stats.norm.ppf(0.975)) - 1, abs=0.06)
    assert check.passed is passes


def test_width_and_both_targets_are_reported():
    table = coverage([SMALL], [interval_of_half_width(100.0)], draws=5, seed=0)
    assert list(table["target"]) == ["new tasks", "these tasks"]
    assert set(table["covered"]) == {1.0}
    assert list(table["width"]) == pytest.approx([200.0, 200.0])


def test_a_blind_rule_has_no_power_and_fails():
    blind = Rule(TWO_WAY.name, "new tasks", lambda a, b, rng: False)
    (check,) = power_checks(power([SMALL], blind, draws=20, seed=0))
    assert check.value == 0.0
    assert not check.passed


def test_power_is_that_of_the_planted_effect():
    known = Design(50, 50, sd_replicate=0.0, sd_arm_task=0.0)  # the two-way interval takes residuals twice, the known error too
    rule = Rule(TWO_WAY.name, "new tasks", means_differ_by(stats.norm.ppf(0.975) * known.error_of_difference()))
    found = power([known], rule, draws=100, seed=0).iloc[0]
    z = stats.norm.ppf([0.975, 0.8]).sum()
    assert found["effect"] == pytest.approx(z * known.error_of_difference(), rel=0.03)
    assert found["found"] > 0.8


def test_the_default_rule_keeps_its_word_in_a_small_design():
    checks = error_checks(error_rates([Design(5, 20)], [TWO_WAY], draws=100, seed=0))
    assert all(check.passed for check in checks)


def test_equal_seeds_give_equal_numbers_whatever_else_is_run():
    alone = called_different(lambda rng: SMALL.draw(rng, arms=2)[0], RULES[:1], draws=6, seed=3, what=("x",))
    among = called_different(lambda rng: SMALL.draw(rng, arms=2)[0], RULES, draws=6, seed=3, what=("x",))
    assert alone.iloc[0].to_dict() == among.iloc[0].to_dict()


def test_rules_see_the_difference_that_the_public_function_sees():
    rng = np.random.default_rng(0)
    a, b = frame_of(rng.normal(size=(4, 9)) + 3), frame_of(rng.normal(size=(4, 9)))
    assert two_way_difference(a, b).low > 0
    assert all(rule.different(a, b, rng) for rule in RULES)
    assert not any(rule.different(a, a.assign(value=a["value"] + 1e-12 * rng.normal(size=len(a))), rng) for rule in RULES[:1])


def test_the_stratified_bootstrap_forgets_what_replicates_share():
    rng = np.random.default_rng(0)
    residual, shared = rng.normal(size=(5, 40)), 10 * rng.normal(size=(5, 1))
    widths = [np.ptp(stratified(frame_of(values), np.random.default_rng(1), trimmed=False)) for values in (residual, residual + shared)]
    # 200 replicates of their own for each task: the standard error of 200 values of one spread, not that of 5 replicates.
    expected = 2 * stats.norm.ppf(0.975) * np.sqrt((residual + shared).var(axis=0).mean() / 200)
    assert widths[1] == pytest.approx(expected, rel=0.15)
    equal = frame_of(np.full((3, 8), 2.5))
    assert stratified(equal, rng, trimmed=True) == (2.5, 2.5)


def test_a_check_allows_two_standard_errors_and_not_more():
    inside, outside = (share_check("k", "c", share, "at most", 0.05, draws=1900) for share in (0.0599, 0.0601))
    assert inside.allowance == pytest.approx(2 * 0.005)
    assert inside.passed
    assert not outside.passed
    assert not share_check("k", "c", float("nan"), "at most", 0.05, draws=10).passed
    assert not share_check("k", "c", float("nan"), "at least", 0.05, draws=10).passed
