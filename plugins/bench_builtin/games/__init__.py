"""Games: losses of one task, written without batching or autograd."""

from bench_builtin.games.classifier import Classifier
from bench_builtin.games.gan import Gan
from bench_builtin.games.regression import Regression
from bench_builtin.games.vae import Vae

GAMES = {"gan": Gan, "vae": Vae, "regression": Regression, "classifier": Classifier}
