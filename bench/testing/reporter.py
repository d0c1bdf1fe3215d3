"""What every reporter owes its users."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import pandas as pd
import pytest

from bench.testing.contract import Contract, global_state_untouched
from bench.testing.small_run import small_frame

RUNS = {
    "whole": ("ok",),
    "with cells that failed": ("ok", "failed"),
    "with cells that diverged": ("diverged", "ok"),
    "without any that ended well": ("failed", "diverged", "timeout"),
    "half way": ("ok", "running", "planned"),
    "planned": ("planned",),
}
"""What a report may be made of: statuses of the cells, in turn."""

_TAG = re.compile(r"</?[a-zA-Z][^>\n]*>")
_BAR = re.compile(r"(?<!\\)\|")


class ReporterContract(Contract):
    """What every reporter owes its users. Give a fixture ``reporter``: what its factory makes."""

    @pytest.mark.parametrize("run", RUNS)
    def test_it_speaks_of_any_run(self, reporter: Any, run: str) -> None:
        """Cells may have failed, diverged, or not begun; none of that is an exception, and there is always something to say."""
        said = reporter(small_frame(*RUNS[run]))
        assert isinstance(said, str), f"a reporter returns Markdown as str, got {type(said).__name__}"
        assert said.strip(), f"it says nothing of a run {run}: say why there is nothing to show"

    @pytest.mark.parametrize("run", RUNS)
    def test_what_it_writes_is_shown_as_it_is_meant(self, reporter: Any, run: str) -> None:
        """HTML is shown as text, so there is none; a row of a table has as many cells as its head."""
        said = reporter(small_frame(*RUNS[run]))
        assert not _TAG.search(said), f"reports show HTML as text: {_TAG.search(said)}"
        for in_table, lines in groupby(said.splitlines(), key=lambda line: line.strip().startswith("|")):
            bars = {len(_BAR.findall(line)) for line in lines} if in_table else set()
            assert len(bars) < 2, r"a row of a table has a cell too few or too many; write | in a cell as \|"

    def test_it_is_nothing_but_its_settings(self, reporter: Any) -> None:
        """The same frame is told in the same words, stays as it is, and nothing that other components share is touched."""
        frame = small_frame("ok", "failed")
        kept = frame.copy()
        with global_state_untouched():
            assert reporter(frame) == reporter(frame)
        pd.testing.assert_frame_equal(frame, kept)
