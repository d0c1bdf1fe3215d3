"""Games: losses of one task, written without batching or autograd."""

from bench_builtin.games.gan import Gan
from bench_builtin.games.regression import Regression

GAMES = {"gan": Gan, "regression": Regression}
