"""A four-layer convolutional embedding trained by prototypical loss, and the evidence that it tells classes apart.

Training draws from meta-train only, the certificate from meta-val only.
Shape suffixes: K ways, S support and Q query samples per way, N samples, C channels, H and W rows and columns, F features.

Source: Snell, Swersky and Zemel, 2017, https://arxiv.org/abs/1703.05175 (loss, rotated classes).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.contracts import MetricError, SampleSpec, Split, TaskDistribution

CHANNELS = (32, 64, 64, 64)
WAYS = 20
SHOTS = QUERY = 3
LEARNING_RATE = 1e-3
SEED = 0
SMALLEST = 2 ** len(CHANNELS)  # four halvings leave one pixel
BATCH = 64  # fixed and padded: kernels chosen by batch size differ in the last bits
CERTIFICATE_ROUNDS, CERTIFICATE_QUERY = 60, 5
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


@dataclass(frozen=True)
class Preprocessing:
    """From samples to what the network sees: clip, map to [0, 1], round to 8 bits, enlarge what is below 16 pixels."""

    shape: tuple[int, ...]
    low: float
    high: float

    @classmethod
    def of(cls, spec: SampleSpec) -> Preprocessing:
        """For samples of ``spec``; an unknown range counts as [-1, 1]."""
        return cls(tuple(spec.shape), -1.0 if spec.low is None else spec.low, 1.0 if spec.high is None else spec.high)

    @property
    def factor(self) -> int:
        """Integer by which pixels are repeated."""
        return math.ceil(SMALLEST / min(self.shape[1:]))

    def __call__(self, samples: np.ndarray) -> Tensor:
        """(N, C, H, W) -> (N, C, factor H, factor W) float32."""
        unit = (np.clip(np.asarray(samples, dtype=np.float64), self.low, self.high) - self.low) / (self.high - self.low)
        levels = (np.rint(unit * 255) / 255).astype(np.float32)
        return torch.from_numpy(levels.repeat(self.factor, axis=2).repeat(self.factor, axis=3))

    def record(self) -> dict[str, Any]:
        """For the fingerprint."""
        return {"shape": list(self.shape), "clip": [self.low, self.high], "levels": 256, "nearest": self.factor}


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
        digest = hashlib.sha256()
        for name in sorted(self.state):
            value = self.state[name].detach().cpu().contiguous().numpy()
            digest.update(f"{name} {value.dtype.str} {value.shape} ".encode() + value.tobytes())
        everything = {
            "architecture": {"name": "conv4", "channels": list(CHANNELS), "pool": "mean"},
            "weights": digest.hexdigest(),
            "preprocessing": self.preprocessing.record(),
            "scale": self.scale,
        }
        return hashlib.sha256(json.dumps(everything, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def embed(network: nn.Sequential, pixels_NCHW: Tensor) -> Tensor:
    """(N, 64) features of preprocessed samples, averaged over what positions are left."""
    features: Tensor = network(pixels_NCHW).mean(dim=(2, 3))
    return features


def features(network: nn.Sequential, embedding: Embedding, samples: np.ndarray) -> np.ndarray:
    """(N, *shape) -> (N, 64) float64, the same for a sample in whatever batch it comes."""
    pixels = embedding.preprocessing(samples)
    embedded = np.empty((len(pixels), CHANNELS[-1]), dtype=np.float64)
    with torch.no_grad():
        for start in range(0, len(pixels), BATCH):
            batch = pixels[start : start + BATCH]
            padding = batch.new_zeros((BATCH - len(batch), *batch.shape[1:]))
            embedded[start : start + BATCH] = embed(network, torch.cat([batch, padding]))[: len(batch)].numpy()
    return embedded / embedding.scale


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


def draw(
    tasks: TaskDistribution, split: Split, classes: np.ndarray, *, shots: int, query: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Support (K, S, *shape) and query (K, Q, *shape) of these classes."""
    episodes = [tasks.episode(split, int(label), shots=shots, query=query, rng=rng) for label in classes]
    return np.stack([episode.support["x"] for episode in episodes]), np.stack([episode.query["x"] for episode in episodes])


def train(tasks: TaskDistribution, *, episodes: int) -> Embedding:
    """Train on meta-train, fix the scale there, and certify on meta-val; about 10 s at 16 x 16 pixels and 250 episodes.

    The same numbers on the same machine and torch version: one thread, and generators of its own.

    Raises:
        MetricError: the tasks have no classes, or too few.
    """
    classes = count(tasks, "meta-train", 2)
    count(tasks, "meta-val", 2)
    preprocessing = Preprocessing.of(tasks.sample_spec)
    rng = np.random.default_rng(SEED)
    turns = (0, 1, 2, 3) if preprocessing.shape[1] == preprocessing.shape[2] else (0, 2)  # a rotated class is another class
    ways = min(WAYS, classes * len(turns))
    with one_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        network = build(preprocessing.shape[0]).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        for _ in range(episodes):
            chosen = rng.choice(classes * len(turns), size=ways, replace=False)
            support, query = draw(tasks, "meta-train", chosen // len(turns), shots=SHOTS, query=QUERY, rng=rng)
            both = np.concatenate([support, query], axis=1)
            turned = np.stack(
                [np.rot90(images, turns[label % len(turns)], axes=(2, 3)) for label, images in zip(chosen, both, strict=True)]
            )
            embedded = embed(network, preprocessing(turned.reshape(-1, *preprocessing.shape))).reshape(ways, SHOTS + QUERY, -1)
            loss = prototypical_loss(embedded[:, :SHOTS], embedded[:, SHOTS:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        raw = Embedding(state, preprocessing)
        some = rng.choice(classes, size=min(classes, 128), replace=False)
        sample, _ = draw(tasks, "meta-train", some, shots=4, query=0, rng=rng)
        spread = features(raw.network(), raw, sample.reshape(-1, *preprocessing.shape)).std(axis=0)
        # A dead network has no spread; its certificate then refuses it.
        scaled = Embedding(state, preprocessing, float(spread.mean()) or 1.0)
        return Embedding(state, preprocessing, scaled.scale, certify(scaled, tasks))


def required_accuracy(ways: int) -> float:
    """The accuracy below which an extractor is refused: as far above chance, in proportion, as 0.4 at 20 ways."""
    chance = 1 / ways
    return chance + (REQUIRED - 1 / WAYS) / (1 - 1 / WAYS) * (1 - chance)


def certify(embedding: Embedding, tasks: TaskDistribution, rounds: int = CERTIFICATE_ROUNDS) -> dict[str, Any]:
    """Accuracy of the nearest neighbour among one example per class, on classes of meta-val, or of meta-test where that has none.

    Returns:
        ``one_shot_accuracy`` with its ``standard_error`` over ``rounds``, ``ways`` (20, or all classes where there are fewer),
        and ``required``, the accuracy below which the extractor is refused.
    """
    split: Split = "meta-val" if tasks.size("meta-val") != 0 else "meta-test"
    classes = count(tasks, split, 2)
    ways, rng, network = min(WAYS, classes), np.random.default_rng([SEED, 1]), embedding.network()
    accuracy = np.empty(rounds)
    for index in range(rounds):
        chosen = rng.choice(classes, size=ways, replace=False)
        support, query = draw(tasks, split, chosen, shots=1, query=CERTIFICATE_QUERY, rng=rng)
        shape = embedding.preprocessing.shape
        known = features(network, embedding, support.reshape(-1, *shape))
        asked = features(network, embedding, query.reshape(-1, *shape))
        nearest = np.square(asked[:, None] - known).sum(axis=2).argmin(axis=1)
        accuracy[index] = np.mean(nearest == np.arange(ways).repeat(CERTIFICATE_QUERY))
    return {
        "one_shot_accuracy": round(float(accuracy.mean()), 4),
        "standard_error": round(float(accuracy.std(ddof=1) / math.sqrt(rounds)), 4),
        "ways": ways,
        "rounds": rounds,
        "split": split,
        "required": round(required_accuracy(ways), 4),
    }
