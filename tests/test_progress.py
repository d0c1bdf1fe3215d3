"""What a user sees while cells run."""

import io
from types import SimpleNamespace

import pytest

from bench.driver.progress import Progress, spell_seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


def trial(name, label="reptile"):
    cell = {"task_distribution": "rings", "gan_loss": "hinge", "arm": label}
    return SimpleNamespace(trial_id=name, arm=label, replicate=0, cell=lambda: cell)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (42, "42 s"), (300, "5 min"), (7200, "2.0 h")])
def test_durations_in_words(seconds, words):
    assert spell_seconds(seconds) == words


def test_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    with Progress(2, {"a": 10.0, "b": 10.0}, slots=1, stream=stream) as progress:
        for name, row in (("a", {"status": "ok", "seconds": 1.5}), ("b", {"status": "failed", "reason": "no data"})):
            progress.started(trial(name))
            progress.finished(trial(name), row)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("[1/2] ok rings hinge reptile replicate 0 1.5 s · about ")
    assert second == "[2/2] failed rings hinge reptile replicate 0: no data · done"


def test_faster_cells_than_expected_shorten_the_rest():
    progress = Progress(2, {"a": 1000.0, "b": 1000.0}, slots=1, stream=io.StringIO())
    before = progress.remaining()
    progress.started(trial("a"))
    progress.finished(trial("a"), {"status": "ok"})
    assert (before, progress.remaining()) == ("about 33 min left", "about 3 min left")


def test_labels_are_no_markup_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(2, {}, slots=1, stream=stream) as progress:
        progress.started(trial("a", label="[/nonsense]"))
        progress.finished(trial("a", label="[/nonsense]"), {"status": "ok"})
    assert "[/nonsense]" in stream.getvalue()
