"""Steps that have vanished are counted against the first one."""

import numpy as np
import pytest

from bench.measure.health import VANISHED, health_outputs, vanishing_share


def test_a_step_has_vanished_at_a_hundredth_of_the_first():
    norms_KT = np.array([[2.0, 1.0, 4.0], [2.0, 1.0, VANISHED * 4], [2.0, 0.0, 4.0], [2.0, 0.0, 0.0]])
    assert vanishing_share(norms_KT).T.tolist() == [[0, 0, 0, 0], [0, 0, 1 / 3, 1 / 2], [0, 1 / 2, 1 / 3, 1 / 2]]


def test_a_player_that_never_had_a_gradient_has_vanished_from_the_start():
    assert vanishing_share(np.zeros((3, 1))).tolist() == [[1], [1], [1]]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_norm_that_is_no_number_spoils_its_task_from_there_on(broken):
    norms_KT = np.array([[1.0, 1.0], [broken, 0.0], [1.0, 0.0]])
    share = vanishing_share(norms_KT)
    assert np.isnan(share[:, 0]).tolist() == [False, True, True]
    assert share[:, 1].tolist() == [0, 1 / 2, 2 / 3]


def test_measures_of_players_are_about_the_game():
    outputs = health_outputs(["model", "critic"])
    assert set(outputs) == {"gradient-norm-model", "vanishing-steps-model", "gradient-norm-critic", "vanishing-steps-critic"}
    assert {output.about for output in outputs.values()} == {"game"}
