"""More arms than colours: a panel for each."""

import numpy as np
import pytest

from bench.report.panels import MOST_TOGETHER, Line, panels


@pytest.mark.parametrize("arms", [MOST_TOGETHER + 1, MOST_TOGETHER + 2, 31])
def test_every_arm_has_a_panel_of_its_own_line_before_all_others(arms):
    lines = {f"arm {i}": Line([0, 1, 2], [i, i + 1, i + 2], [i - 1, i, i + 1], [i + 1, i + 2, i + 3]) for i in range(arms)}
    with panels(lines, lambda axes: None, title="rings", x_label="step", y_label="energy", marked=True) as figure:
        shown = [axes for axes in figure.axes if axes.get_visible()]
        assert [axes.get_title() for axes in shown] == list(lines)
        for axes, line in zip(shown, lines.values(), strict=True):
            (own,) = axes.get_lines()
            assert np.array_equal(own.get_xydata(), np.column_stack([line.x, line.middle]))
            background = axes.collections[0].get_segments()
            assert len(background) == arms
        labelled = [axes for axes in shown if axes.xaxis.get_tick_params()["labelbottom"]]
        assert len(labelled) == 3  # one in each column, the last of it
