"""Results folders -> audit: gathers stored cells, runs every part, writes tables, page and certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.audit.certificate import SHIPPED, as_text
from bench.audit.page import sections, verdict
from bench.audit.run import Audit, audit
from bench.audit.stored import StoredArms, stored_arms
from bench.driver.outputs import metric_outputs
from bench.errors import StoreError, UsageError
from bench.frame import ledger_frame, load_results
from bench.registry.registry import discover
from bench.report.files import report_markdown, table_csv, table_latex, table_markdown
from bench.report.html import page
from bench.report.study import build_study
from bench.union import recorded_suite

REFERENCE = Path("results/reference")
"""Whose folders are relabelled where none is named: those of the repository, from its root."""
TITLE = "metagan-bench"


def run_audit(
    results: Sequence[Path],
    output: Path,
    *,
    seed: int = 0,
    quick: bool = False,
    certify: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Audit:
    """Audit the harness and write ``output``: ``audit.html``, ``audit.md``, ``certificate.json`` and each table.

    Args:
        results: results folders whose cells are relabelled; default: those in :data:`REFERENCE`, where it exists.
        output: folder to write; files of equal names are replaced.
        seed: of every random stream.
        quick: few draws.
        certify: make this the certificate that ships with the package, which reports cite.
        say: told what is being done.

    Raises:
        StoreError: a results folder is none, or is damaged; or ``output`` cannot be made.
        UsageError: ``certify`` with ``quick``.
    """
    if certify and quick:
        raise UsageError("--certify needs a full audit: few draws prove little; leave out --quick")
    _make(output)
    stored = _stored(results or sorted(path.parent for path in REFERENCE.glob("*/suite.json")))
    found = audit(stored, seed=seed, quick=quick, say=say)
    contents = _contents(found)
    written = {output / name: text for name, text in contents.items()} | ({SHIPPED: contents["certificate.json"]} if certify else {})
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return found


def _make(folder: Path) -> None:
    """Before minutes of work: a place for their outcome."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: the audit cannot be written there ({error.strerror}); give another folder with --output") from error


def _stored(folders: Sequence[Path]) -> list[StoredArms]:
    outputs = metric_outputs(discover()) if folders else {}
    slices: list[StoredArms] = []
    for folder in folders:
        study = build_study(load_results(folder), ledger_frame(folder), recorded_suite(folder).to_dict(), outputs)
        slices += stored_arms(study, folder.resolve().name)
    return slices


def _contents(found: Audit) -> dict[str, str]:
    """Text of every file by its name."""
    parts = sections(found)
    contents = {
        "audit.html": page(TITLE, parts, kind="Audit of the harness", files=""),
        "audit.md": report_markdown(f"{TITLE}: audit of the harness", parts, partial=0),
        "certificate.json": as_text(found.certificate),
    }
    for table in (table for section in parts for table in section.tables):
        contents |= {f"{table.key}.csv": table_csv(table), f"{table.key}.md": table_markdown(table), f"{table.key}.tex": table_latex(table)}
    return contents


def verdict_text(found: Audit, output: Path) -> str:
    """A line for each check, then the verdict and where to read on."""
    lines = [
        f"{'pass' if check.passed else 'FAIL'}  {check.value:.3f} ({check.sense} {check.limit:.3f}, {check.allowance:.3f} for chance)  "
        f"{check.claim}"
        for check in found.checks
    ]
    return "\n".join([*lines, verdict(found), f"certificate {found.certificate['certificate']}; page: {output / 'audit.html'}"])
