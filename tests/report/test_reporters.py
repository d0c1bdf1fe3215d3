"""Reporter plugins: what they say stands in the report as text, and what they raise harms nothing."""

from types import SimpleNamespace

import pandas as pd
import pytest

from bench.driver.reporting import _told
from bench.report import Told
from bench.report.files import report_markdown, table_csv
from bench.report.html import page
from bench.report.sections import reported

FRAME = pd.DataFrame({"arm": ["reptile", "maml"], "value": [1.0, 2.0]})
HOSTILE = "<script>parent.pwned = true</script>\n\n| <b>a</b> | b |\n|---|---:|\n| <img src=x onerror=alert(1)> | 3 |\n"


class Offers:
    """The part of a registry that reporting uses."""

    def __init__(self, **reporters):
        self.reporters = reporters

    def names(self, family):
        return tuple(self.reporters) if family == "reporters" else ()

    def component(self, family, name):
        return SimpleNamespace(origin="bench-words 0.1")

    def create(self, family, name):
        return self.reporters[name]


def test_a_reporter_is_given_the_frame_and_its_markdown_is_kept():
    assert _told(Offers(count=lambda frame: f"{len(frame)} rows"), FRAME) == [Told("count", "bench-words 0.1", "2 rows")]


def test_what_a_reporter_does_to_its_frame_stays_with_it():
    def greedy(frame):
        frame.loc[:, "value"] = -1.0
        frame["more"] = 0
        return ""

    _told(Offers(greedy=greedy), FRAME)
    assert FRAME.to_dict("list") == {"arm": ["reptile", "maml"], "value": [1.0, 2.0]}


def test_a_reporter_that_raises_is_named_and_the_next_one_speaks():
    def broken(frame):
        raise ValueError("no numbers")

    first, second = _told(Offers(broken=broken, fine=lambda frame: "fine"), FRAME)
    assert first.failed
    assert "Reporter 'broken' of bench-words 0.1 raised ValueError: no numbers" in first.text
    assert second == Told("fine", "bench-words 0.1", "fine")


@pytest.mark.parametrize("ending", [SystemExit(3), TypeError("x")])
def test_leaving_or_wrong_types_are_told_too(ending):
    def leaves(frame):
        raise ending

    (told,) = _told(Offers(leaves=leaves), FRAME)
    assert told.failed
    assert type(ending).__name__ in told.text


def test_an_answer_that_is_no_text_is_told():
    (told,) = _told(Offers(number=lambda frame: 3), FRAME)
    assert told.failed
    assert "returns Markdown as str, got int" in told.text


def test_a_section_named_after_component_and_plugin_holds_text_tables_and_warnings():
    told = Told("words", "bench-words 0.1", HOSTILE), Told("broken", "bench-words 0.1", "it raised", failed=True)
    sections = [*map(reported, told)]
    text = page("suite", sections)
    assert '<section id="reporter-words">\n<h2>words, from bench-words 0.1</h2>' in text
    assert "&lt;script&gt;parent.pwned = true&lt;/script&gt;" in text
    assert text.count("<script") == 1
    assert "<img" not in text
    assert '<p class="warning">it raised</p>' in text
    (table,) = sections[0].tables
    assert table_csv(table) == "<b>a</b>,b\n<img src=x onerror=alert(1)>,3\n"
    assert r"\<script\>" in report_markdown("suite", sections, partial=0)
