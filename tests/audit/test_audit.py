"""The whole audit, with few draws, from the command line."""

import json

import numpy as np
import pytest

from bench.audit import run as module
from bench.audit.designs import Design
from bench.audit.run import Effort, audit
from bench.audit.stored import StoredArms
from bench.cli import main
from bench.driver import auditing


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(module, "FULL", Effort(4, 1, 5))
    monkeypatch.setattr(module, "QUICK", Effort(2, 1, 5))
    monkeypatch.setattr(module, "DESIGNS", (Design(3, 6),))
    monkeypatch.setattr("bench.audit.collapse.NAMED_TASKS", (3,))
    values = Design(5, 8).draw(np.random.default_rng(0), arms=3)[0]
    monkeypatch.setattr(auditing, "_stored", lambda folders: [StoredArms("fewshot", "glyphs", "energy", ("a", "b", "c"), values, {})])


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    path = tmp_path / "shipped.json"
    monkeypatch.setattr(auditing, "SHIPPED", path)
    return path


def run(capsys, *arguments):
    code = main(["audit", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_writes_page_tables_and_certificate_and_repeats_itself(tmp_path, capsys, shipped):
    first, second = tmp_path / "first", tmp_path / "second"
    codes = [run(capsys, "--output", folder)[0] for folder in (first, second)]
    assert codes[0] == codes[1] in (0, 1)  # four draws prove nothing either way
    names = {path.name for path in first.iterdir()}
    tables = ("checks", "relabelled-new-tasks", "relabelled-these-tasks", "halves", "coverage", "errors", "power", "collapse", "naming")
    assert {"audit.html", "audit.md", "certificate.json"} | {f"{t}.{end}" for t in tables for end in ("csv", "md", "tex")} <= names
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert not shipped.exists()


def test_the_exit_code_tells_whether_every_check_passed(tmp_path, capsys, monkeypatch, shipped):
    for check in ("permuted", "coverage", "error", "power", "naming"):
        monkeypatch.setattr(module, f"{check}_checks", lambda table: [])
    code, out, _ = run(capsys, "--output", tmp_path)
    assert (code, "All 0 checks pass" in out) == (0, True)
    from bench.audit.checks import Check

    monkeypatch.setattr(module, "power_checks", lambda table: [Check("k", "it holds", 0.5, "at least", 0.8, 0.1, 9)])
    code, out, _ = run(capsys, "--output", tmp_path)
    assert code == 1
    assert "FAIL  0.500 (at least 0.800, 0.100 for chance)  it holds" in out


def test_json_is_the_certificate_and_certify_ships_it(tmp_path, capsys, shipped):
    _, out, _ = run(capsys, "--output", tmp_path / "out", "--certify", "--json")
    assert json.loads(out) == json.loads(shipped.read_text()) == json.loads((tmp_path / "out" / "certificate.json").read_text())


def test_a_quick_audit_certifies_nothing(tmp_path, capsys, shipped):
    code, _, err = run(capsys, "--output", tmp_path / "out", "--certify", "--quick")
    assert code == 4
    assert "full audit" in err
    assert not shipped.exists()


def test_an_output_that_is_a_file_is_refused(tmp_path, capsys, shipped):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "--output", tmp_path / "file")
    assert code == 4
    assert "cannot be written" in err


def test_another_seed_draws_other_numbers_and_a_quick_audit_says_so():
    found = [audit([], seed=seed, quick=True) for seed in (0, 1)]
    for name in ("coverage", "collapse"):
        assert not found[0].tables[name].equals(found[1].tables[name])
    assert found[0].certificate["quick"] is True


def test_the_page_says_what_failed_and_what_it_is_about(tmp_path, capsys, shipped):
    run(capsys, "--output", tmp_path, "--quick")
    page = (tmp_path / "audit.html").read_text()
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert certificate["certificate"] in page
    assert "quick audit" in page
    failed = [check["key"] for check in certificate["checks"] if not check["passed"]]
    assert (f"{len(failed)} of" in page) if failed else ("checks pass" in page)
