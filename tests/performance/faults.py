"""Every fault test, the long ones included, and a table of what came out.

    python tests/performance/faults.py

A few minutes on two cores; those that mount file systems need root and are skipped without. Writes ``results/performance/faults.md``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "performance" / "faults.md"
FILES = ("tests/faults", "tests/test_drivers.py", "tests/test_store.py", "tests/test_schedule.py")


def main() -> int:
    """Run the tests and store the table."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "outcomes.xml"
        command = [sys.executable, "-m", "pytest", "-m", "faults or faults_full", f"--junit-xml={outcomes}", *sys.argv[1:], *FILES]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        cases = list(ElementTree.parse(outcomes).getroot().iter("testcase"))
    lines = [
        "# Faults",
        "",
        "Killed, stopped, hung and starved processes, full and damaged disks; made by `tests/performance/faults.py`. After each the same",
        "command finishes, every planned cell has one row, and the numbers are those of an undisturbed run.",
        "",
        "| what | outcome | seconds |",
        "|---|---|---|",
    ]
    for case in cases:
        found = {child.tag: child.get("message", "") for child in case}
        outcome = "failed" if found.keys() & {"failure", "error"} else f"skipped: {found['skipped']}" if "skipped" in found else "passed"
        what = str(case.get("name")).removeprefix("test_").replace("_", " ").replace("|", "/")
        lines.append(f"| {what} | {outcome} | {float(case.get('time', 0)):.1f} |")
    RESULT.write_text("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
