"""Built-in task distributions."""

from bench_builtin.task_distributions.celeba import CelebA
from bench_builtin.task_distributions.digits import Digits
from bench_builtin.task_distributions.glyphs import Glyphs
from bench_builtin.task_distributions.image_folder import ImageFolder
from bench_builtin.task_distributions.mixtures import GaussianGrid, GaussianRings
from bench_builtin.task_distributions.n_way import NWay
from bench_builtin.task_distributions.omniglot import Omniglot
from bench_builtin.task_distributions.points import Dirac, Gaussians, Spirals
from bench_builtin.task_distributions.signals import Waveforms
from bench_builtin.task_distributions.sinusoids import IdentifiedSinusoids, Sinusoids
from bench_builtin.task_distributions.stacked_digits import StackedDigits
from bench_builtin.task_distributions.torchvision_sets import CifarFs, Emnist, FashionMnist, Kmnist, Mnist, Svhn

TASK_DISTRIBUTIONS = {
    "celeba": CelebA,
    "cifar-fs": CifarFs,
    "digits": Digits,
    "dirac": Dirac,
    "emnist": Emnist,
    "fashion-mnist": FashionMnist,
    "gaussian-grid": GaussianGrid,
    "gaussian-rings": GaussianRings,
    "gaussians": Gaussians,
    "glyphs": Glyphs,
    "image-folder": ImageFolder,
    "kmnist": Kmnist,
    "mnist": Mnist,
    "n-way": NWay,
    "omniglot": Omniglot,
    "sinusoids": Sinusoids,
    "sinusoids-identified": IdentifiedSinusoids,
    "spirals": Spirals,
    "stacked-digits": StackedDigits,
    "svhn": Svhn,
    "waveforms": Waveforms,
}
