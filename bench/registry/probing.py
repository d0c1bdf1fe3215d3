"""Records of plugins: asked for in a subprocess, kept on disk until the plugin's files change.

Also the content hashes that decide this. A cache that is lost, damaged or read-only costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import site
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from bench.errors import DataError, SuiteError
from bench.registry.local import LocalFile
from bench.registry.sources import Roots, normalised_hash

PROBE_TIMEOUT = 60.0  # seconds without those in which it waits for a processor; importing torch takes two to ten
MOST_PATIENCE = 10  # times the time-out, however long it waits for a processor
DATA_TIMEOUT = 600.0  # seconds; hashing a folder of 100,000 images from a network disk takes minutes
NO_DATA = 64 * "0"  # everything is in the code
RETRY_AFTER = 3600.0  # seconds; what failed once may have failed for a passing reason (busy machine, missing driver)

_NUMERIC = ("game", "measure", "trial", "episodes.py", "seeds.py", "trees.py", "contracts.py", "grid/tuning.py")
_PROBING = (
    "contracts.py",
    "hookspecs.py",
    "registry/global_state.py",
    "registry/hyperparameters.py",
    "registry/loading.py",
    "registry/local.py",
    "registry/missing.py",
    "registry/probe.py",
    "registry/sources.py",
    "suite/constraints.py",
)
_BENCH = Path(__file__).parent.parent


def owner_of(point: EntryPoint | LocalFile) -> str:
    """Name of the distribution behind an entry point."""
    return point.dist.name if point.dist else ""


# ------------------------------------------------------------------ hashes
def files_of(roots: Roots) -> list[Path]:
    """Every file of a distribution's packages, without caches and hidden folders."""
    found: list[Path] = []
    for root in roots.values():
        if root.is_file():
            found.append(root)
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
            found += [Path(folder, name) for name in sorted(names) if not name.endswith(".pyc")]
    return found


def content_hash(roots: Roots) -> str:
    """SHA-256 over the Python files of a distribution, and over names and sizes of its data files."""

    def compute() -> str:
        digest = sha256()
        for name, root in sorted(roots.items()):
            for path in files_of({name: root}):
                digest.update(f"{name}/{path.relative_to(root)}:{path.stat().st_size}\n".encode())
                digest.update(path.read_bytes() if path.suffix == ".py" else b"")
        return digest.hexdigest()

    return _unless_touched("content", files_of(roots), compute)


@functools.cache
def bench_numeric_hash() -> str:
    """AST-normalised hash of bench's own modules that can change a number."""
    files = [path for part in _NUMERIC for path in files_of({part: _BENCH / part}) if path.suffix == ".py"]
    named = [(path.relative_to(_BENCH).as_posix(), path) for path in files]
    return _unless_touched("numeric", files, lambda: normalised_hash(named))


def _unless_touched(kind: str, files: Iterable[Path], compute: Callable[[], str]) -> str:
    """What ``compute`` returned when the files last had these sizes and modification times."""
    seen = sha256(kind.encode())
    for path in files:
        facts = path.stat()
        seen.update(f"{path}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    place = cache_folder() / "hashes" / seen.hexdigest()
    try:
        known = place.read_text(encoding="ascii")
        if len(known) == 64:
            return known
    except (OSError, ValueError):
        pass
    digest = compute()
    _keep(place, digest)
    return digest


# ------------------------------------------------------------------ data
def data_fingerprint(
    content: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    plugins: Iterable[str],
    local: Iterable[LocalFile] = (),
    timeout: float = DATA_TIMEOUT,
) -> str:
    """``fingerprint()`` of the task distribution ``name``, taken in a subprocess unless code, parameters and data files are unchanged.

    Args:
        content: content hash of its plugin, and of those whose task distributions it wraps.
        name: component of the family ``task_distributions``.
        parameters: its hyperparameters; those that are paths, and ``BENCH_DATA``, are where data may change.
        plugins: entry points that the subprocess may use, so that it need not ask the broken ones again.
        local: local plugins that it may use.
        timeout: seconds for reading the data.

    Raises:
        DataError: the data are missing or damaged, or reading them takes too long; SuiteError: the hyperparameters break a rule.
    """
    texts = (*_texts(parameters), os.environ.get("BENCH_DATA") or "")
    places = [text for text in texts if text and Path(text).exists()]
    files = files_of({place: Path(place).resolve() for place in places})

    def compute() -> str:
        answer = _ask(name, parameters, "fingerprint", plugins, local, timeout)
        return sha256(answer.encode()).hexdigest() if answer else NO_DATA

    spelling = json.dumps([name, parameters], sort_keys=True)
    digest = _unless_touched(f"data {content} {_probing_hash()} {os.environ.get('BENCH_DATA', '')} {spelling}", files, compute)
    return "" if digest == NO_DATA else digest


def _texts(value: Any) -> Iterator[str]:
    """Every text among the values of nested hyperparameters."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def sample_spec(
    content: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    plugins: Iterable[str],
    local: Iterable[LocalFile] = (),
    timeout: float = DATA_TIMEOUT,
) -> dict[str, Any]:
    """The fields of the ``sample_spec`` of the task distribution ``name``, taken in a subprocess unless its code is unchanged.

    Arguments as of :func:`data_fingerprint`; what samples look like follows from code and hyperparameters alone.

    Raises:
        DataError: it cannot be made; SuiteError: the hyperparameters break a rule.
    """
    seen = sha256(json.dumps([content, _probing_hash(), name, parameters], sort_keys=True).encode()).hexdigest()
    place = cache_folder() / "specs" / f"{seen}.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(known, dict) and "kind" in known:
            return known
    answer: dict[str, Any] = _ask(name, parameters, "sample_spec", plugins, local, timeout)
    _keep(place, json.dumps(answer))
    return answer


def _ask(name: str, parameters: Mapping[str, Any], asked: str, plugins: Iterable[str], local: Iterable[LocalFile], timeout: float) -> Any:
    spelling = json.dumps([name, parameters], sort_keys=True)
    usable = ("--plugins", ",".join(plugins), "--local", json.dumps([file.to_dict() for file in local]))
    answer = isolated("bench.registry.fingerprint", spelling, "--asked", asked, *usable, timeout=timeout)
    if isinstance(answer, str):
        raise DataError(f"task distribution {name!r}: reading its data {answer}")
    if answer["rule"]:
        raise SuiteError(f"task_distributions: {name}: {answer['error']}")
    if answer["error"]:
        raise DataError(f"task distribution {name!r}: {answer['error']}")
    return answer["answer"]


# ------------------------------------------------------------------ probing and its cache
def cache_folder() -> Path:
    """``$BENCH_CACHE_DIR``, ``$XDG_CACHE_HOME/bench`` or ``~/.cache/bench``."""
    if os.environ.get("BENCH_CACHE_DIR"):
        return Path(os.environ["BENCH_CACHE_DIR"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bench"


def _keep(place: Path, text: str) -> None:
    """Write atomically; a cache that cannot be written costs time, nothing else."""
    partial = place.with_name(f"{place.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, place)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()


def record_of(point: EntryPoint | LocalFile, content: str, *, timeout: float = PROBE_TIMEOUT, refresh: bool = False) -> dict[str, Any]:
    """What the probe says about a plugin whose files have the hash ``content``, from the cache where it may be trusted."""
    factors = [point.name, point.value, owner_of(point), point.dist.version if point.dist else "", content, _probing_hash()]
    place = cache_folder() / "probes" / f"{sha256(json.dumps(factors).encode()).hexdigest()}.json"
    surroundings = _surroundings()
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        if not kept["record"].keys() >= {"status", "reason", "components", "broken", "lacking", "observers"}:
            raise KeyError("record")
        # A failure may lie in what the plugin needs rather than in the plugin: ask again once anything was installed.
        fresh = kept["surroundings"] == surroundings and 0 <= time.time() - kept["time"] < RETRY_AFTER
        record = kept["record"]
        if not refresh and (fresh or (record["status"] == "ok" and not record["broken"] and not record["lacking"])):
            return dict(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    record = _probe(point, timeout)
    _keep(place, json.dumps({"record": record, "surroundings": surroundings, "time": time.time()}))
    return record


@functools.cache
def _probing_hash() -> str:
    """Everything besides the plugin that decides what its probe says."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = ""
    digest = sha256(f"{platform.python_implementation()} {platform.python_version()} {torch}".encode())
    for name in _PROBING:
        digest.update((_BENCH / name).read_bytes())
    return digest.hexdigest()


def _surroundings() -> str:
    """Changes when something is installed or removed."""
    # The current folder changes with every result written into it, and its place on the path says nothing.
    folders = {Path(entry).resolve() for entry in sys.path if entry and Path(entry).is_dir()} - {Path.cwd()}
    return sha256("\n".join(sorted(f"{folder}:{folder.stat().st_mtime_ns}" for folder in folders)).encode()).hexdigest()


def _probe(point: EntryPoint | LocalFile, timeout: float) -> dict[str, Any]:
    named = (str(point.path),) if isinstance(point, LocalFile) else (point.name, "--distribution", owner_of(point))
    answer = isolated("bench.registry.probe", *named, timeout=timeout)
    return answer if isinstance(answer, dict) else unusable("quarantined", f"its probe {answer}")


def unusable(status: str, reason: str) -> dict[str, Any]:
    """The record of a plugin that cannot be used: quarantined, or unavailable."""
    return {"status": status, "reason": reason, "components": [], "broken": [], "lacking": [], "observers": []}


def isolated(module: str, *arguments: str, timeout: float) -> dict[str, Any] | str:
    """Run ``python -m module ... --output FILE`` and return the JSON object it wrote, or what became of it.

    It gets no input, a folder of its own and a process group that does not outlive it or the time-out.
    """
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as folder:
        output, log = Path(folder, "record.json"), Path(folder, "log")
        command = [sys.executable, "-P", "-m", module, *arguments, "--output", str(output)]
        with log.open("wb") as writing:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env=_environment(),
                cwd=folder,
                start_new_session=True,
            )
            try:
                code = _wait(process, timeout)
            finally:
                _end(process)
            reason = f"took more than {timeout:g} s" if code is None else f"ended with exit code {code} before it could report"
        try:
            return dict(json.loads(output.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            last = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-1:]
            return ": ".join([reason, *last])


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Its exit code, None where it takes longer; on a busy machine the seconds that it waits for a processor do not count."""
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < min(timeout + _seconds_waiting(process.pid), MOST_PATIENCE * timeout):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(1.0, max(0.1, timeout - elapsed)))
    return process.poll()


def _seconds_waiting(pid: int) -> float:
    """How long a process was ready to run and did not (Linux; elsewhere unknown, 0)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
    else:
        process.kill()
    process.wait()


def _environment() -> dict[str, str]:
    """The probe must see the modules and the data that this process sees, modules in the same order, and not the current folder."""
    usual = {*site.getsitepackages(), site.getusersitepackages(), *(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib"))}
    extra = [str(Path(entry or ".").resolve()) for entry in sys.path if entry not in usual and not entry.endswith((".zip", "lib-dynload"))]
    existing = [entry for entry in dict.fromkeys(extra) if Path(entry).exists()]
    data = os.environ.get("BENCH_DATA")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(existing),
        **({"BENCH_DATA": str(Path(data).expanduser().absolute())} if data else {}),
    }
