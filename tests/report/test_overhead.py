"""The report states what the harness took, as the runs recorded it, and clocks that tell nothing are left out."""

import numpy as np
import pytest
import synthetic

from bench.report.costs import COSTS
from bench.report.overhead import LISTED, overhead_blocks
from bench.report.sections import build_sections
from bench.report.study import build_study

RUN = {
    "slots": 2, "trials": 10, "seconds": 50.0, "connecting_seconds": 5.0, "working_seconds": 80.0, "starting_seconds": 10.0,
    "handover_seconds": 0.8, "idle_seconds": 9.2, "dispatch_median_ms": 3.0, "dispatch_95_ms": 12.5,
}  # fmt: skip


def study(packed=None):
    table = synthetic.frame(replicates=2, tasks=3, metrics=("energy",), distributions=("glyphs",), curves=False)
    ledger = synthetic.ledger(table)
    if packed is not None:
        ledger["packed"] = [packed(replicate) for replicate in ledger["replicate"]]
    return build_study(table, ledger, synthetic.suite(), synthetic.OUTPUTS)


def said(runs, **options):
    return overhead_blocks(study(**options), runs)


def test_shares_are_of_the_slots_time():
    measuring, harness, table = said([RUN])
    assert measuring.text.endswith("15 % of them measuring.")  # 3 of 20 or 21 seconds each
    assert harness.text == (
        "The harness took 1.0 % of the time in trials to hand over trials and take their results, 80 ms a trial. "
        "Of the time of all slots, 10.0 % went into starting workers; in 9.2 % there was nothing to run."
    )
    row = table.data.iloc[0]
    assert sum(row[name] for name in row.index if name.startswith("share_")) == pytest.approx(1.0)
    assert [cell.text for cell in table.rows[0]][-2:] == ["3", "12.5"]


def test_runs_add_up_and_the_latest_are_listed():
    _, harness, table = said([RUN] * (LISTED + 2))
    assert "80 ms a trial" in harness.text
    assert (len(table.rows), len(table.data)) == (LISTED, LISTED + 2)
    assert table.rows[-1][0].text == str(LISTED + 2)


@pytest.mark.parametrize("runs", [[], [{}], [{"slots": 2}], [{"working_seconds": 0.0}]])
def test_a_folder_without_a_record_reports_without_it(runs):
    (measuring,) = said(runs)
    assert "measuring" in measuring.text


def test_a_run_that_recorded_little_is_no_error():
    *_, table = said([{"working_seconds": 1.0}])
    assert [cell.text for cell in table.rows[0]][-2:] == ["", ""]


def test_seconds_of_cells_that_shared_a_card_are_left_out_of_every_mean():
    one = study(packed=lambda replicate: replicate == 1)
    seconds = one.cells.set_index("replicate")["seconds"]
    assert np.isnan(seconds.loc[1]).all()
    assert (seconds.loc[0] == 20.0).all()
    assert COSTS["seconds"].of(one, one.slices[0], "reptile") == 17.0  # of replicate 0 alone, without the 3 s of measuring
    assert COSTS["gradients"].of(one, one.slices[0], "reptile") == 41_200.0


def test_the_costs_say_how_many_cells_shared_a_card(tmp_path):
    def costs(one):
        section = next(section for section in build_sections([tmp_path], one, {}) if section.key == "costs")
        return " ".join(getattr(block, "text", "") for block in section.blocks)

    assert "5 cells shared a card" in costs(study(packed=lambda replicate: replicate == 1))
    assert "shared a card" not in costs(study(packed=lambda replicate: False))
