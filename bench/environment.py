"""Where a trial ran: versions, processor, system and commit, without naming a machine or a person.

Versions come from distribution metadata, so the record costs no import of torch or ray.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ("metagan-bench", "torch", "torchvision", "ray", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn")
_LIMIT_SECONDS = 10  # a hanging driver or network file system must not hold up a suite

# An absolute path: not after a word, a dot, a colon or a slash, so "n/a", "./x" and URLs stay as they are.
_POSIX_FOLDER = re.compile(r"(?<![\w.:/~])~?(?:/[\w.+@~-]+)+/(?=[\w.+~-])")
_WINDOWS_FOLDER = re.compile(r"\b[A-Za-z]:(?:\\[\w.+@~ -]+)+\\(?=[\w.+~-])")


def environment_record(plugins: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything about this machine that can change a number, as a JSON-able mapping.

    Args:
        plugins: plugin distribution -> its version and content hash, as the registry states them.

    Returns:
        ``python``, ``versions``, ``plugins``, ``system``, ``processor``, ``cores``, ``gpus``, ``gpu_driver``,
        ``commit`` and ``dirty`` (None outside a git repository). No host, user or path.
    """
    commit, dirty = git_state()
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version for name in DISTRIBUTIONS if (version := _version(name)) is not None},
        "plugins": dict(sorted((plugins or {}).items())),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "processor": _processor(),
        "cores": _cores(),
        "gpus": _gpus(),
        "gpu_driver": _gpu_driver(),
        "commit": commit,
        "dirty": dirty,
    }


def environment_hash(record: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that depend on the record's content only."""
    return hashlib.blake2b(json.dumps(record, sort_keys=True, separators=(",", ":")).encode(), digest_size=16).hexdigest()


def git_state(folder: Path | None = None) -> tuple[str | None, bool | None]:
    """Commit of the repository that holds ``folder`` (default: the current one), and whether tracked files differ from it."""
    commit = _answer(["git", "rev-parse", "--verify", "HEAD"], folder)
    if commit is None:
        return None, None
    changes = _answer(["git", "status", "--porcelain", "--untracked-files=no"], folder)
    return commit, None if changes is None else bool(changes)


def anonymise(text: str) -> str:
    """``text`` without folders of this machine, its host name and the user's name.

    A path below an import folder keeps the part that names the module (``bench/trial.py``); any other absolute path
    keeps its last component.
    """
    for folder in sorted(_import_folders(), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.:/~-]){re.escape(folder + os.sep)}", "", text)
    text = _WINDOWS_FOLDER.sub("", _POSIX_FOLDER.sub("", text))
    for name, stand_in in ((socket.gethostname(), "<host>"), (_user(), "<user>")):
        # Short names ("pc", "ml") and those of service accounts are ordinary words.
        if len(name) > 4 and name != "localhost":
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", stand_in, text)
    return text


def _import_folders() -> set[str]:
    folders = {sys.prefix, *(entry for entry in sys.path if os.path.isabs(entry))}
    with contextlib.suppress(OSError):  # the current folder may have been deleted
        folders.add(os.getcwd())
    return {folder for folder in folders if len(folder) > 1}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return ""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Processor", "cpu model"}:
            return " ".join(value.split())
    if sys.platform == "darwin":
        return _answer(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    names = [
        line.partition(":")[2].strip()
        for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        for line in _lines(card)
        if line.startswith("Model:")
    ]
    if not names and shutil.which("nvidia-smi"):
        names = (_answer(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]) or "").splitlines()
    return names


def _gpu_driver() -> str | None:
    for line in _lines(Path("/proc/driver/nvidia/version")):
        found = re.search(r"Kernel Module.*?(\d+(?:\.\d+)+)", line)
        if found:
            return found.group(1)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _answer(command: list[str], folder: Path | None = None) -> str | None:
    """Standard output of a command, or None where it is missing, slow or unhappy."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
