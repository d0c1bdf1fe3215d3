"""Health of games in a report: apart from the metrics, over adaptation and outer steps, every planned replicate counted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic

from bench.report.curves import adaptation_curve
from bench.report.estimates import Estimates
from bench.report.health import health_blocks, health_table
from bench.report.study import build_study
from bench.report.style import looks
from bench.report.tables import aggregate_table

HEALTH = {
    "saturation": {"better": "lower", "ideal": 0.0, "label": "saturated samples", "about": "game"},
    "gradient-norm-generator": {"better": "lower", "ideal": None, "label": "generator: gradient norm", "about": "game"},
}


def built(*, spoilt=(), **settings):
    """A study whose saturation is replicate / 10 at every step and task, on meta-val too; no gradient before step 1."""
    plain = synthetic.frame(**({"distributions": ("glyphs",), "metrics": ("energy",), "curves": False} | settings))
    measured = plain[plain["metric"] == "energy"]
    said = [measured.assign(metric="saturation", value=measured["replicate"] / 10)]
    said += [measured[measured["adaptation_step"] > 0].assign(metric="gradient-norm-generator", value=3.0)]
    at_validation = measured[measured["adaptation_step"] == 10].assign(
        metric="saturation", split="meta-val", value=measured["replicate"] / 10
    )
    said += [at_validation.assign(outer_step=pd.array([step] * len(at_validation), dtype="Int64")) for step in (0, 200, 400)]
    health = pd.concat(said).assign(ceiling=np.nan, fingerprint="", n_real=pd.NA, n_fake=pd.NA)
    health.loc[health["trial_id"].isin(spoilt), "value"] = np.nan
    table = pd.concat([plain, health.astype(plain.dtypes.to_dict())], ignore_index=True)
    return build_study(table, synthetic.ledger(table), synthetic.suite(), synthetic.OUTPUTS | HEALTH), table


def of_health(study):
    return Estimates(replace(study, test=study.health))


def test_no_metric_changes_by_what_is_measured_of_games():
    study, table = built(status={("maml", 2): "diverged"})
    without = build_study(table[~table["metric"].isin(HEALTH)], synthetic.ledger(table), synthetic.suite(), synthetic.OUTPUTS)
    one, other = (aggregate_table(Estimates(one), one.slices[0]) for one in (study, without))
    assert one.columns == other.columns
    assert one.rows == other.rows
    assert not set(study.test["metric"]) & set(HEALTH)


def test_the_table_has_means_with_intervals_at_the_primary_step():
    study, _ = built()
    table = health_table(of_health(study), study.slices[0])
    assert table.columns == ("arm", "saturated samples, step 10", "generator: gradient norm, step 10", "replicates measured / planned")
    found = table.data[table.data["metric"] == "saturation"].set_index("arm").loc["reptile"]
    assert found["estimate"] == pytest.approx(0.2)  # of replicates 0 to 4
    assert found["low"] < 0.2 < found["high"]
    assert table.rows[0][-1].text == "5 / 5"


def test_a_replicate_without_numbers_is_left_out_whole_and_the_count_says_so():
    study, _ = built(status={("maml", 4): "diverged"}, spoilt=("glyphs-non-saturating-reptile-4",))
    table = health_table(of_health(study), study.slices[0])
    found = table.data[table.data["metric"] == "saturation"].set_index("arm")
    for arm in ("maml", "reptile"):
        assert found.loc[arm, "estimate"] == pytest.approx(0.15)  # of replicates 0 to 3
        (row,) = (row for row in table.rows if row[0].text == arm)
        assert row[-1].text == "4 / 5"


def test_there_are_curves_over_adaptation_steps_and_over_outer_steps():
    study, _ = built()
    blocks = health_blocks(study, looks(study.live_arms))
    keys = [picture.key for block in blocks for picture in getattr(block, "pictures", ())]
    assert keys == ["adaptation-saturation-glyphs", "training-saturation-glyphs"]  # the gradient norm is 3 everywhere
    alts = [picture.alt for block in blocks for picture in getattr(block, "pictures", ())]
    assert "lower is better" in alts[0]
    assert "meta-val" in alts[1]
    norm = adaptation_curve(of_health(study), study.slices[0], "gradient-norm-generator", looks(study.live_arms))
    assert "no value is best" in norm.alt


def test_a_run_without_such_measures_has_no_section():
    table = synthetic.frame(distributions=("glyphs",), metrics=("energy",), curves=False)
    study = build_study(table, synthetic.ledger(table), synthetic.suite(), synthetic.OUTPUTS)
    assert health_blocks(study, looks(study.live_arms)) == ()
