"""The store loses nothing that was committed, whatever happens to processes, disks and files."""

import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.environment import anonymise, environment_hash, environment_record, git_state
from bench.errors import StoreError
from bench.store import (
    Store,
    check_outcome,
    load_samples,
    load_tree,
    read_ledger,
    read_progress,
    save_samples,
    save_tree,
    tree_metadata,
    write_atomic,
    write_progress,
)
from bench.store.files import unwritable
from bench.store.folder import MERGE_AT
from bench.store.segments import SEGMENTS, read_segment

CELL = {"suite": "demo", "arm": "reptile", "meta_learner": "reptile", "replicate": 0}
A, B, C = "a" * 16, "b" * 16, "c" * 16


def measured(*values):
    return {"split": ["meta-test"] * len(values), "metric": ["energy"] * len(values), "value": list(values)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results" / "demo"


def run_script(script, *arguments, **options):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], capture_output=True, text=True, **options)


# ------------------------------------------------------------------ rows
def test_every_event_moves_the_row_and_the_last_one_holds(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL, B: CELL, C: CELL})
        store.start(A)
        store.skip(C, "no images")
        store.start(B)
        store.finish(B, {"status": "diverged", "reason": "NaN at step 3", "seconds": 1.5, "outer_steps": 3}, measured(1.0))
    rows = read_ledger(folder).rows
    assert [(row.status, row.reason) for row in rows.values()] == [("running", ""), ("diverged", "NaN at step 3"), ("skipped", "no images")]
    assert (rows[B].seconds, rows[B].outer_steps, rows[B].attempts, rows[B].flops) == (1.5, 3, 1, None)
    assert rows[B].cell == CELL
    assert (folder / SEGMENTS / rows[B].segment).is_file()


def test_a_second_outcome_replaces_the_first_and_counts_as_another_attempt(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL})
        store.start(A)
        for value in (1.0, 2.0):  # both in one segment
            store.finish(A, {"status": "ok"}, measured(value))
    row = read_ledger(folder).rows[A]
    table = read_segment(folder / SEGMENTS / row.segment)
    assert row.attempts == 2
    assert [v for v, a in zip(table["value"].to_pylist(), table["attempt"].to_pylist(), strict=True) if a == row.attempts] == [2.0]


def test_a_repeated_plan_keeps_results_even_of_trials_that_were_dropped_meanwhile(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL, B: CELL})
        store.finish(A, {"status": "ok"}, measured(1.0))
        store.drop({A})
        store.flush()
        assert list(store.rows) == [B]
        size = (folder / "ledger.jsonl").stat().st_size
        store.plan({B: CELL})
        store.drop({A})
        store.flush()
        assert (folder / "ledger.jsonl").stat().st_size == size
        store.plan({A: CELL, B: CELL})
        assert store.rows[A].status == "ok"
        assert store.done(A)
        assert not store.done(B)


def test_planning_a_skipped_trial_makes_it_pending_again(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL})
        store.skip(A, "plugin missing")
        assert store.done(A)
        store.plan({A: CELL})
        assert store.rows[A].status == "planned"


def test_costs_that_are_not_numbers_are_unknown(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL})
        store.finish(A, {"status": "ok", "seconds": float("nan"), "flops": np.float32(2.0), "samples_seen": np.int64(3)})
    row = read_ledger(folder).rows[A]
    assert (row.seconds, row.flops, row.samples_seen) == (None, 2.0, 3)


@pytest.mark.parametrize(
    ("row", "measurements", "rule"),
    [
        ({"status": "fine"}, None, "status must be one of"),
        ({"status": "ok", "colour": 1}, None, "a row has no colour"),
        ({"status": "ok", "seconds": "long"}, None, "seconds must be a number"),
        ({"status": "ok", "artefacts": ["../../etc/passwd"]}, None, "plain file names"),
        ({"status": "ok", "error": object()}, None, "not JSON serializable"),
        ({"status": "ok"}, {"metric": ["fid"], "value": [1.0]}, "missing: split"),
        ({"status": "ok"}, {**measured(1.0), "wat": [1]}, "unknown: wat"),
        ({"status": "ok"}, {**measured(1.0), "n_real": [1, 2]}, "equally long"),
        ({"status": "ok"}, measured("big"), "'value' must hold double"),
    ],
)
def test_a_malformed_outcome_is_refused_and_harms_nothing(folder, row, measurements, rule):
    with Store.create(folder) as store:
        store.plan({A: CELL, B: CELL})
        with pytest.raises(StoreError, match=rule):
            store.finish(A, row, measurements)
        with pytest.raises(StoreError, match=rule):
            check_outcome(row, measurements or {})
        store.finish(B, {"status": "ok"}, measured(1.0))
    rows = read_ledger(folder).rows
    assert (rows[A].status, rows[B].status) == ("planned", "ok")


@pytest.mark.parametrize("trial_id", ["../../etc", "", "A" * 16, "a" * 7, "a" * 65, "a" * 16 + "\n", "/root"])
def test_a_trial_id_that_could_be_a_path_is_refused(folder, trial_id):
    with Store.create(folder) as store:
        with pytest.raises(StoreError, match="hexadecimal digits"):
            store.plan({trial_id: CELL})
        with pytest.raises(StoreError, match="never planned|hexadecimal digits"):
            store.drop([trial_id])
        with pytest.raises(StoreError, match="hexadecimal digits"):
            store.trial_folder(trial_id)


def test_a_traceback_becomes_an_artefact_without_paths(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL})
        store.finish(
            A, {"status": "failed", "reason": "boom in /home/ada/model.py", "traceback": 'File "/home/ada/plugins/mine.py", line 3'}
        )
    row = read_ledger(folder).rows[A]
    assert (row.reason, row.artefacts) == ("boom in model.py", ("error.txt",))
    assert (folder / "trials" / A / "error.txt").read_text() == 'File "mine.py", line 3'


# ------------------------------------------------------------------ group commit
def test_an_outcome_is_committed_by_the_tick_after_one_second(folder):
    now = [0.0]
    store = Store.create(folder, clock=lambda: now[0])
    store.plan({A: CELL})
    store.finish(A, {"status": "ok"}, measured(1.0))
    now[0] = 0.9
    store.tick()
    assert read_ledger(folder).rows[A].status == "planned"
    now[0] = 1.0
    store.tick()
    assert read_ledger(folder).rows[A].status == "ok"
    store.close()
    store.close()


def test_trials_of_one_second_share_a_segment(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL, B: CELL})
        store.finish(A, {"status": "ok"}, measured(1.0))
        store.finish(B, {"status": "ok"}, measured(2.0, 3.0))
    rows = read_ledger(folder).rows
    assert rows[A].segment == rows[B].segment
    assert read_segment(folder / SEGMENTS / rows[A].segment).num_rows == 3


def test_many_small_segments_are_merged_without_changing_a_number(folder):
    ids = [f"{number:016x}" for number in range(MERGE_AT + 3)]
    with Store.create(folder) as store:
        store.plan(dict.fromkeys(ids, CELL))
        for number, trial_id in enumerate(ids):
            store.finish(trial_id, {"status": "ok"}, measured(-1.0))
            store.finish(trial_id, {"status": "ok"}, measured(float(number)))
            store.flush()
    assert len(list((folder / SEGMENTS).iterdir())) == 4
    found = {}
    for row in read_ledger(folder).rows.values():
        table = read_segment(folder / SEGMENTS / row.segment).to_pylist()
        found[row.trial_id] = [line["value"] for line in table if (line["trial_id"], line["attempt"]) == (row.trial_id, row.attempts)]
    assert found == {trial_id: [float(number)] for number, trial_id in enumerate(ids)}


# ------------------------------------------------------------------ faults
def filled(folder):
    with Store.create(folder) as store:
        store.plan({A: CELL, B: CELL})
        store.finish(A, {"status": "ok", "seconds": 1.0}, measured(1.0))
        store.flush()
        store.finish(B, {"status": "ok", "seconds": 2.0}, measured(2.0))
    return (folder / "ledger.jsonl").read_bytes()


def test_a_ledger_torn_at_any_byte_of_its_last_line_loses_that_line_only(folder):
    content = filled(folder)
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start, len(content) + 1):
        (folder / "ledger.jsonl").write_bytes(content[:end])
        ledger = read_ledger(folder)
        whole = end >= len(content) - 1
        assert (ledger.rows[A].status, ledger.rows[B].status, ledger.damage) == ("ok", "ok" if whole else "planned", [])
        with Store.open(folder) as store:  # the next writer goes on behind the last whole line
            store.start(C)
        ledger = read_ledger(folder)
        assert (ledger.rows[A].status, ledger.rows[B].status, ledger.rows[C].status) == ("ok", "ok" if whole else "planned", "running")
        assert ledger.damage == []


def test_a_last_line_that_lacks_its_newline_only_is_kept_by_the_next_writer(folder):
    filled(folder)
    with Store.open(folder) as store:
        store.drop([A])
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    Store.open(folder).close()
    assert list(read_ledger(folder).planned()) == [B]


HOSTILE = [
    b"\x00\xff\xfe not json",
    b"[" * 100_000,
    b"9" * 5000,
    b'"text"',
    b"null",
    b'{"event": "finished"}',
    b'{"event": "finished", "trial_id": "../../../etc/passwd", "status": "ok"}',
    b'{"event": "finished", "trial_id": "%s", "status": "won"}' % A.encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "segment": "../../x.parquet"}' % A.encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "environment": "../x"}' % A.encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "artefacts": ["a/b"]}' % A.encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "seconds": 1e999}' % A.encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "seconds": 1%s}' % (A.encode(), b"0" * 400),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "attempts": -1}' % A.encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "attempts": 1e200}' % A.encode(),
    b'{"event": "planned", "trial_id": "%s", "cell": {"arm": ["x"]}}' % A.encode(),
    b'{"event": "planned", "trial_id": "%s", "cell": 3}' % A.encode(),
    b'{"event": "dropped", "trial_id": "%s"}' % ("f" * 16).encode(),
    b'{"event": "finished", "trial_id": "%s", "status": "ok", "reason": "\\uD800"}' % A.encode(),
    b'{"event": "merged", "segments": ["x"], "into": "y"}',
    b'{"event": "exec", "trial_id": "%s"}' % A.encode(),
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_damaged_line_is_reported_with_its_number_and_costs_itself_only(folder, line):
    lines = filled(folder).splitlines()
    (folder / "ledger.jsonl").write_bytes(b"\n".join([*lines[:3], line, *lines[3:]]) + b"\n")
    ledger = read_ledger(folder)
    assert [(row.status, row.seconds) for row in ledger.rows.values()] == [("ok", 1.0), ("ok", 2.0)]
    assert len(ledger.damage) == 1
    assert ledger.damage[0].startswith("ledger.jsonl:4: ")
    assert len(ledger.damage[0]) < 300


def test_a_segment_that_was_cut_or_changed_is_named_with_a_cure(folder):
    filled(folder)
    path = next((folder / SEGMENTS).iterdir())
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    for damaged in (b"", content[:4], content[:-1], content[: len(content) // 2], bytes(flipped), content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"{path.name}: not a readable segment .* run the suite again"):
            read_segment(path)


def test_a_segment_that_went_away_makes_its_trials_pending(folder):
    filled(folder)
    row = read_ledger(folder).rows[A]
    (folder / SEGMENTS / row.segment).unlink()
    with Store.open(folder) as store:
        assert not store.done(A)
        assert store.done(B)


def test_a_second_writer_is_told_who_writes_and_what_to_do(folder):
    with Store.create(folder), pytest.raises(StoreError, match=rf"another bench process \(pid {os.getpid()}\).*--output"):
        Store.open(folder)
    Store.open(folder).close()


def test_a_folder_without_a_ledger_is_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"not a results folder; check the path"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        read_ledger(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file.*cannot be written"):
        Store.create(tmp_path / "file" / "results")


def test_a_read_only_disk_is_named_with_a_cure():
    text = str(unwritable(Path("results/demo"), OSError(30, "Read-only file system")))
    assert text == "results/demo: not writable (Read-only file system); make the folder writable or choose another with --output"


@pytest.mark.faults
def test_a_driver_killed_between_flushes_loses_nothing_that_was_flushed(folder):
    script = """
        import os, sys, time
        from bench.store import Store
        store = Store.create(sys.argv[1])
        ids = [f"{n:016x}" for n in range(10_000)]
        store.plan({i: {"arm": "x", "replicate": 0} for i in ids})
        for n, trial in enumerate(ids):
            store.start(trial)
            store.finish(trial, {"status": "ok"}, {"split": ["meta-test"], "metric": ["m"], "value": [float(n)]})
            if n % 7 == 6:
                store.flush()
                print(n + 1, flush=True)
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), folder], stdout=subprocess.PIPE, text=True)
    for line in driver.stdout:
        if int(line) > 100:
            break
    driver.send_signal(signal.SIGKILL)
    flushed = max([int(line), *(int(more) for more in driver.stdout.read().split())])
    driver.wait()
    driver.stdout.close()
    with Store.open(folder) as store:  # the lock died with its owner
        assert store.ledger.damage == []
        assert len(store.rows) == 10_000
        done = [row for row in store.rows.values() if row.status == "ok"]
        assert len(done) >= flushed
        for number, row in enumerate(done):
            table = read_segment(folder / SEGMENTS / row.segment).to_pylist()
            assert [line["value"] for line in table if line["trial_id"] == row.trial_id] == [float(number)]
    assert list(folder.rglob("*.tmp")) == []


@pytest.mark.faults
def test_a_full_disk_stops_the_run_keeps_what_was_committed_and_can_go_on(folder):
    script = """
        import resource, sys
        from bench.errors import StoreError
        from bench.store import Store
        def limit(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        rows = {"split": ["meta-test"], "metric": ["m"], "value": [1.0]}
        with Store.create(sys.argv[1]) as store:
            ids = [f"{n:016x}" for n in range(40)]
            store.plan({i: {"arm": "x"} for i in ids})
            full = 0
            for trial in ids:
                limit(8200 if trial < ids[20] else 1000)     # first the ledger outgrows the limit, then the segments do
                store.finish(trial, {"status": "ok", "reason": "r" * 400}, rows)
                try:
                    store.flush()
                except StoreError as error:
                    assert "no room to write" in str(error) and "run the same command again" in str(error), error
                    full += 1
            assert full > 20, full
            print(sum(row.status == "ok" for row in __import__("bench.store").store.read_ledger(sys.argv[1]).rows.values()))
            limit(resource.RLIM_INFINITY)
    """
    done = run_script(script, folder)
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 20
    ledger = read_ledger(folder)
    assert ledger.damage == []
    assert {row.status for row in ledger.rows.values()} == {"ok"}
    assert all(read_segment(folder / SEGMENTS / row.segment).num_rows for row in ledger.rows.values())


@pytest.mark.faults
def test_a_full_disk_seen_by_a_context_manager_is_reported_once(folder):
    script = """
        import resource, sys
        from bench.store import Store
        with Store.create(sys.argv[1]) as store:
            store.plan({"a" * 16: {}})
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            store.finish("a" * 16, {"status": "ok"}, {"split": ["s"], "metric": ["m"], "value": [1.0]})
            store.flush()
    """
    done = run_script(script, folder)
    assert done.stderr.count("StoreError") == 1
    assert read_ledger(folder).rows[A].status == "planned"


# ------------------------------------------------------------------ artefacts
def test_an_atomic_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    write_atomic(path, b"old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="free disk space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_trees_come_back_as_they_were(tmp_path):
    view = torch.arange(12.0).reshape(3, 4).t()
    tree = {
        "meta/w": view,
        "meta/same": view,
        "steps": np.arange(3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "none": torch.zeros(0, 3),
    }
    save_tree(tmp_path / "x.safetensors", tree, metadata={"outer_step": "7"})
    back = load_tree(tmp_path / "x.safetensors")
    assert {name: (leaf.dtype, tuple(leaf.shape)) for name, leaf in back.items()} == {
        name: (torch.as_tensor(leaf).dtype, tuple(leaf.shape)) for name, leaf in tree.items()
    }
    assert all(torch.equal(back[name], torch.as_tensor(leaf)) for name, leaf in tree.items())
    assert tree_metadata(tmp_path / "x.safetensors") == {"outer_step": "7"}


def test_numpy_trees_need_no_torch_and_keep_their_shape(tmp_path):
    tree = {"fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "scalar": np.array(1.0)}
    save_tree(tmp_path / "x.safetensors", tree)
    back = load_tree(tmp_path / "x.safetensors", framework="numpy")
    assert {name: leaf.shape for name, leaf in back.items()} == {"fortran": (2, 3), "scalar": ()}
    np.testing.assert_array_equal(back["fortran"], tree["fortran"])
    save_tree(tmp_path / "empty.safetensors", {})
    assert load_tree(tmp_path / "empty.safetensors") == {}


def test_damaged_trees_are_named_with_a_cure(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tree(path, {"w": torch.zeros(100)})
    for content in (b"", b"\xff" * 100, path.read_bytes()[:-1], path.read_bytes()[:9], pickle.dumps(1)):
        path.write_bytes(content)
        for read in (load_tree, tree_metadata):
            with pytest.raises(StoreError, match="x.safetensors: .*delete it and run the suite again"):
                read(path)
    with pytest.raises(StoreError, match="does not exist"):
        load_tree(tmp_path / "absent")
    with pytest.raises(StoreError, match="does not exist"):
        tree_metadata(tmp_path / "absent")


def test_samples_come_back_and_pickles_are_refused_both_ways(tmp_path):
    path = tmp_path / "samples.npz"
    arrays = {
        "steps": np.array([0, 5]),
        "task_ids": np.array(["a", "bc"]),
        "generated": np.ones((2, 2, 3), np.float32),
        "file": np.zeros(1),
    }
    save_samples(path, arrays)
    back = load_samples(path)
    assert {name: (values.dtype, values.tolist()) for name, values in back.items()} == {
        name: (values.dtype, values.tolist()) for name, values in arrays.items()
    }
    with pytest.raises(StoreError, match="'bad' holds Python objects"):
        save_samples(path, {"bad": [object()]})

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'exploded'}",)

    np.savez(path, bomb=np.array([Bomb()], dtype=object))
    np.save(tmp_path / "bare.npy", np.zeros(3))
    whole = path.read_bytes()
    for content in (whole, pickle.dumps(Bomb()), whole[:50], b"", (tmp_path / "bare.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="samples.npz: not an .npz file of plain arrays"):
            load_samples(path)
    assert not (tmp_path / "exploded").exists()


def test_equal_samples_are_equal_files(tmp_path, monkeypatch):
    for name, now in (("a", 1e9), ("b", 2e9)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        save_samples(tmp_path / name, {"x": np.zeros(3)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_progress_is_a_note_that_may_be_missing(tmp_path):
    path = tmp_path / "progress.json"
    assert read_progress(path) == {}
    write_progress(path, {"outer_step": 3})
    assert read_progress(path) == {"outer_step": 3}
    for content in ("[1]", "{", "[" * 100_000):
        path.write_text(content)
        assert read_progress(path) == {}
    write_progress(tmp_path / "absent" / "progress.json", {})


# ------------------------------------------------------------------ environment
def test_the_environment_record_names_versions_and_nobody(tmp_path, monkeypatch):
    record = environment_record({"bench-b": "0.2 cafe", "bench-a": "0.1 beef"})
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert list(record["plugins"]) == ["bench-a", "bench-b"]
    assert record["cores"] >= 1
    text = json.dumps(record)
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text
    assert environment_hash(record) == environment_hash(dict(reversed(record.items())))
    assert environment_hash(record) != environment_hash({**record, "cores": -1})


def test_an_environment_is_stored_once(folder):
    with Store.create(folder) as store:
        names = {store.record_environment({"python": "3"}) for _ in range(2)}
        store.record_environment({"python": "4"})
    assert len(names) == 1
    assert json.loads((folder / "environments" / f"{names.pop()}.json").read_text()) == {"python": "3"}
    assert len(list((folder / "environments").iterdir())) == 2


def test_importing_the_store_and_the_record_needs_neither_torch_nor_ray():
    script = (
        "import sys, bench.store, bench.schedule, bench.frame, bench.environment as e; e.environment_record(); "
        "print({'torch', 'ray', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    done = run_script(script)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_the_commit_is_recorded_and_marked_where_it_was_changed(tmp_path):
    assert git_state(tmp_path) == (None, None)
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=tmp_path, env={**os.environ, **identity}, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD").strip()
    assert git_state(tmp_path) == (head, False)
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path) == (head, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('File "/home/ada/site-packages/torch/nn.py", line 3', 'File "nn.py", line 3'),
        ("cannot read '/data/omniglot/images.npz'", "cannot read 'images.npz'"),
        ("~/secret/suite.yaml:3", "suite.yaml:3"),
        (r"C:\Users\ada\suite.yaml", "suite.yaml"),
        ("see https://arxiv.org/abs/1706.08500", "see https://arxiv.org/abs/1706.08500"),
        ("n/a or 1/2, ./plugins/mine.py", "n/a or 1/2, ./plugins/mine.py"),
        (f"{os.getcwd()}/bench/trial.py", "bench/trial.py"),
    ],
)
def test_texts_lose_the_folders_of_this_machine(text, expected):
    assert anonymise(text) == expected


def test_a_lock_is_released_even_if_opening_fails(folder):
    Store.create(folder).close()
    (folder / "ledger.jsonl").unlink()
    (folder / "ledger.jsonl").mkdir()
    with pytest.raises(StoreError):
        Store(folder)
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_thousand_trials_through_the_store(folder):
    ids = [f"{number:016x}" for number in range(1000)]
    started = time.monotonic()
    with Store.create(folder) as store:
        store.plan(dict.fromkeys(ids, CELL))
        for trial_id in ids:
            store.start(trial_id)
            store.finish(trial_id, {"status": "ok"}, measured(*range(20)))
            store.tick()
    print(f"1000 trials: {time.monotonic() - started:.2f} s")
    assert sum(row.status == "ok" for row in read_ledger(folder).rows.values()) == 1000
