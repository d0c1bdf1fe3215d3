"""A four-layer convolutional embedding trained by prototypical loss, and the evidence that it tells classes apart.

Training draws from meta-train only, the certificate from meta-val only.
Shape suffixes: K ways, S support and Q query samples per way, N samples, C channels, H and W rows and columns, F features.

Source: Snell, Swersky and Zemel, 2017, https://arxiv.org/abs/1703.05175 (loss, rotated classes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.contracts import MetricError, SampleSpec, Split, TaskDistribution
from bench_builtin.feature_extractors import artefact
from bench_builtin.feature_extractors.samples import ROUNDS, Features, Preprocessing, draw, in_batches, mean_spread, one_shot_accuracy

CHANNELS = (32, 64, 64, 64)
WAYS = 20
SHOTS = QUERY = 3
LEARNING_RATE = 1e-3
SEED = 0
SMALLEST = 2 ** len(CHANNELS)  # four halvings leave one pixel
BATCH = 64
REQUIRED = 0.4  # one-shot accuracy at 20 ways; pixels and random networks reach 0.2 on handwriting


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: sums, and so trained weights, depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build(channels: int) -> nn.Sequential:
    """The untrained network: (N, C, H, W) -> (N, 64, H // 16, W // 16)."""
    layers: list[nn.Module] = []
    for entering, leaving in zip((channels, *CHANNELS), CHANNELS, strict=False):
        layers += [
            nn.Conv2d(entering, leaving, 3, padding=1, dtype=torch.float32),
            nn.BatchNorm2d(leaving, dtype=torch.float32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers)


def preprocessing(spec: SampleSpec) -> Preprocessing:
    """What the network sees of samples of ``spec``: at least 16 pixels a side."""
    return Preprocessing.of(spec, SMALLEST)


@dataclass(frozen=True)
class Embedding:
    """Frozen weights with everything else that can change a feature.

    Attributes:
        state: state of the network of :func:`build`.
        scale: what features are divided by: their mean standard deviation over meta-train.
        certificate: evidence of quality; not part of the fingerprint.
    """

    state: Mapping[str, Tensor]
    preprocessing: Preprocessing
    scale: float = 1.0
    certificate: Mapping[str, Any] = field(default_factory=dict)

    def network(self) -> nn.Sequential:
        """The network in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            network = build(self.preprocessing.shape[0])
        network.load_state_dict(dict(self.state))
        return network.eval()

    def fingerprint(self) -> str:
        """SHA-256 of weights, architecture, preprocessing and scale."""
        return artefact.canonical_hash(
            {
                "architecture": {"name": "conv4", "channels": list(CHANNELS), "pool": "mean"},
                "weights": artefact.tensors_hash(self.state),
                "preprocessing": self.preprocessing.record(),
                "scale": self.scale,
            }
        )

    def extractor(self) -> Features:
        """The map (N, *shape) -> (N, 64), its network built once."""
        return partial(features, self.network(), self)


def save(embedding: Embedding, folder: Path, name: str, *, kind: str, **about: Any) -> None:
    """Keep an embedding as ``name``, see :func:`bench_builtin.feature_extractors.artefact.save`."""
    seen = embedding.preprocessing
    record = {
        "fingerprint": embedding.fingerprint(),
        "preprocessing": {"shape": seen.shape, "low": seen.low, "high": seen.high},
        "scale": embedding.scale,
        "certificate": dict(embedding.certificate),
        **about,
    }
    artefact.save(folder, name, kind=kind, tensors=embedding.state, record=record)


def load(pointer: Path) -> Embedding:
    """Read what :func:`save` wrote.

    Raises:
        MetricError: a file is missing or damaged.
    """

    def embedding(state: dict[str, Tensor], record: dict[str, Any]) -> Embedding:
        seen = record["preprocessing"]
        made_for = Preprocessing(tuple(seen["shape"]), seen["low"], seen["high"], SMALLEST)
        return Embedding(state, made_for, record["scale"], record["certificate"])

    return artefact.load(pointer, embedding)


def embed(network: nn.Sequential, pixels_NCHW: Tensor) -> Tensor:
    """(N, 64) features of preprocessed samples, averaged over what positions are left."""
    features: Tensor = network(pixels_NCHW).mean(dim=(2, 3))
    return features


def features(network: nn.Sequential, embedding: Embedding, samples: np.ndarray) -> np.ndarray:
    """(N, *shape) -> (N, 64) float64, the same for a sample in whatever batch it comes."""
    pixels = embedding.preprocessing(samples)
    return in_batches(partial(embed, network), pixels, size=BATCH, features=CHANNELS[-1]) / embedding.scale


def prototypical_loss(support_KSF: Tensor, query_KQF: Tensor) -> Tensor:
    """Cross-entropy of the query features under softmax of minus squared distance to the class means."""
    ways, queries, size = query_KQF.shape
    squared = (query_KQF.reshape(-1, 1, size) - support_KSF.mean(dim=1)).square().sum(dim=2)
    return cross_entropy(-squared, torch.arange(ways).repeat_interleave(queries))


def count(tasks: TaskDistribution, split: Split, needed: int) -> int:
    """Number of classes of a split.

    Raises:
        MetricError: it has no classes, or fewer than needed.
    """
    classes = tasks.size(split)
    if classes is None or classes < needed:
        raise MetricError(
            f"protonet-conv4 learns to tell classes apart, but {split} has {'no classes' if classes is None else f'{classes} classes'} "
            f"(at least {needed} needed); use feature_extractor: pixels"
        )
    return classes


def train(tasks: TaskDistribution, *, episodes: int) -> Embedding:
    """Train on meta-train, fix the scale there, and certify on meta-val; about 10 s at 16 x 16 pixels and 250 episodes.

    The same numbers on the same machine and torch version: one thread, and generators of its own.

    Raises:
        MetricError: the tasks have no classes, or too few.
    """
    classes = count(tasks, "meta-train", 2)
    count(tasks, "meta-val", 2)
    seen = preprocessing(tasks.sample_spec)
    rng = np.random.default_rng(SEED)
    turns = (0, 1, 2, 3) if seen.shape[1] == seen.shape[2] else (0, 2)  # a rotated class is another class
    ways = min(WAYS, classes * len(turns))
    with one_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        network = build(seen.shape[0]).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        for _ in range(episodes):
            chosen = rng.choice(classes * len(turns), size=ways, replace=False)
            support, query = draw(tasks, "meta-train", chosen // len(turns), shots=SHOTS, query=QUERY, rng=rng)
            both = np.concatenate([support, query], axis=1)
            turned = np.stack(
                [np.rot90(images, turns[label % len(turns)], axes=(2, 3)) for label, images in zip(chosen, both, strict=True)]
            )
            embedded = embed(network, seen(turned.reshape(-1, *seen.shape))).reshape(ways, SHOTS + QUERY, -1)
            loss = prototypical_loss(embedded[:, :SHOTS], embedded[:, SHOTS:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        raw = Embedding(state, seen)
        some = rng.choice(classes, size=min(classes, 128), replace=False)
        sample, _ = draw(tasks, "meta-train", some, shots=4, query=0, rng=rng)
        # A dead network has no spread; its certificate then refuses it.
        scaled = Embedding(state, seen, mean_spread(raw.extractor()(sample.reshape(-1, *seen.shape))))
        return Embedding(state, seen, scaled.scale, certify(scaled, tasks))


def required_accuracy(ways: int) -> float:
    """The accuracy below which an extractor is refused: as far above chance, in proportion, as 0.4 at 20 ways."""
    chance = 1 / ways
    return chance + (REQUIRED - 1 / WAYS) / (1 - 1 / WAYS) * (1 - chance)


def certify(embedding: Embedding, tasks: TaskDistribution, rounds: int = ROUNDS) -> dict[str, Any]:
    """What :func:`one_shot_accuracy` finds, and ``required``, the accuracy below which the extractor is refused.

    Raises:
        MetricError: no held-out classes, or a single one.
    """
    split: Split = "meta-val" if tasks.size("meta-val") != 0 else "meta-test"
    ways = min(WAYS, count(tasks, split, 2))
    return {**one_shot_accuracy(embedding.extractor(), tasks, rounds=rounds), "required": round(required_accuracy(ways), 4)}
