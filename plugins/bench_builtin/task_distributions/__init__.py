"""Built-in task distributions."""

from bench_builtin.task_distributions.digits import Digits
from bench_builtin.task_distributions.glyphs import Glyphs
from bench_builtin.task_distributions.omniglot import Omniglot
from bench_builtin.task_distributions.rings import GaussianRings
from bench_builtin.task_distributions.sinusoids import IdentifiedSinusoids, Sinusoids

TASK_DISTRIBUTIONS = {
    "digits": Digits,
    "gaussian-rings": GaussianRings,
    "glyphs": Glyphs,
    "omniglot": Omniglot,
    "sinusoids": Sinusoids,
    "sinusoids-identified": IdentifiedSinusoids,
}
