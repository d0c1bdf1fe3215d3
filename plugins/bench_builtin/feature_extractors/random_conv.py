"""The default extractor's network without its training."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from bench.contracts import TaskDistribution
from bench_builtin.feature_extractors import artefact, conv4
from bench_builtin.feature_extractors.conv4 import Embedding
from bench_builtin.feature_extractors.prepared import Prepared, PreparedExtractor
from bench_builtin.feature_extractors.samples import PER_TASK, mean_spread, meta_train_samples, one_shot_accuracy

SAMPLES = 512  # for the scale
ROUNDS = 20  # of the certificate: a second


class RandomConv(PreparedExtractor):
    """64 features of ``protonet-conv4``'s network at random weights: ready in seconds, for smoke tests.

    It sees hardly more of an image than pixels do, as its certificate says, and misses copies of the support on line drawings.

    Args:
        seed: of the weights.
    """

    name: ClassVar[str] = "random-conv"

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Load the cached weights and scale for ``tasks``, or draw them; any number of processes may do so at once.

        Raises:
            MetricError: there are no meta-train tasks to take the scale from, or a file is damaged.
        """
        making = {"extractor": self.name, "version": 1, "seed": self.seed, "channels": conv4.CHANNELS, "samples": SAMPLES}
        making |= {"preprocessing": conv4.preprocessing(tasks.sample_spec).record()}
        name = f"{self.name}-{artefact.recipe(tasks, making, shots=PER_TASK, query=0)[:16]}"
        pointer = Path(cache) / f"{name}.json"
        if not pointer.exists():
            conv4.save(untrained(tasks, self.seed), Path(cache), name, kind=self.name, data=tasks.fingerprint())
        embedding = conv4.load(pointer)
        self._prepared = Prepared(embedding.preprocessing.shape, embedding.extractor(), embedding.fingerprint(), embedding.certificate)


def untrained(tasks: TaskDistribution, seed: int) -> Embedding:
    """Random weights, with the scale of their features over meta-train and what they are worth on held-out classes."""
    seen = conv4.preprocessing(tasks.sample_spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = conv4.build(seen.shape[0]).state_dict()
    raw = Embedding(state, seen).extractor()
    scaled = Embedding(state, seen, mean_spread(raw(meta_train_samples(tasks, SAMPLES, of=RandomConv.name))))
    return Embedding(state, seen, scaled.scale, one_shot_accuracy(scaled.extractor(), tasks, rounds=ROUNDS))
