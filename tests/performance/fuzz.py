"""Files from anywhere, by the hundred thousand: what reads suites and results must read them or refuse them by an error for users.

    OMP_NUM_THREADS=1 python tests/performance/fuzz.py --seconds 60

Each target of ``tests/fuzz/fuzz_targets.py`` runs for so many seconds in a process of its own. Where atheris is installed
(``pip install atheris``) its coverage of ``bench.store`` and ``bench.suite`` guides the changes; without it they are random. A fault is
any exception that is not meant for a user, a crash, or more than 2 GB of memory or 25 s for one input: its input is printed and the script
fails. Writes ``results/performance/fuzz.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "results" / "performance"
LARGEST = 1 << 16  # bytes of an input
SLOWEST_SECONDS, MOST_MEGABYTES = 25, 2048
GUIDED = importlib.util.find_spec("atheris") is not None
NAMES = ("suite.yaml", "suite.json", "ledger.jsonl", "segment", "samples.npz", "checkpoint", "identities.json")

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))


def guided(name: str, seconds: int) -> None:
    """Let libFuzzer run one target; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["bench.store", "bench.suite", "bench.frame"], enable_loader_override=False):
        import fuzz_targets
    target, examples = fuzz_targets.TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(examples()):
            (Path(corpus) / str(number)).write_bytes(content)
            fuzz_targets.attempt(target, content)  # what is loaded once
        limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", f"-timeout={SLOWEST_SECONDS}", f"-rss_limit_mb={MOST_MEGABYTES}"]
        atheris.Setup([sys.argv[0], *limits, corpus], counting(name, target))
        atheris.Fuzz()


def random_changes(name: str, seconds: int) -> None:
    """Run one target on random changes of its examples."""
    import fuzz_targets

    tell, inputs, read = counting(name, fuzz_targets.TARGETS[name][0]), fuzz_targets.random_inputs(name, seed=1), None
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        read = tell(inputs.send(read))


def counting(name: str, target: Callable[[bytes], None]) -> Callable[[bytes], bool]:
    """Calls the target and notes every second how many inputs were read and refused, since libFuzzer never returns."""
    import fuzz_targets

    counts, told = {"read": 0, "refused": 0}, [0.0]
    note = Path(os.environ["FUZZ_NOTE"])

    def attempt(content: bytes) -> bool:
        read = fuzz_targets.attempt(target, content)
        counts["read" if read else "refused"] += 1
        if time.monotonic() - told[0] > 1:
            told[0] = time.monotonic()
            note.write_text(json.dumps(counts))
        return read

    return attempt


def run(name: str, seconds: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own."""
    memory = Path("/dev/shm")  # a file system in memory, where there is one: there nothing waits for a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        note = Path(place) / "note"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, "--target", name, "--seconds", str(seconds)],
            env={**os.environ, "FUZZ_NOTE": str(note), "TMPDIR": place},  # libFuzzer ends its process without cleaning up
            cwd=place,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name}: a fault\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        counts = json.loads(note.read_text())
    covered = re.findall(r"cov: (\d+)", done.stderr)
    return {"target": name, **counts, "branches": covered[-1] if covered else "", "seconds": round(time.monotonic() - began)}


def write(rows: list[dict[str, Any]]) -> None:
    """Store the table as CSV and Markdown."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "fuzz.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    total = sum(row["read"] + row["refused"] for row in rows)
    how = f"by atheris {version('atheris')}, guided by coverage" if GUIDED else "at random"
    lines = [
        "# Files from anywhere",
        "",
        f"{total:,} files, made of valid ones by changes that were chosen {how}; made by `tests/performance/fuzz.py`.",
        f"Each was read, or refused with an error for users, within {SLOWEST_SECONDS} s and {MOST_MEGABYTES} MB; anything else would have",
        "failed the script. After each ledger a driver went on with it.",
        "",
        "| file | read | refused | branches met | seconds |",
        "|---|---|---|---|---|",
        *(f"| {row['target']} | {row['read']:,} | {row['refused']:,} | {row['branches'] or '-'} | {row['seconds']} |" for row in rows),
    ]
    (RESULTS / "fuzz.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=NAMES, help="this one alone, in this process; stores nothing")
    options = parser.parse_args()
    if options.target:
        os.environ.setdefault("FUZZ_NOTE", os.devnull)
        (guided if GUIDED else random_changes)(options.target, options.seconds)
        return
    write([run(name, options.seconds) for name in NAMES])


if __name__ == "__main__":
    main()
