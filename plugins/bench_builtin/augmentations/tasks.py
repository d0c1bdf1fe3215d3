"""Augmentations of tasks: more tasks than there are, or more support than there is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.contracts import ContractError, Kind, Tree, tree_map
from bench_builtin.augmentations.chance import integers, rotation, symmetric_beta
from bench_builtin.augmentations.transforms import moved

if TYPE_CHECKING:
    from bench.contracts import Draws


class TaskAugmentation:
    """One random transform per task, the same for support and query, so that the transformed task is a task of its own.

    Images are turned by 0, 90, 180 or 270 degrees and mirrored; points are rotated about the origin, mirrored and scaled. Targets and
    labels stay. Meta-training only.

    Args:
        rotate: quarter turns of images, which must be square; a uniformly distributed rotation of points.
        mirror: mirrors half of the tasks, images left to right, points in their first coordinate.
        scale: scales points by a log-uniform factor between 1 / scale and scale; images are never scaled.

    Source: turned characters as new classes, Santoro et al., 2016, https://arxiv.org/abs/1605.06065; augmentation of tasks among
    other modes, Ni et al., 2021, https://arxiv.org/abs/2010.07092.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points")
    leaks: ClassVar[bool] = False

    def __init__(self, *, rotate: bool = True, mirror: bool = False, scale: Annotated[float, Field(ge=1)] = 1.0) -> None:
        self.rotate, self.mirror, self.scale = rotate, mirror, scale

    def augment_task(self, episode: Tree, draws: Draws) -> Tree:
        """The episode with ``x`` of both parts transformed.

        Raises:
            ContractError: quarter turns of images that are not square.
        """
        images = episode["support"]["x"].ndim == 4
        transform = self._image if images else self._points
        return {part: {**batch, "x": transform(batch["x"], draws)} for part, batch in episode.items()}

    def _image(self, x_BCHW: Tensor, draws: Draws) -> Tensor:
        height, width = x_BCHW.shape[-2:]
        if self.rotate and height != width:
            raise ContractError(
                f"task-augmentation: quarter turns need square images, got {height} x {width}; set rotate: false, or use square images"
            )
        turns = 4 if self.rotate else 1
        seen = [torch.rot90(x_BCHW, turn, (-2, -1)) for turn in range(turns)]
        seen += [x.flip(-1) for x in seen] if self.mirror else []
        chosen = integers(draws, "transform", len(seen), (1,))
        return torch.stack(seen).index_select(0, chosen)[0]

    def _points(self, x_BF: Tensor, draws: Draws) -> Tensor:
        features = x_BF.shape[-1]
        if self.rotate:
            x_BF = x_BF @ rotation(draws, features).T
        if self.mirror:
            side = torch.where(draws.uniform("mirror", (1,)) < 0.5, -1.0, 1.0).to(x_BF)
            x_BF = torch.cat([side * x_BF[:, :1], x_BF[:, 1:]], 1)
        return x_BF * self.scale ** (2 * draws.uniform("scale", ()) - 1)


class SupportAugmentation:
    """Each support sample is moved and turned at random, anew at every adaptation step, at meta-test too; the query stays.

    The discriminator sees transformed reals and untransformed fakes, so the transforms leak into the generator: it learns to imitate
    them, unless what the discriminator sees of the fakes is transformed as well (Zhao et al., 2020, https://arxiv.org/abs/2006.10738).

    Args:
        shift: largest shift in whole pixels, up or down and left or right; the border is repeated outside.
        degrees: largest turn about the middle, either way, bilinearly interpolated.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    leaks: ClassVar[bool] = True

    def __init__(self, *, shift: Annotated[int, Field(ge=0)] = 1, degrees: Annotated[float, Field(ge=0, le=180)] = 0.0) -> None:
        self.shift, self.degrees = shift, degrees

    def augment_support(self, batch: Tree, draws: Draws) -> Tree:
        x_SCHW = batch["x"]
        n = len(x_SCHW)
        by = integers(draws, "shift", 2 * self.shift + 1, (n, 2)).to(x_SCHW) - self.shift
        angle = (2 * draws.uniform("turn", (n,)) - 1) * math.radians(self.degrees)
        return {**batch, "x": moved(x_SCHW, by, angle)}


class MetaMix:
    """Query samples mixed with support samples of the same task: lambda * query + (1 - lambda) * support, in x and y alike.

    lambda ~ Beta(concentration, concentration), one per task and outer step; each query sample gets a random partner. The mixture is
    of inputs only (the paper also mixes a random hidden layer). A generator is then judged against mixtures of real samples.
    Meta-training only.

    Args:
        concentration: of the Beta distribution, a multiple of 1/2; 1/2 is the authors' for regression.

    Source: Yao et al., 2021, https://arxiv.org/abs/2007.13234, section 3 (MetaMix on inputs).
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "points", "signal", "regression")
    leaks: ClassVar[bool] = False

    def __init__(self, *, concentration: Annotated[float, Field(gt=0, multiple_of=0.5)] = 0.5) -> None:
        self.concentration = concentration

    def augment_task(self, episode: Tree, draws: Draws) -> Tree:
        support, query = episode["support"], episode["query"]
        share = symmetric_beta(draws, self.concentration)
        partner = integers(draws, "partner", len(support["x"]), (len(query["x"]),))
        mixed = tree_map(lambda q, s: share * q + (1 - share) * s.index_select(0, partner), query, support)
        return {**episode, "query": mixed}
