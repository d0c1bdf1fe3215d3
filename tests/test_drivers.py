"""Several drivers in one results folder: no trial has two living runners, no outcome is lost, and the dead hold nothing up."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.driver.claims import Claims
from bench.errors import StoreError
from bench.store import SEGMENTS, Store, read_ledger, read_segment
from bench.store.drivers import DRIVERS
from bench.store.folder import MERGE_AT
from bench.store.ledger_file import LOCK

A, B, C = "a" * 16, "b" * 16, "c" * 16
CELL = {"arm": "reptile", "replicate": 0}


def measured(value):
    return {"split": ["meta-test"], "metric": ["energy"], "value": [value]}


def finish(store, trial_id, value=1.0):
    store.finish(trial_id, {"status": "ok"}, measured(value))


@pytest.fixture
def pair(tmp_path):
    """Two drivers of one folder, both with the same plan."""
    with Store.create(tmp_path) as one, Store.create(tmp_path, join=True) as other:
        for store in (one, other):
            store.plan(dict.fromkeys((A, B, C), CELL))
        yield one, other


def dead_driver(folder, trial_id, *more):
    """A process that claims a trial, does what the lines of ``more`` say, and is killed."""
    lines = [
        "import sys, time",
        "from bench.store import Store",
        "store = Store.create(sys.argv[1], join=True)",
        f"assert store.claim({trial_id!r}, attempts=0)",
        *more,
        "print('claimed', flush=True)",
        "time.sleep(60)",
    ]
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent("\n".join(lines)), folder], stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "claimed\n"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()


def test_what_one_driver_runs_or_has_ended_no_other_takes(pair):
    one, other = pair
    assert one.claim(A, attempts=0)
    assert not other.claim(A, attempts=0)
    assert other.runs_elsewhere(A)
    assert not one.runs_elsewhere(A)
    finish(one, A)
    assert not other.claim(A, attempts=0)
    one.flush()
    assert not other.claim(A, attempts=0)
    assert not other.runs_elsewhere(A)
    assert other.ledger.rows[A].status == "ok"
    assert other.claim(A, attempts=1)  # it was found wanting with one attempt: a retry


def test_a_driver_that_leaves_gives_up_what_it_runs(pair):
    one, other = pair
    assert one.claim(A, attempts=0)
    one.close()
    assert other.claim(A, attempts=0)
    assert read_ledger(other.folder).rows[A].attempts == 2


def test_a_driver_that_was_killed_holds_nothing_up(tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({A: CELL})
        dead_driver(tmp_path, A)
        assert store.claim(A, attempts=0)
        finish(store, A)
    assert [(row.status, row.attempts) for row in read_ledger(tmp_path).rows.values()] == [("ok", 2)]
    assert list((tmp_path / DRIVERS).iterdir()) == []


def test_a_line_that_a_killed_driver_left_half_written_is_cut_off_by_the_next_to_write(tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({A: CELL, B: CELL})
        dead_driver(tmp_path, B, "open(sys.argv[1] + '/ledger.jsonl', 'a').write('{\"event\":\"fini')")
        assert store.claim(A, attempts=0)
        finish(store, A)
    ledger = read_ledger(tmp_path)
    assert ledger.damage == []
    assert [row.status for row in ledger.rows.values()] == ["ok", "running"]


def test_the_second_driver_is_refused_unless_it_joins_and_only_the_last_to_leave_is_last(tmp_path):
    one = Store.create(tmp_path)
    with pytest.raises(StoreError, match=rf"another bench process \(pid {os.getpid()}\).*--join.*--output"):
        Store.create(tmp_path)
    other = Store.create(tmp_path, join=True)
    assert len(list((tmp_path / DRIVERS).iterdir())) == 2
    one.close()
    other.close()
    assert (one.last, other.last) == (False, True)


def test_segments_are_merged_by_the_last_driver_only(tmp_path):
    ids = [f"{number:016x}" for number in range(MERGE_AT)]
    with Store.create(tmp_path) as one:
        one.plan(dict.fromkeys([*ids, A], CELL))
        with Store.create(tmp_path, join=True) as other:
            for number, trial_id in enumerate(ids):
                finish(one, trial_id, float(number))
                one.flush()
            finish(other, A, -1.0)
            other.flush()
            assert len(list((tmp_path / SEGMENTS).iterdir())) == MERGE_AT + 1
        one.plan({})
    rows = read_ledger(tmp_path).rows
    assert len({rows[trial_id].segment for trial_id in ids}) == 1
    values = read_segment(tmp_path / SEGMENTS / rows[ids[0]].segment).to_pydict()
    assert dict(zip(values["trial_id"], values["value"], strict=True)) == {trial_id: float(n) for n, trial_id in enumerate(ids)}
    assert read_segment(tmp_path / SEGMENTS / rows[A].segment)["value"].to_pylist() == [-1.0]


def test_unfinished_files_of_a_living_driver_are_left_alone(tmp_path):
    with Store.create(tmp_path):
        half = tmp_path / SEGMENTS / "000001.tmp"
        half.write_bytes(b"half")
        Store.create(tmp_path, join=True).close()
        assert half.exists()
    Store.create(tmp_path).close()
    assert not half.exists()


def test_nobody_enters_while_one_driver_wants_to_be_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.store.ledger_file.PATIENCE_SECONDS", 0.05)
    with Store.create(tmp_path) as store, store.alone() as alone:
        assert alone
        with pytest.raises(StoreError, match="another bench process"):
            Store.create(tmp_path, join=True)
    with Store.create(tmp_path) as store, Store.create(tmp_path, join=True), store.alone() as alone:
        assert not alone


def test_a_ledger_that_became_shorter_is_not_appended_to(tmp_path):
    store = Store.create(tmp_path)
    store.plan({A: CELL})
    (tmp_path / "ledger.jsonl").write_bytes(b"")
    with pytest.raises(StoreError, match="has become shorter"):
        store.claim(A, attempts=0)
    with pytest.raises(StoreError, match="has become shorter"):
        store.close()
    assert store.last is False
    Store.create(tmp_path).close()


def test_a_link_in_place_of_ledger_or_lock_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("no newline at its end")
    for name in ("ledger.jsonl", LOCK):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).symlink_to(precious)
        with pytest.raises(StoreError, match=f"{name}: is a link"):
            Store.create(folder)
    assert precious.read_text() == "no newline at its end"


# ------------------------------------------------------------------ any order of events
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["claim", "finish", "flush", "leave"]), st.sampled_from([A, B, C])), max_size=25
)


@settings(deadline=None, max_examples=40)
@given(steps=STEPS)
def test_in_any_order_of_events_every_trial_has_at_most_one_runner_and_one_outcome(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drivers")
    stores, runs, ended = [Store.create(folder), Store.create(folder, join=True)], [set(), set()], {}
    stores[0].plan(dict.fromkeys((A, B, C), CELL))
    for who, what, trial_id in steps:
        store = stores[who]
        if what == "claim":
            taken = store.claim(trial_id, attempts=0)
            # One may take what nobody runs and nobody has ended, or what it runs itself: nothing else.
            assert taken == (trial_id not in runs[1 - who] and trial_id not in ended)
            runs[who] |= {trial_id} if taken else set()
        elif what == "finish" and trial_id in runs[who]:
            finish(store, trial_id, float(len(ended)))
            store.flush()
            ended[trial_id] = float(len(ended))
            runs[who].remove(trial_id)
        elif what == "flush":
            store.flush()
        elif what == "leave":
            store.close()
            runs[who].clear()
            stores[who] = Store.create(folder, join=True)
    for store in stores:
        store.close()
    ledger = read_ledger(folder)
    assert ledger.damage == []
    assert {key for key, row in ledger.rows.items() if row.status == "ok"} == set(ended)
    for trial_id, value in ended.items():
        table = read_segment(folder / SEGMENTS / ledger.rows[trial_id].segment).to_pylist()
        assert [row["value"] for row in table if row["trial_id"] == trial_id] == [value]
    # What a driver knows by following is what a reader finds.
    assert stores[1].ledger.rows.keys() == ledger.rows.keys()


# ------------------------------------------------------------------ waiting for each other
def test_a_driver_waits_for_the_cells_of_the_others_and_takes_those_of_the_dead(pair):
    one, other = pair
    claims = Claims(one, {})
    for trial_id in (A, B):
        assert other.claim(trial_id, attempts=0)
        assert not claims.take(trial_id)
    waits = []

    def wait():
        waits.append(len(waits))
        if len(waits) == 2:
            finish(other, A)
            other.close()  # as if it had died after A

    assert claims.orphans([A, B, C], on_wait=wait, pause=lambda seconds: None) == {B}
    assert waits == [0, 1]
    assert claims.take(B)
    finish(one, B)
    assert claims.orphans([A, B, C], on_wait=wait, pause=lambda seconds: None) == set()


def test_a_thousand_claims_cost_little(tmp_path):
    ids = [f"{number:016x}" for number in range(1000)]
    with Store.create(tmp_path) as store, Store.create(tmp_path, join=True) as other:
        store.plan(dict.fromkeys(ids, CELL))
        began = time.process_time()
        for number, trial_id in enumerate(ids):
            assert (store, other)[number % 2].claim(trial_id, attempts=0)
        assert time.process_time() - began < 2.0  # 0.1 ms each, so room for slow machines
