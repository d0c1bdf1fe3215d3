"""Random transforms of images (N, C, H, W), each image on its own; derivatives go through them to any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from bench_builtin.augmentations.chance import integers

if TYPE_CHECKING:
    from bench.contracts import Draws


def moved(x_NCHW: Tensor, by_N2: Tensor, angle_N: Tensor) -> Tensor:
    """Images moved by (right, down) pixels and then turned about the middle by ``angle`` (radians), bilinearly interpolated.

    The border is repeated outside.
    """
    n, _, height, width = x_NCHW.shape
    size = x_NCHW.new_tensor([width, height])
    rows, columns = (torch.arange(side, device=x_NCHW.device, dtype=x_NCHW.dtype) - (side - 1) / 2 for side in (height, width))
    down, right = (grid.expand(n, height, width) for grid in torch.meshgrid(rows, columns, indexing="ij"))
    cos, sin = (one[:, None, None] for one in (angle_N.cos(), angle_N.sin()))
    seen_from = torch.stack([cos * right - sin * down, sin * right + cos * down], -1) - by_N2[:, None, None]
    return grid_sample(x_NCHW, 2 * seen_from / size, mode="bilinear", padding_mode="border", align_corners=False)


def shifted(x_NCHW: Tensor, share: float, draws: Draws) -> Tensor:
    """Images moved by whole pixels, uniformly up to ``share`` of each side either way (rounded), the border repeated outside."""
    n, _, height, width = x_NCHW.shape
    right, down = (
        integers(draws, name, 2 * most + 1, (n,)) - most
        for name, most in (("right", int(share * width + 0.5)), ("down", int(share * height + 0.5)))
    )
    return _chosen(height, down, x_NCHW) @ x_NCHW @ _chosen(width, right, x_NCHW).mT


def _chosen(side: int, by_N: Tensor, like: Tensor) -> Tensor:
    """(N, 1, side, side) of zeros and ones: row i takes the pixel i - by, or the border.

    A product with it is exact, and deterministic on every device, as the derivative of an interpolation is not.
    """
    places = torch.arange(side, device=like.device)
    taken_NS = (places - by_N[:, None]).clamp(0, side - 1)
    return (taken_NS[:, None, :, None] == places).to(like)


def flipped(x_NCHW: Tensor, draws: Draws) -> Tensor:
    """Half of the images, drawn at random, mirrored left to right."""
    return torch.where(draws.uniform("flip", (len(x_NCHW), 1, 1, 1)) < 0.5, x_NCHW.flip(-1), x_NCHW)


def recoloured(x_NCHW: Tensor, draws: Draws) -> Tensor:
    """Images in other colours (Zhao et al., 2020).

    Brightness: plus U(-1/2, 1/2). Saturation: times U(0, 2) about the mean of a pixel's channels. Contrast: times U(1/2, 3/2) about
    the mean of the image.
    """
    brightness, saturation, contrast = (draws.uniform(name, (len(x_NCHW), 1, 1, 1)) for name in ("brightness", "saturation", "contrast"))
    x_NCHW = x_NCHW + brightness - 0.5
    grey = x_NCHW.mean(1, keepdim=True)
    x_NCHW = grey + 2 * saturation * (x_NCHW - grey)
    mean = x_NCHW.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x_NCHW - mean)


def cut_out(x_NCHW: Tensor, share: float, draws: Draws) -> Tensor:
    """A rectangle of ``share`` of each side (rounded) set to 0, its middle anywhere in the image, so that borders cut it."""
    n, _, height, width = x_NCHW.shape
    inside = []
    for name, side in (("down", height), ("right", width)):
        cut = int(share * side + 0.5)
        first = integers(draws, name, side + 1 - cut % 2, (n,)) - cut // 2
        offset = torch.arange(side, device=x_NCHW.device) - first[:, None]
        inside.append((offset >= 0) & (offset < cut))
    rows, columns = inside
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], torch.zeros_like(x_NCHW), x_NCHW)
