"""The connection to Ray: a cluster of this machine for one run, or one that is there already. Imports Ray when asked, never before."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError

_OBJECT_STORE_BYTES = 256 << 20  # only measurement rows travel; Ray's default would reserve a third of the memory
_CONNECT_SECONDS = 10
_START_ATTEMPTS = 3  # a node gives up where its parts do not answer each other within 15 s, as on a busy machine
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def import_ray() -> Any:
    """The module.

    Raises:
        BenchError: it is not installed.
    """
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.exceptions")
        importlib.import_module("ray.util.placement_group")
        importlib.import_module("ray.util.scheduling_strategies")
    except ImportError as error:
        raise BenchError(f"Ray is not installed or does not import ({error}); pip install 'ray>=2.50', or use --executor inline") from error
    return ray


@contextlib.contextmanager
def connected(ray: Any, address: str | None, slots: int) -> Iterator[None]:
    """A connection; one that was there before is used as it is and left open.

    Ray's token authentication stays as Ray sets it, which is on for a cluster of this machine; its dashboard stays off.

    Args:
        ray: the module.
        address: a running cluster (``auto``, ``host:port``, ``ray://...``); None starts one on this machine and ends it afterwards.
        slots: for how many workers a cluster of this machine needs room.

    Raises:
        BenchError: it can't be reached or started.
    """
    if ray.is_initialized():
        yield
        return
    _check_reachable(address)
    where: dict[str, Any] = {"address": address}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a benchmark does not report to anyone
        cores = max(slots, os.cpu_count() or 1)
        where = {"address": "local", "num_cpus": cores, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    _init(ray, where, attempts=_START_ATTEMPTS if address is None else 1)
    _mute_raylet()
    try:
        yield
    finally:
        ray.shutdown()


def _init(ray: Any, where: dict[str, Any], *, attempts: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about options of Ray's next versions: nothing that a user of bench could act on
        for left in reversed(range(attempts)):
            try:
                ray.init(**where, log_to_driver=False, logging_level="CRITICAL")
                return
            except Exception as error:  # Ray raises plain Exceptions, too, such as for a node that takes too long to start
                if left:
                    ray.shutdown()
                    continue
                place = "a Ray cluster on this machine" if where["address"] == "local" else f"a Ray cluster at {where['address']}"
                cure = "check --address, try again when the machine is less busy, or use --executor inline"
                raise BenchError(f"cannot reach {place} ({error}); {cure}") from error


def worker_environment(*, gpus: bool) -> dict[str, str]:
    """Variables of a worker: one thread, GPUs only where it has a share, and what the user set for bench."""
    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # Ray's next versions leave this to its user
    given = {name: value for name, value in os.environ.items() if name.startswith("BENCH_") or name == "CUBLAS_WORKSPACE_CONFIG"}
    return {**given, **hidden, **_import_path(), **dict.fromkeys(_THREADS, "1")}


def _check_reachable(address: str | None) -> None:
    """Fail within seconds where nobody listens; Ray itself goes on trying for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise BenchError(f"no Ray cluster answers at {address} ({error}); check --address, or use --executor inline") from error


def _import_path() -> dict[str, str]:
    """What this process can import beyond its Python installation, so that a worker can, too: a script's folder, PYTHONPATH."""
    installed = tuple(str(Path(prefix)) + os.sep for prefix in (sys.prefix, sys.base_prefix))
    added = [entry for entry in sys.path if os.path.isabs(entry) and not entry.startswith(installed)]
    return {"PYTHONPATH": os.pathsep.join(added)} if added else {}


def _mute_raylet() -> None:
    """Keep Ray's notes on dead workers off standard output, which belongs to ``--json``; each death has its event here."""
    with contextlib.suppress(ImportError):  # Ray has no public switch for these notes
        vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False
