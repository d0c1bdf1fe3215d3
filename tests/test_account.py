"""Every second of every slot is accounted for once, by a clock that the test turns."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.frame import ledger_frame
from bench.schedule.account import Account
from bench.store import Store, append_run, read_ledger, read_runs
from bench.store.runs import PARTS, RUNS


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_parts_of_a_slot_are_what_the_clock_says():
    clock = Clock()
    account = Account(clock)
    for part, at in (("starting", 0.0), ("handover", 2.0), ("working", 2.5), ("handover", 12.5), ("idle", 13.0)):
        clock.now = at
        account.enter(0, part)
    account.worked(9.0, 10.0)  # of ten seconds since it was sent, one was spent on the way
    clock.now = 15.0
    account.leave()
    assert account.seconds == {"starting": 2.0, "handover": 2.0, "working": 9.0, "idle": 2.0}
    record = account.record()
    assert (record["slots"], record["trials"], record["dispatch_median_ms"]) == (1, 1, 1000.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(PARTS), st.floats(0, 100)), max_size=30))
@settings(deadline=None, max_examples=50)
def test_the_parts_add_up_to_the_time_of_the_slots(changes):
    clock = Clock()
    account = Account(clock)
    entered = {}
    for slot, part, later in changes:
        clock.now += later
        entered.setdefault(slot, clock.now)
        account.enter(slot, part)
    clock.now += 1.0
    account.leave()
    assert sum(account.seconds.values()) == pytest.approx(sum(clock.now - since for since in entered.values()))
    assert account.slots == len(entered)


def test_records_come_back_as_numbers_and_damage_costs_its_own_line(tmp_path):
    append_run(tmp_path, {"started": "2026-01-01T00:00:00Z", "slots": 2, "working_seconds": 1.5})
    with (tmp_path / RUNS).open("ab") as file:
        file.write(b'{"slots": 3, "seconds": NaN}\n[1]\n{"slots": "many"}\n' + b"[" * 100_000 + b'\n{"slots": -1}\n{"slots": tr')
    assert read_runs(tmp_path) == [{"slots": 2, "working_seconds": 1.5}, {"slots": 3}]
    assert read_runs(tmp_path / "nowhere") == []


def test_a_record_is_one_line_of_json(tmp_path):
    append_run(tmp_path, Account(Clock()).record())
    append_run(tmp_path, Account(Clock()).record())
    first, second = (tmp_path / RUNS).read_text().splitlines()
    assert json.loads(first) == json.loads(second)


def test_a_trial_that_shared_its_card_is_marked_in_ledger_and_frame(tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({"a" * 8: {"arm": "x"}, "b" * 8: {"arm": "x"}})
        for trial_id, row in (("a" * 8, {"packed": True}), ("b" * 8, {})):
            store.start(trial_id)
            store.finish(trial_id, {"status": "ok", "seconds": 1.0, **row})
    assert [row.packed for row in read_ledger(tmp_path).rows.values()] == [True, False]
    assert ledger_frame(tmp_path)["packed"].tolist() == [True, False]
