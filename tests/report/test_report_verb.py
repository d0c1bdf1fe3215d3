import json
import webbrowser
from pathlib import Path

import pytest

from bench import cli
from bench.driver import reporting, status
from bench.errors import ExitCode, StoreError


@pytest.fixture
def asked(monkeypatch):
    """What the verb asks of the report, which is not made."""
    calls = []

    def report(results, **settings):
        calls.append((results, settings))
        return [results[0] / "report.html", results[0] / "report" / "answer.md"]

    monkeypatch.setattr(reporting, "report", report)
    return calls


def test_formats_and_axis_are_handed_on(asked, capsys):
    assert cli.main(["report", "somewhere", "--format", "md, latex,md", "--x", "flops"]) == ExitCode.OK
    assert asked == [([Path("somewhere")], {"output": None, "formats": ("md", "latex"), "x": "flops"})]
    assert capsys.readouterr().out.splitlines() == ["somewhere/report.html", "1 tables and figures in somewhere/report"]


def test_every_format_is_written_unless_asked_otherwise(asked):
    cli.main(["report", "somewhere"])
    assert asked[0][1]["formats"] is None


def test_an_unknown_format_is_a_usage_error_that_names_the_known_ones(capsys):
    from bench.report import FORMATS, write_report

    with pytest.raises(Exception, match="unknown report format 'htlm'") as caught:
        write_report(Path(), frame=None, suite={}, ledger=None, metric_outputs={}, provenance={}, formats=("htlm",))
    assert caught.value.exit_code == ExitCode.USAGE
    assert all(name in str(caught.value) for name in FORMATS)


def test_watching_writes_until_no_cell_is_left(asked, monkeypatch, capsys):
    left, pauses = [2, 1, 0], []
    monkeypatch.setattr(status, "unfinished", lambda results: left.pop(0))
    monkeypatch.setattr("time.sleep", pauses.append)
    assert cli.main(["report", "somewhere", "--watch", "--json"]) == ExitCode.OK
    assert len(asked) == 3  # the last one after the last cell has ended
    assert pauses == [cli.REPORT_SECONDS] * 2
    out, err = capsys.readouterr()
    assert [json.loads(line)[0] for line in out.splitlines()] == ["somewhere/report.html"] * 3
    assert "2 cells to come" in err


def test_leaving_a_watch_is_an_interruption(asked, monkeypatch):
    def leave(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "unfinished", lambda results: 1)
    monkeypatch.setattr("time.sleep", leave)
    assert cli.main(["report", "somewhere", "--watch"]) == ExitCode.INTERRUPTED
    assert len(asked) == 1


def test_a_watch_of_no_results_folder_says_so(tmp_path):
    with pytest.raises(StoreError):
        status.unfinished(tmp_path / "nothing")


@pytest.mark.parametrize("there", [True, False])
def test_open_shows_the_page_or_says_where_it_is(asked, monkeypatch, capsys, there):
    shown = []
    monkeypatch.setattr(webbrowser, "open", lambda url: (shown.append(url), there)[1])
    assert cli.main(["report", "somewhere", "--open"]) == ExitCode.OK
    page = (Path("somewhere") / "report.html").resolve()
    assert shown == [page.as_uri()]
    assert (f"no browser here; open {page}" in capsys.readouterr().err) is not there


def test_open_without_the_page_is_refused(asked, capsys):
    assert cli.main(["report", "somewhere", "--open", "--format", "csv"]) == ExitCode.USAGE
    assert "add html" in capsys.readouterr().err
    assert asked == []
