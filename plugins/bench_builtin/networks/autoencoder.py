"""The network of a variational autoencoder."""

from __future__ import annotations

from torch import Tensor, nn

from bench_builtin.networks.generator import Generator


class Autoencoder(nn.Module):
    """Two forms: (x (B, *shape), noise (B, latent)) -> reconstruction, mean, log variance; and z (B, latent) -> samples (B, *shape).

    The reconstruction is the decoder's at z = mean + exp(log_variance / 2) * noise (Kingma & Welling, 2014,
    https://arxiv.org/abs/1312.6114, section 2.4).

    Args:
        encoder: (B, *shape) -> (B, 2 latent), means first.
        decoder: (B, latent) -> (B, *shape).

    Attributes:
        latent: numbers in a code.
    """

    def __init__(self, encoder: nn.Module, decoder: Generator) -> None:
        super().__init__()
        self.encoder, self.decoder, self.latent = encoder, decoder, decoder.latent

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        if noise is None:
            return self.decoder(x)
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return self.decoder(mean + (log_variance / 2).exp() * noise), mean, log_variance
