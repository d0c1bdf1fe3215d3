"""Workers and nodes of a Ray cluster that die, hang, run out of memory or answer garbage, in one session that the tests share."""

import os
import signal
import threading
import warnings
from collections import Counter

import pytest
from fault_runs import CELLS, assert_finished, lines, wait_for

from bench.errors import ExitCode
from bench.store import read_ledger

# Ray leaves sockets and files of its own to the garbage collector, and announces changes of its next versions.
pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster():
    """A head and a second node, one core each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = _patiently(lambda: Cluster(initialize_head=True, head_node_args=node))
        started.second = started.add_node(**{name: value for name, value in node.items() if name != "include_dashboard"})
        ray.init(address=started.address, log_to_driver=False, logging_level="CRITICAL")
        yield started
        ray.shutdown()
        started.shutdown()


def _patiently(start):
    """Ray gives a node 30 s to start, which a busy machine exceeds."""
    for _ in range(2):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


def statuses(results):
    rows = read_ledger(results).planned()
    assert len(rows) == CELLS
    return Counter(row.status for row in rows.values())


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ("hang", "timeout", "killed at its limit of 8 s"),
        ("memory", "oom", "MemoryError"),
        ("garbage", "failed", "a row has no colour"),
    ],
)
def test_a_worker_that_hangs_eats_memory_or_answers_garbage_costs_its_cell_and_a_retry_mends_it(
    cluster, here, undisturbed, tmp_path, how, status, reason
):
    results, fault = tmp_path / "results", {"how": how, "marker": str(tmp_path / "marker")}
    limit = {"timeout": 8.0} if how == "hang" else {}
    assert here.run(results, fault=fault, executor="ray", jobs=2, **limit) == ExitCode.CELL_FAILED
    assert statuses(results) == {"ok": CELLS - 1, status: 1}
    (troubled,) = (row for row in read_ledger(results).planned().values() if row.status == status)
    assert reason in troubled.reason
    assert here.run(results, again=(status,)) == ExitCode.OK
    assert_finished(results, undisturbed)


def test_a_worker_that_is_killed_costs_nothing_but_time(cluster, here, undisturbed, tmp_path):
    results, marker = tmp_path / "results", tmp_path / "marker"

    def kill():
        wait_for(lambda: any(path.read_text() for path in results.glob("trials/*/pid")))
        (path,) = results.glob("trials/*/pid")
        os.kill(int(path.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert here.run(results, fault={"how": "wait", "marker": str(marker)}, executor="ray", jobs=2) == ExitCode.OK
    killer.join()
    assert max(row.attempts for row in read_ledger(results).rows.values()) == 2
    assert_finished(results, undisturbed)


def test_a_node_that_dies_with_all_its_processes_costs_nothing_but_time(cluster, here, undisturbed, tmp_path):
    """The last test of this session, which has one node less after it."""
    results, log = tmp_path / "results", tmp_path / "log"

    def kill():
        wait_for(lambda: len({line.split()[1] for line in lines(log)}) == 2 and len(lines(log)) >= 4)  # both nodes are at work
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert here.run(results, fault={"seconds": 1.0, "log": str(log)}, executor="ray", jobs=2) == ExitCode.OK
    killer.join()
    assert_finished(results, undisturbed)
