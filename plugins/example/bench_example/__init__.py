"""A third-party plugin of bench: a meta-learner, a GAN loss and a task distribution."""

from bench import hookimpl

from bench_example.checkerboards import Checkerboards
from bench_example.f_gan import FGan
from bench_example.minibatch_prox import MinibatchProx


@hookimpl
def bench_meta_learners() -> dict[str, type[MinibatchProx]]:
    """A learned start that adaptation is tied to."""
    return {"minibatch-prox": MinibatchProx}


@hookimpl
def bench_gan_losses() -> dict[str, type[FGan]]:
    """Variational bounds of f-divergences."""
    return {"f-gan": FGan}


@hookimpl
def bench_task_distributions() -> dict[str, type[Checkerboards]]:
    """Densities with sharp edges in the plane."""
    return {"checkerboards": Checkerboards}
