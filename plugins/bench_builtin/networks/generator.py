"""The frame of every generator: latents, and labels where there are any, in; samples of the right shape out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.contracts import ContractError


class Generator(nn.Module):
    """z (B, latent) -> samples (B, *shape); with ``classes``, one-hot labels (B, classes) stand beside z.

    The first linear layer's weights for a label are that class's embedding.

    Attributes:
        latent, classes: how many numbers and labels it takes.

    Raises:
        ContractError: labels are missing, or given where there should be none.
    """

    def __init__(self, body: nn.Module, latent: int, shape: tuple[int, ...], classes: int = 0) -> None:
        super().__init__()
        self.body, self.latent, self.shape, self.classes = body, latent, shape, classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if (y is None) == bool(self.classes):
            wanted = f"one-hot labels (B, {self.classes}) as its second argument" if self.classes else "no labels"
            raise ContractError(f"this generator takes {wanted}; build it for the sample_spec of the task distribution that it plays on")
        inputs = z if y is None else torch.cat([z, y], 1)
        return self.body(inputs).reshape(len(z), *self.shape)
