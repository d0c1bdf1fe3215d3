"""Certificates: equal for equal outcomes, and a report says passed only of the code that was audited."""

import json
from pathlib import Path

import pytest

from bench.audit import certificate as module
from bench.audit.certificate import as_text, certificate, code_hash, statement
from bench.audit.checks import Check
from bench.driver.reporting import report

GOOD = Check("good", "it holds", 0.04, "at most", 0.05, 0.01, 100)
BAD = Check("bad", "it does not", 0.07, "at most", 0.05, 0.01, 100)


def made(*checks, **changes):
    return certificate(checks, **({"seed": 0, "quick": False, "stored": ["fewshot"]} | changes))


@pytest.fixture
def stored(tmp_path):
    def writing(content):
        path = tmp_path / "certificate.json"
        path.write_text(content if isinstance(content, str) else as_text(content))
        return path

    return writing


def test_equal_outcomes_have_equal_certificates_and_others_have_others():
    assert made(GOOD) == made(GOOD)
    names = {made(*checks, **changes)["certificate"] for checks, changes in (([GOOD], {}), ([BAD], {}), ([GOOD], {"seed": 1}))}
    assert len(names) == 3


def test_it_counts_checks_and_is_json_with_undefined_values():
    found = json.loads(as_text(made(GOOD, BAD, Check("nan", "undefined", float("nan"), "at least", 0.9, 0.0, 0))))
    assert (found["passed"], found["failed"]) == (1, 2)
    assert found["checks"][2]["value"] is None


def test_a_report_says_passed_of_the_audited_code_only(stored, monkeypatch):
    path = stored(made(GOOD, GOOD))
    assert statement(path).startswith("all 2 checks pass")
    monkeypatch.setattr(module, "code_hash", lambda: "0" * 64)
    assert statement(path).startswith("not audited at this version")


def test_a_failed_audit_is_said(stored):
    assert statement(stored(made(GOOD, BAD))).startswith("1 of 2 checks FAIL")


def test_an_edited_or_damaged_certificate_is_not_believed(stored):
    edited = made(GOOD, BAD) | {"failed": 0}
    for content in (edited, "{", "[]", "{}", '{"certificate": 1}'):
        assert "damaged or was edited" in statement(stored(content))


def test_without_a_certificate_the_code_is_not_audited(tmp_path):
    assert statement(tmp_path / "none.json").startswith("not audited")


def test_a_report_cites_the_shipped_certificate(monkeypatch):
    said = {}
    monkeypatch.setattr("bench.report.write_report", lambda results, **given: said.update(given["provenance"]) or [])
    report(Path(__file__).parents[2] / "results" / "reference" / "pacgan")
    assert said["audit of the statistics"] == statement()


def test_the_code_is_that_of_measures_and_statistics_without_comments(tmp_path, monkeypatch):
    package = tmp_path / "bench"
    for name in ("measure/a.py", "stats/b.py", "audit/certificate.py", "report/c.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(module, "__file__", str(package / "audit" / "certificate.py"))
    monkeypatch.setattr(module, "code_hash", code_hash.__wrapped__)
    first = module.code_hash()
    (package / "report" / "c.py").write_text("x = 2\n")
    (package / "stats" / "b.py").write_text('"""What it is."""\n\nx  =  1  # one\n')
    assert module.code_hash() == first
    (package / "stats" / "b.py").write_text("x = 2\n")
    assert module.code_hash() != first
