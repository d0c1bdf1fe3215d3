"""The default extractor for images: shipped where the data are known, trained once per data set where not.

An extractor is an artefact, not a recipe: other threads or versions give other weights, so it is kept and named by content.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import safetensors.torch
from pydantic import Field
from safetensors import SafetensorError
from torch import nn

from bench.contracts import SPLITS, Kind, MetricError, TaskDistribution
from bench_builtin.feature_extractors import conv4
from bench_builtin.feature_extractors.conv4 import Embedding, Preprocessing

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "data"
EPISODES = 250


def save(embedding: Embedding, folder: Path, name: str, **about: Any) -> None:
    """Write weights under their content hash, then ``name``.json that points to them; whoever comes first wins."""
    weights = f"protonet-conv4-{embedding.fingerprint()[:16]}.safetensors"
    tensors = safetensors.torch.save(dict(embedding.state))
    record = {
        "weights": weights,
        "fingerprint": embedding.fingerprint(),
        "preprocessing": {"shape": embedding.preprocessing.shape, "low": embedding.preprocessing.low, "high": embedding.preprocessing.high},
        "scale": embedding.scale,
        "certificate": dict(embedding.certificate),
        **about,
    }
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(_temporary(folder, tensors), folder / weights)
    pointer = _temporary(folder, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
    try:
        os.link(pointer, folder / f"{name}.json")  # unlike replace, leaves the first of two racing processes in place
    except FileExistsError:
        pass
    except OSError:  # no hard links on this file system
        os.replace(pointer, folder / f"{name}.json")
    pointer.unlink(missing_ok=True)


def _temporary(folder: Path, content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    return Path(file.name)


def load(pointer: Path) -> Embedding:
    """Read what :func:`save` wrote.

    Raises:
        MetricError: a file is missing or damaged.
    """
    try:
        record = json.loads(pointer.read_text(encoding="utf-8"))
        shape = record["preprocessing"]
        preprocessing = Preprocessing(tuple(shape["shape"]), shape["low"], shape["high"])
        state = safetensors.torch.load((pointer.parent / record["weights"]).read_bytes())
        embedding = Embedding(state, preprocessing, record["scale"], record["certificate"])
        intact = embedding.fingerprint() == record["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise MetricError(f"feature extractor {pointer.name} cannot be read ({type(error).__name__}: {error}); delete it") from error
    if not intact:
        raise MetricError(f"feature extractor {pointer.name} is not what it was when it was written; delete it to train another")
    return embedding


def shipped(tasks: TaskDistribution) -> Path | None:
    """The shipped extractor for these data and this sample shape, whatever the jitter and the choice of alphabets."""
    preprocessing = Preprocessing.of(tasks.sample_spec)
    for pointer in sorted(SHIPPED.glob("protonet-conv4-*.json")):
        record = json.loads(pointer.read_text(encoding="utf-8"))
        made_for = record["preprocessing"]
        same_samples = (tuple(made_for["shape"]), made_for["low"], made_for["high"]) == (
            preprocessing.shape,
            preprocessing.low,
            preprocessing.high,
        )
        if same_samples and record["data"] and record["data"] == tasks.fingerprint():
            return pointer
    return None


def shipped_for_glyphs(tasks: TaskDistribution) -> Path:
    """The extractor shipped for glyphs, whatever the data of ``tasks``.

    Raises:
        MetricError: none is shipped for samples of this shape and range.
    """
    wanted = Preprocessing.of(tasks.sample_spec)
    pointers = sorted(SHIPPED.glob("protonet-conv4-glyphs-*.json"))
    made_for = {pointer: load(pointer).preprocessing for pointer in pointers}
    for pointer in pointers:
        if made_for[pointer] == wanted:
            return pointer
    known = ", ".join("x".join(map(str, one.shape)) for one in made_for.values())
    raise MetricError(
        f"protonet-conv4 has weights for glyphs of {known} in [-1, 1], none for samples of {'x'.join(map(str, wanted.shape))} in "
        f"[{wanted.low:g}, {wanted.high:g}]; choose such a size, or weights: own"
    )


def recipe(tasks: TaskDistribution, episodes: int) -> str:
    """Name of an extractor before it is trained: a hash of the training, and of the data and some episodes drawn from them."""
    rng = np.random.default_rng(conv4.SEED)
    digest = hashlib.sha256()
    sizes = [tasks.size(split) for split in SPLITS]
    for split, size in zip(SPLITS[:2], sizes, strict=False):
        # Data that live in code have no fingerprint, and hyperparameters change samples: so look at some.
        for label in sorted({0, (size or 1) // 2, (size or 1) - 1}):
            episode = tasks.episode(split, label, shots=conv4.SHOTS, query=conv4.QUERY, rng=rng)
            digest.update(episode.task_id.encode() + episode.support["x"].tobytes() + episode.query["x"].tobytes())
    training = {
        "extractor": "protonet-conv4",
        "version": 1,
        "episodes": episodes,
        "ways": conv4.WAYS,
        "samples": [conv4.SHOTS, conv4.QUERY],
        "channels": conv4.CHANNELS,
        "learning_rate": conv4.LEARNING_RATE,
        "seed": conv4.SEED,
        "preprocessing": Preprocessing.of(tasks.sample_spec).record(),
        "data": tasks.fingerprint(),
        "sizes": sizes,
        "drawn": digest.hexdigest(),
    }
    return hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()


class ProtoNetConv4:
    """64 features of a four-layer convolutional network that learned to tell meta-train classes apart.

    Shipped for ``glyphs`` at 16 and 28 pixels; for other image data trained on meta-train at first use and kept in the cache.

    Args:
        episodes: training episodes of up to 20 ways (classes count four times, once per quarter turn).
        force: use the extractor even where its certificate is too low for a trustworthy measure.
        weights: ``own`` come from the meta-train classes of what is measured; ``glyphs`` are the shipped ones, certified on what is
            measured: one ruler for several data sets of one size, and the only one for data without meta-train classes.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self, *, episodes: Annotated[int, Field(ge=1)] = EPISODES, force: bool = False, weights: Literal["own", "glyphs"] = "own"
    ) -> None:
        self.episodes = episodes
        self.force = force
        self.weights = weights
        self._prepared: tuple[Embedding, nn.Sequential] | None = None

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Load the shipped or cached weights for ``tasks``, or train them; any number of processes may do so at once.

        Raises:
            MetricError: held-out one-shot accuracy is below what is required, the tasks have no classes, or a file is damaged.
        """
        pointer = shipped(tasks) if self.episodes == EPISODES else None
        foreign = self.weights == "glyphs" and pointer is None
        if foreign:
            pointer = shipped_for_glyphs(tasks)
        if pointer is None:
            conv4.count(tasks, "meta-train", 2)
            conv4.count(tasks, "meta-val", 2)
            name = f"protonet-conv4-{recipe(tasks, self.episodes)[:16]}"
            pointer = Path(cache) / f"{name}.json"
            if not pointer.exists():
                logger.info("training protonet-conv4 for %s images, once per data set", "x".join(map(str, tasks.sample_spec.shape)))
                save(conv4.train(tasks, episodes=self.episodes), Path(cache), name, data=tasks.fingerprint())
        embedding = load(pointer)
        if foreign:
            embedding = replace(embedding, certificate=conv4.certify(embedding, tasks))
        evidence = embedding.certificate
        accuracy, ways, required = evidence["one_shot_accuracy"], evidence["ways"], evidence["required"]
        logger.info("protonet-conv4: held-out %d-way one-shot accuracy %.2f (required %.2f)", ways, accuracy, required)
        if accuracy < required and not self.force:
            raise MetricError(
                f"protonet-conv4 tells held-out classes apart in {accuracy:.2f} of {ways}-way one-shot questions, {required:.2f} are "
                f"required for a trustworthy measure; train longer (episodes: more than {self.episodes}), use another feature "
                "extractor, or accept it with force: true"
            )
        self._prepared = embedding, embedding.network()

    def _ready(self) -> tuple[Embedding, nn.Sequential]:
        if self._prepared is None:
            raise MetricError("protonet-conv4 has no weights yet; call prepare(tasks, cache) first")
        return self._prepared

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, 64) float64; NaN where a sample has a NaN.

        Raises:
            MetricError: not prepared, or prepared for samples of another shape.
        """
        embedding, network = self._ready()
        if samples.shape[1:] != embedding.preprocessing.shape:
            raise MetricError(
                f"protonet-conv4 was prepared for samples of shape {embedding.preprocessing.shape}, got {samples.shape[1:]}; "
                "prepare one extractor per task distribution"
            )
        return conv4.features(network, embedding, samples)

    def fingerprint(self) -> str:
        """SHA-256 of weights, architecture, preprocessing and scale.

        Raises:
            MetricError: not prepared.
        """
        return self._ready()[0].fingerprint()

    def certificate(self) -> dict[str, Any]:
        """Held-out one-shot accuracy, as :func:`bench_builtin.feature_extractors.conv4.certify` returns it.

        Raises:
            MetricError: not prepared.
        """
        return dict(self._ready()[0].certificate)
