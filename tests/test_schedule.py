"""Jobs run in a fair order, each gets exactly one outcome, and no death of a process is blamed on the wrong one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import BenchError, UsageError
from bench.schedule import InlineExecutor, Job, Probe, RayExecutor, make_executor, on_ray
from bench.schedule.seats import room
from bench.schedule.work import call
from bench.store import OUTCOMES, Store, read_ledger
from bench.trial import interruption

# Ray leaves sockets and files of its own to the garbage collector, and announces changes of its next versions.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WORK = '''
"""What the jobs of these tests do; imported by name in the workers."""
import os, signal, sys, threading, time
from pathlib import Path

def ok(payload):
    return {"status": "ok"}, {"split": ["meta-test"], "metric": ["m"], "value": [payload["value"]]}

def environment(payload):
    found = [os.environ["OMP_NUM_THREADS"], os.environ["BENCH_NOTE"], os.environ["CUDA_VISIBLE_DEVICES"] or "none", str(os.getpid())]
    return {"status": "ok", "reason": " ".join(found)}, {}

def fail(payload):
    raise {"value": ValueError, "memory": MemoryError, "exit": SystemExit}[payload["how"]]("first line\\nsecond line")

def shapeless(payload):
    return {
        "nothing": None,
        "status": ({"status": "won"}, {}),
        "row": ({"status": "ok", "colour": 1}, {}),
        "column": ({"status": "ok"}, {"value": [1.0]}),
        "text": ({"status": "ok", "seconds": "long"}, {}),
        "lock": ({"status": "ok", "reason": threading.Lock()}, {}),
    }[payload["how"]]

def die(payload):
    marker = Path(payload["marker"])
    marker.write_text(marker.read_text() + "x" if marker.exists() else "x")
    if len(marker.read_text()) <= payload["deaths"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"status": "ok"}, {}

def wait(payload):
    if "deaths" in payload:
        return die(payload)
    Path(payload["marker"]).write_text(str(os.getpid()))
    time.sleep(payload["seconds"])
    return {"status": "ok"}, {}

def once(payload):
    """Waits the first time only: long enough to be killed."""
    if not Path(payload["marker"]).exists():
        return wait(payload)
    return {"status": "ok"}, {}

def build(payload):
    """Builds what is needed unless it is there, and notes who did."""
    time.sleep(0.05)
    if not Path(payload["artefact"]).exists():
        time.sleep(0.3)
        Path(payload["artefact"]).write_text("")
        return {"status": "ok", "reason": "built"}, {}
    return {"status": "ok"}, {}

def pid(payload):
    return {"status": payload.get("status", "ok"), "reason": str(os.getpid())}, {}

def stop_at_a_safe_point(payload):
    """Works until it is asked to stop, which it does only behind a checkpoint."""
    from bench.trial import interruption
    marker = Path(payload["marker"])
    marker.write_text("works")
    deadline = time.monotonic() + 60
    while not interruption.requested() and time.monotonic() < deadline:
        time.sleep(0.02)
    marker.write_text("saved")
    interruption.check()
    return {"status": "ok"}, {}

def write(payload):
    """Leaves files as a trial does, and says what it found."""
    results = Path(payload["results"])
    folder = results / "trials" / payload["key"]
    found = (folder / "checkpoint.safetensors").read_text() if folder.is_dir() else "nothing"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint.safetensors").write_text(found + "+")
    (folder / "large.npz").write_bytes(bytes(payload["bytes"]))
    (results / "artefacts").mkdir(exist_ok=True)
    (results / "artefacts" / "features-1.json").write_text("{}")
    (results / "artefacts" / "warm.safetensors").write_text("rebuilt on each node")
    return {"status": "ok", "reason": found, "artefacts": ["checkpoint.safetensors", "large.npz"]}, {}

def card():
    return 10 << 30, 10 << 30

def peak(payload):
    return {"status": "ok", "peak_memory_bytes": payload["peak"]}, {}

def on_a_card(payload):
    """One is unlucky: it runs out of memory, the first time, when another one is on its card; the others wait for that."""
    place, card = Path(payload["place"]), os.environ["CUDA_VISIBLE_DEVICES"]
    ran_out, deadline = place / "ran out", time.monotonic() + 90
    if payload.get("unlucky") and not ran_out.exists():
        while not list(place.glob(f"{card}-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        ran_out.touch()
        raise MemoryError("CUDA out of memory")
    (place / f"{card}-{os.getpid()}").touch()
    while not ran_out.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return {"status": "ok", "reason": card}, {}

def build_then_stay(payload):
    answer = build(payload)
    deadline = time.monotonic() + 20
    while not Path(payload["release"]).exists() and answer[0].get("reason") and time.monotonic() < deadline:
        time.sleep(0.02)
    Path(payload["release"]).write_text("")
    if answer[0].get("reason"):
        time.sleep(2)  # the other one has released it, and its answer is still on its way
    return answer
'''


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "schedule_work.py").write_text(WORK)
    sys.path.insert(0, str(folder))
    os.environ["BENCH_NOTE"] = "note"
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("schedule_work", None)
    del os.environ["BENCH_NOTE"]


@pytest.fixture(scope="module")
def ray_session(work_folder):
    import warnings

    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            address="local",
            num_cpus=4,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="CRITICAL",
            object_store_memory=100 << 20,
        )
        yield ray
        ray.shutdown()


@pytest.fixture(params=["inline", "ray"])
def executor(request, work_folder):
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    return make_executor(request.param, slots=2)


def run(executor, jobs, work, **options):
    """Final row of each job, and every event."""
    events = []
    executor.run(jobs, f"schedule_work:{work}", on_event=events.append, **options)
    finished = {event.job.key: event.row for event in events if event.kind == "finished"}
    assert sorted(finished) == sorted(job.key for job in jobs)
    assert sum(event.kind == "finished" for event in events) == len(jobs)
    return finished, events


# ------------------------------------------------------------------ both executors
def test_results_come_back_with_their_measurements(executor):
    jobs = [Job(str(n), {"value": n / 2}) for n in range(5)]
    rows, events = run(executor, jobs, "ok")
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {event.job.key: event.measurements["value"] for event in events if event.kind == "finished"} == {
        str(n): [n / 2] for n in range(5)
    }
    for job in jobs:
        assert [event.kind for event in events if event.job == job] == ["started", "finished"]


def test_no_jobs_are_no_work(executor):
    assert run(executor, [], "ok") == ({}, [])


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ("value", "failed", "ValueError: first line"),
        ("memory", "oom", "MemoryError: first line"),
        ("exit", "failed", "SystemExit: first line"),
    ],
)
def test_an_exception_costs_its_own_trial_only(work_folder, how, status, reason):
    rows, _ = run(InlineExecutor(), [Job("a", {"how": how}), Job("b", {"how": how})], "fail")
    assert [(row["status"], row["reason"]) for row in rows.values()] == [(status, reason)] * 2
    assert rows["a"]["error"] == rows["b"]["error"]
    assert "schedule_work.py" in rows["a"]["traceback"]
    assert "second line" in rows["a"]["traceback"]
    assert str(Path.home()) + os.sep not in rows["a"]["traceback"]
    assert str(Path(sys.prefix)) not in rows["a"]["traceback"]


def test_work_that_breaks_its_contract_fails(work_folder):
    rows, _ = run(
        InlineExecutor(),
        [Job(key, {"how": how}) for key, how in zip("abcde", ["nothing", "status", "row", "column", "text"], strict=True)],
        "shapeless",
    )
    assert {row["status"] for row in rows.values()} == {"failed"}
    assert "a row has no colour" in rows["c"]["reason"]
    assert "missing: split, metric" in rows["d"]["reason"]
    assert "seconds must be a number" in rows["e"]["reason"]
    assert rows["a"]["reason"].startswith("TypeError: schedule_work:shapeless must return (row, measurements)")
    assert rows["b"]["reason"].startswith(f"ValueError: schedule_work:shapeless must return a row whose status is one of {OUTCOMES[0]}")


def test_work_that_does_not_exist_fails(work_folder):
    rows, _ = run(InlineExecutor(), [Job("a")], "absent")
    assert rows["a"]["status"] == "failed"
    assert "no attribute 'absent'" in rows["a"]["reason"]


def test_ticks_come_while_jobs_run(executor, tmp_path):
    ticks = []
    run(
        executor,
        [Job(str(n), {"marker": str(tmp_path / "x"), "seconds": 0.4}) for n in range(2)],
        "wait",
        on_tick=lambda: ticks.append(time.monotonic()),
    )
    assert len(ticks) >= 2


def test_the_user_can_interrupt_and_what_is_known_can_be_saved(executor, tmp_path):
    calls = []

    def interrupt(event):
        calls.append(event.kind)
        if event.kind == "finished":
            raise KeyboardInterrupt

    jobs = [Job(str(n), {"value": 1.0}) for n in range(20)]
    with pytest.raises(KeyboardInterrupt):
        executor.run(jobs, "schedule_work:ok", on_event=interrupt, on_interrupt=lambda: calls.append("saved"))
    assert calls.count("finished") == calls.count("saved") == 1
    assert calls[-1] == "saved"


def test_events_feed_a_store(executor, tmp_path):
    jobs = [Job(f"{n:016x}", {"value": float(n)}) for n in range(8)]
    with Store.create(tmp_path) as store:
        store.plan({job.key: {"arm": "x"} for job in jobs})

        def record(event):
            if event.kind == "started":
                store.start(event.job.key)
            else:
                store.finish(event.job.key, event.row, event.measurements)

        executor.run(jobs, "schedule_work:ok", on_event=record, on_tick=store.tick, on_interrupt=store.flush)
    assert [(row.status, row.attempts) for row in read_ledger(tmp_path).rows.values()] == [("ok", 1)] * 8


# ------------------------------------------------------------------ inline
def test_the_inline_executor_says_what_it_cannot_do():
    assert "can't be killed" in InlineExecutor().note


def test_the_inline_executor_lets_an_interrupt_of_the_work_through(work_folder, monkeypatch):
    import schedule_work

    def interrupt(payload):
        raise KeyboardInterrupt

    monkeypatch.setattr(schedule_work, "ok", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call("schedule_work:ok", {})


def test_a_thousand_jobs_through_the_inline_executor_and_the_store(work_folder, tmp_path):
    jobs = [Job(f"{n:016x}", {"value": float(n)}, lane=str(n % 5)) for n in range(1000)]
    with Store.create(tmp_path) as store:
        store.plan({job.key: {"arm": "x"} for job in jobs})

        def record(event):
            if event.kind == "started":
                store.start(event.job.key)
            else:
                store.finish(event.job.key, event.row, event.measurements)

        InlineExecutor().run(jobs, "schedule_work:ok", on_event=record, on_tick=store.tick)
    assert sum(row.status == "ok" for row in read_ledger(tmp_path).rows.values()) == 1000


# ------------------------------------------------------------------ Ray
def test_workers_are_single_threaded_long_lived_and_know_what_the_user_set(ray_session):
    rows, _ = run(RayExecutor(2), [Job(str(n)) for n in range(30)], "environment")
    answers = [row["reason"].split() for row in rows.values()]
    assert {tuple(answer[:3]) for answer in answers} == {("1", "note", "none")}
    pids = {pid for *_, pid in answers}
    assert 1 <= len(pids) <= 2
    assert str(os.getpid()) not in pids


def test_a_cluster_without_room_says_what_it_has():
    with pytest.raises(BenchError, match="2 cores and 0 GPUs.*--executor inline"):
        room({"CPU": 2.0}, 0.5)
    with pytest.raises(BenchError, match="--jobs 1 or more"):
        RayExecutor(0)


@pytest.mark.parametrize(("share", "expected"), [(0, 64), (0.4, 4), (0.5, 4), (1, 2), (2, 1), (0.34, 4), (1 / 3, 6)])
def test_a_share_of_a_gpu_is_counted_card_by_card(share, expected):
    assert room({"CPU": 64.0, "GPU": 2.0}, share) == expected


def test_a_worker_is_replaced_after_a_failure_and_after_many_jobs(ray_session, monkeypatch):
    monkeypatch.setattr(on_ray, "RECYCLE_AFTER", 2)
    jobs = [Job(str(n), {"status": "failed" if n == 2 else "ok"}, expected_seconds=-n) for n in range(5)]
    rows, _ = run(RayExecutor(1), jobs, "pid")
    first, second, third, fourth, fifth = (rows[str(n)]["reason"] for n in range(5))
    assert first == second != third
    assert third != fourth == fifth


def test_where_the_time_went_adds_up_to_the_time_of_the_slots(ray_session):
    executor = RayExecutor(2)
    began = time.monotonic()
    run(executor, [Job(str(n), {"value": 1.0}) for n in range(20)], "ok")
    span = time.monotonic() - began
    record = executor.account.record()
    assert (record["slots"], record["trials"]) == (2, 20)
    assert 0 < sum(executor.account.seconds.values()) <= 2 * span
    assert 0 < record["dispatch_median_ms"] <= record["dispatch_95_ms"] < 1e3 * span


def test_a_worker_that_does_not_see_the_results_folder_sends_its_files(ray_session, tmp_path, monkeypatch):
    """As on a node without the shared path: the marker is not there. A second run finds the checkpoint of the first."""

    @contextlib.contextmanager
    def marked_elsewhere(folder):
        yield "no such marker"

    monkeypatch.setattr(on_ray, "marked", marked_elsewhere)
    for found in ("nothing", "nothing+"):
        rows, _ = run(RayExecutor(1), [Job("a" * 8, {"key": "a" * 8, "bytes": 9}), Job("b" * 8, {"key": "b" * 8, "bytes": 9})], "write",
                      folder=tmp_path)  # fmt: skip
        assert [row["reason"] for row in rows.values()] == [found] * 2
        assert (tmp_path / "trials" / ("a" * 8) / "checkpoint.safetensors").read_text() == found + "+"
    assert (tmp_path / "trials" / ("b" * 8) / "large.npz").read_bytes() == bytes(9)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.parent.name == "artefacts") == ["features-1.json"]


def test_a_worker_that_sees_the_results_folder_writes_there(ray_session, tmp_path):
    run(RayExecutor(1), [Job("a" * 8, {"key": "a" * 8, "bytes": 9})], "write", folder=tmp_path)
    assert (tmp_path / "artefacts" / "warm.safetensors").exists()
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.faults
def test_a_stop_is_heeded_at_the_next_safe_point_and_the_job_has_not_ended(ray_session, tmp_path):
    marker, events = tmp_path / "marker", []

    def ask():
        if marker.exists() and marker.read_text() == "works":
            interruption.request()

    jobs = [Job(str(n), {"marker": str(marker)}) for n in range(3)]
    executor = RayExecutor(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            executor.run(jobs, "schedule_work:stop_at_a_safe_point", on_event=events.append, on_tick=ask,
                         on_interrupt=lambda: events.append("flushed"))  # fmt: skip
    finally:
        interruption.withdraw()
    assert marker.read_text() == "saved"
    assert [getattr(event, "kind", event) for event in events] == ["started", "flushed"]


def test_trials_share_cards_by_measured_memory_and_one_that_ran_out_is_tried_alone(ray_session, tmp_path):
    """Ray's logical cards: two, of 10 GB as the jobs say, on a host without any."""
    executor = RayExecutor(4, gpus_per_slot=None, probe=Probe("schedule_work:peak", "schedule_work:card"))
    small = {"peak": 2 << 30, "place": str(tmp_path)}
    jobs = [Job("unlucky", {**small, "unlucky": True}, lane="small", expected_seconds=9)]
    jobs += [Job(f"small {n}", small, lane="small") for n in range(3)]  # more than the other card has seats
    jobs += [Job("large", {**small, "peak": 7 << 30}, lane="large")]
    rows, events = run(executor, jobs, "on_a_card")
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {row["reason"] for row in rows.values()} == {"0", "1"}
    assert any(row.get("packed") for row in rows.values())
    assert not rows["unlucky"].get("packed")
    assert not rows["large"].get("packed")
    assert [event.attempt for event in events if event.job.key == "unlucky" and event.kind == "started"] == [1, 2]
    wait_for(lambda: ray_session.available_resources().get("GPU") == 2)  # the cards are given back


@pytest.mark.faults
def test_a_worker_that_was_killed_is_replaced_and_its_job_repeated(ray_session, tmp_path):
    marker = tmp_path / "pid"
    killed = []

    def kill():
        if marker.exists() and marker.read_text() and not killed:
            killed.append(int(marker.read_text()))
            os.kill(killed[0], signal.SIGKILL)

    rows, events = run(
        RayExecutor(1), [Job("a", {"marker": str(marker), "seconds": 60}), Job("b", {"marker": str(marker)})], "once", on_tick=kill
    )
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert [(event.kind, event.attempt) for event in events if event.job.key == "a"] == [("started", 1), ("started", 2), ("finished", 2)]
    assert killed


@pytest.mark.faults
def test_a_job_that_kills_every_worker_is_infra_and_the_others_finish(ray_session, tmp_path, capfd):
    jobs = [Job("bad", {"marker": str(tmp_path / "bad"), "deaths": 9}), Job("good", {"marker": str(tmp_path / "good"), "deaths": 0})]
    rows, events = run(RayExecutor(2), jobs, "die")
    assert rows["bad"] == {"status": "infra", "reason": "its worker process died in each of 2 attempts"}
    assert rows["good"]["status"] == "ok"
    assert (tmp_path / "bad").read_text() == "xx"
    assert sum(event.kind == "started" for event in events) == 3


@pytest.mark.faults
def test_a_job_over_its_limit_is_killed_and_the_next_one_runs(ray_session, tmp_path):
    marker = tmp_path / "pid"
    jobs = [
        Job("slow", {"marker": str(marker), "seconds": 600}, limit_seconds=1.0, expected_seconds=9),
        Job("quick", {"marker": str(marker), "seconds": 0}),
    ]
    started = time.monotonic()
    rows, _ = run(RayExecutor(1), jobs, "wait")
    assert time.monotonic() - started < 60
    assert (rows["slow"]["status"], rows["slow"]["reason"]) == ("timeout", "killed at its limit of 1 s")
    assert rows["slow"]["seconds"] >= 1.0
    assert rows["quick"]["status"] == "ok"


def test_a_result_that_cannot_travel_fails_its_own_trial_only(ray_session):
    rows, _ = run(RayExecutor(1), [Job("a", {"how": "lock"}), Job("b", {"how": "status"})], "shapeless")
    assert [row["status"] for row in rows.values()] == ["failed", "failed"]
    assert "could not be returned" in rows["a"]["reason"]


def test_a_shared_prerequisite_is_built_once(ray_session, tmp_path):
    jobs = [Job(str(n), {"artefact": str(tmp_path / "warm")}, needs=("warm",)) for n in range(4)]
    rows, _ = run(RayExecutor(2), jobs, "build")
    assert [row.get("reason") for row in rows.values()].count("built") == 1


def test_jobs_start_as_soon_as_the_prerequisite_is_there(ray_session, tmp_path):
    payload = {"artefact": str(tmp_path / "warm"), "release": str(tmp_path / "release")}
    _, events = run(
        RayExecutor(2),
        [Job(str(n), payload, needs=("warm",)) for n in range(2)],
        "build_then_stay",
        is_built=lambda key: (tmp_path / key).exists(),
    )
    assert [(event.kind, event.job.key) for event in events] == [("started", "0"), ("started", "1"), ("finished", "1"), ("finished", "0")]


def test_a_job_given_twice_is_refused(ray_session):
    with pytest.raises(BenchError, match="share a key"):
        RayExecutor(1).run([Job("a"), Job("a")], "schedule_work:ok", on_event=print)


DRIVER = """
    import json, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the test itself may run with Ctrl-C ignored, in a background
    from bench.schedule import Job, RayExecutor
    from bench.store import Store
    if __name__ == "__main__":
        folder, marker = sys.argv[1:]
        with Store.create(folder) as store:
            quick = [Job(f"{n:016x}", {"marker": marker, "seconds": 0}, expected_seconds=9) for n in range(3)]
            quick += [Job("e" * 16, {"marker": marker + ".dead", "deaths": 9}, expected_seconds=9)]
            slow = [Job("f" * 16, {"marker": marker + ".slow", "seconds": 600})]
            store.plan({job.key: {"arm": "x"} for job in quick + slow})
            def record(event):
                if event.kind == "started":
                    store.start(event.job.key)
                else:
                    store.finish(event.job.key, event.row, event.measurements)
            def save():
                store.flush()
                print("saved", flush=True)
            RayExecutor(1).run(quick + slow, "schedule_work:wait", on_event=record, on_tick=store.flush, on_interrupt=save)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_a_driver_that_is_stopped_keeps_its_rows_leaves_no_worker_and_keeps_quiet(work_folder, tmp_path, how):
    marker = tmp_path / "pid"
    slow = Path(f"{marker}.slow")
    environment = {**os.environ, "PYTHONPATH": str(work_folder)}
    # A file's descriptors are no pipes that a surviving worker could hold open.
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        script = [sys.executable, "-c", textwrap.dedent(DRIVER), tmp_path / "results", marker]
        driver = subprocess.Popen(script, stdout=out, stderr=err, cwd="/", env=environment)
        try:
            wait_for(lambda: slow.exists() and slow.read_text(), driver)
            wait_for(lambda: read_ledger(tmp_path / "results").rows["f" * 16].status == "running", driver)
            worker = int(slow.read_text())
            assert alive(worker)
            driver.send_signal(how)
            driver.wait(timeout=60)
        finally:
            driver.kill()
            driver.wait()
    wait_for(lambda: not alive(worker))
    assert (tmp_path / "out").read_text() == ("saved\n" if how == signal.SIGINT else "")
    assert [row.status for row in read_ledger(tmp_path / "results").rows.values()] == ["ok", "ok", "ok", "infra", "running"]
    Store.open(tmp_path / "results").close()


def wait_for(condition, process=None):
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, "the driver ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ------------------------------------------------------------------ choosing
def test_an_unknown_executor_is_named_with_the_known():
    with pytest.raises(UsageError, match="unknown executor 'rya'. Did you mean 'ray'"):
        make_executor("rya")


def test_without_ray_the_error_names_the_other_executor(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BenchError, match="Ray is not installed.*--executor inline"):
        make_executor("ray")
    assert make_executor("inline").note


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"])
def test_an_address_where_nobody_listens_fails_at_once(address):
    script = f"from bench.schedule import *; RayExecutor(1, address={address!r}).run([Job('a')], 'x:y', on_event=print)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert f"no Ray cluster answers at {address}" in done.stderr


def test_a_job_is_described_by_json(work_folder):
    job = Job("a", {"value": 1.0})
    assert call("schedule_work:ok", json.loads(json.dumps(job.payload)))[0] == {"status": "ok"}


def test_a_cluster_that_does_not_start_is_told_with_a_cure():
    """Ray says so by a plain Exception."""

    calls = []

    def init(**settings):
        calls.append("init")
        raise Exception("The current node timed out during startup.")

    executor = RayExecutor(1)
    executor.ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: calls.append("shutdown"))
    with pytest.raises(BenchError, match=r"timed out during startup.*--executor inline"):
        executor.run([Job("a")], "bench.nothing:here", on_event=print)
    assert calls == ["init", "shutdown"] * 2 + ["init"]  # a busy machine may need more than one attempt
