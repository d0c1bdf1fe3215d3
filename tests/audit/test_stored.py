"""Relabelled stored cells: no difference is left, everything else stays as it was measured."""

import numpy as np
import pandas as pd
import pytest

from bench.audit.designs import Design, frame_of
from bench.audit.rules import OVER_REPLICATES, RULES, TWO_WAY, Rule
from bench.audit.stored import StoredArms, halves_rates, permuted_checks, permuted_rates, relabelled, stored_arms
from bench.report.study import build_study

RNG = np.random.default_rng(0)


def slice_of(values_ART, *, suite="s", label="glyphs"):
    return StoredArms(suite, label, "energy", tuple(f"arm {i}" for i in range(len(values_ART))), np.asarray(values_ART), {})


def with_arm_means(values_ART):
    return values_ART + np.array([0.0, 50.0, -200.0])[:, None, None]


@pytest.fixture(scope="module")
def values():
    return with_arm_means(Design(4, 12).draw(np.random.default_rng(1), arms=3)[0])


def test_differences_of_arms_are_gone_and_deviations_stay_whole(values):
    deviations = np.sqrt(4 / 3) * (values - values.mean(axis=1, keepdims=True)).reshape(-1, values.shape[2])
    a, b = relabelled(values, RNG, arm_by_task=False)
    rows = np.concatenate([a, b]) - (values.mean(axis=1) - values.mean(axis=(1, 2))[:, None]).mean(axis=0)
    nearest = np.abs(rows[:, None] - deviations[None]).max(axis=2)
    assert (nearest.min(axis=1) < 1e-12).all()
    assert len(set(nearest.argmin(axis=1))) == len(rows)  # none twice


def test_replicates_keep_their_variance():
    values = Design(3, 8, sd_task=0.0, sd_arm_task=0.0).draw(np.random.default_rng(0), arms=40)[0]
    found = np.mean([a.var(axis=0).mean() for a, _ in (relabelled(values, RNG, arm_by_task=False) for _ in range(300))]) * 3 / 2
    assert found == pytest.approx(values.var(axis=1, ddof=1).mean(), rel=0.05)


def test_each_task_keeps_the_arms_own_effects(values):
    profiles = values.mean(axis=1) - values.mean(axis=(1, 2))[:, None]
    still = np.repeat(values.mean(axis=1, keepdims=True), 4, axis=1)  # replicates that do not differ
    a, b = relabelled(still, RNG, arm_by_task=True)
    for row, other in ((a[0], b[0]), (b[0], a[0])):
        assert all(np.isclose(row[t], profiles[:, t]).any() for t in range(12))
        assert not np.isclose(row, other).any()  # no two pseudo-arms get one arm's mean


def test_the_mean_difference_is_zero_over_relabellings(values):
    differences = np.array([np.subtract(*relabelled(values, RNG, arm_by_task=True)).mean() for _ in range(400)])
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(400)


def test_arms_that_differ_are_not_called_different_after_relabelling(values):
    a, b = frame_of(values[1]), frame_of(values[2])
    assert TWO_WAY.different(a, b, RNG)
    table = permuted_rates([slice_of(values)], [TWO_WAY], draws=100, seed=0)
    (check,) = permuted_checks(table)
    assert check.passed
    assert check.draws == 100


def test_a_rule_that_always_says_different_fails(values):
    guilty = Rule(TWO_WAY.name, "new tasks", lambda a, b, rng: True)
    (check,) = permuted_checks(permuted_rates([slice_of(values)], [guilty], draws=20, seed=0))
    assert check.value == 1.0
    assert not check.passed


def test_wilcoxon_over_tasks_is_fooled_by_what_replicates_share():
    values = Design(3, 60, sd_replicate=2.0).draw(np.random.default_rng(0), arms=6)[0]
    table = permuted_rates([slice_of(values)], RULES, draws=80, seed=0).set_index(["null", "rule"])["called"]
    assert table["new tasks", "Wilcoxon over tasks"] > 0.5
    assert table["new tasks", TWO_WAY.name] < 0.15


def test_slices_of_a_folder_share_its_draws(values):
    two = [slice_of(values, label="one"), slice_of(values, label="two"), slice_of(values, suite="other")]
    table = permuted_rates(two, [TWO_WAY], draws=7, seed=0)
    drawn = table[table["null"] == "new tasks"].set_index(["suite", "slice"])["draws"]
    assert dict(drawn) == {("s", "one"): 4, ("s", "two"): 4, ("other", "glyphs"): 7}


def test_halves_are_every_split_and_need_four_replicates(values):
    table = halves_rates([slice_of(values), slice_of(values[:, :3], suite="few")], [TWO_WAY, *OVER_REPLICATES], seed=0)
    assert set(table["suite"]) == {"s"}
    assert set(table["splits"]) == {6}
    always = Rule("always", "new tasks", lambda a, b, rng: set(a["replicate"]).isdisjoint(b["replicate"]))
    assert halves_rates([slice_of(values)], [always], seed=0)["called"][0] == 1.0


def test_without_usable_slices_there_is_nothing_to_check():
    one_arm = slice_of(np.zeros((1, 5, 9)))
    assert not one_arm.usable
    assert permuted_checks(permuted_rates([one_arm], RULES, draws=10, seed=0)) == []


# ------------------------------------------------------------------ from a results folder
def results_frame(values_ART, statuses=None):
    """A frame of one slice as ``bench.load_results`` gives it, two steps of which the first is none of ours."""
    rows = []
    for arm, values_RT in values_ART.items():
        for replicate, values_T in enumerate(values_RT):
            cell = {
                "trial_id": f"{arm}-{replicate}", "suite": "s", "arm": arm, "game": "gan", "task_distribution": "glyphs", "network": "mlp",
                "gan_loss": "hinge", "meta_learner": arm, "regularisers": "", "augmentations": "", "control": "", "replicate": replicate,
                "status": (statuses or {}).get((arm, replicate), "ok"), "reason": "", "shots": 0, "split": "meta-test", "metric": "energy",
                "outer_step": 1, "ceiling": 9.0, "n_real": 4, "n_fake": 4, "fingerprint": "f",
            }  # fmt: skip
            for step, shift in ((0, 100.0), (5, 0.0)):
                rows += [cell | {"adaptation_step": step, "task_id": f"t{t}", "value": v + shift} for t, v in enumerate(values_T)]
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in ("outer_step", "adaptation_step", "n_real", "n_fake")})


def slices_of(frame):
    suite = {
        "name": "s", "primary": {"metric": "energy", "adaptation_step": 5, "compare": ["a", "b"]}, "metrics": ["energy"],
        "meta_learners": ["a", "b", "still"], "task_distributions": ["glyphs"],
    }  # fmt: skip
    study = build_study(frame, frame.drop_duplicates("trial_id")[["trial_id"]], suite, {})
    return stored_arms(study, "s")


def test_arms_are_read_at_the_primary_step_and_deterministic_ones_left_out():
    a, b = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    (found,) = slices_of(results_frame({"a": a, "b": b, "still": np.repeat(RNG.normal(size=(1, 4)), 3, axis=0)}))
    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.values_ART, [a, b])
    assert found.left_out == {"still": "its replicates are equal"}
    assert (found.suite, found.label, found.metric) == ("s", "glyphs", "energy")


def test_an_arm_with_fewer_replicates_is_left_out_and_said():
    (found,) = slices_of(results_frame({"a": RNG.normal(size=(3, 4)), "b": RNG.normal(size=(3, 4)), "still": RNG.normal(size=(2, 4))}))
    assert found.names == ("a", "b")
    assert "fewer replicates" in found.left_out["still"]
