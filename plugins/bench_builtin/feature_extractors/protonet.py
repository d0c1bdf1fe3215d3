"""The default extractor for images: shipped where the data are known, trained once per data set where not."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.contracts import MetricError, TaskDistribution
from bench_builtin.feature_extractors import artefact, conv4
from bench_builtin.feature_extractors.prepared import Prepared, PreparedExtractor

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "data"
EPISODES = 250


def shipped(tasks: TaskDistribution) -> Path | None:
    """The shipped extractor for these data and this sample shape, whatever the jitter and the choice of alphabets."""
    preprocessing = conv4.preprocessing(tasks.sample_spec)
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
    wanted = conv4.preprocessing(tasks.sample_spec)
    pointers = sorted(SHIPPED.glob("protonet-conv4-glyphs-*.json"))
    made_for = {pointer: conv4.load(pointer).preprocessing for pointer in pointers}
    for pointer in pointers:
        if made_for[pointer] == wanted:
            return pointer
    known = ", ".join("x".join(map(str, one.shape)) for one in made_for.values())
    raise MetricError(
        f"protonet-conv4 has weights for glyphs of {known} in [-1, 1], none for samples of {'x'.join(map(str, wanted.shape))} in "
        f"[{wanted.low:g}, {wanted.high:g}]; choose such a size, or weights: own"
    )


def recipe(tasks: TaskDistribution, episodes: int) -> str:
    """Name of an extractor before it is trained."""
    training = {
        "extractor": "protonet-conv4",
        "version": 1,
        "episodes": episodes,
        "ways": conv4.WAYS,
        "samples": [conv4.SHOTS, conv4.QUERY],
        "channels": conv4.CHANNELS,
        "learning_rate": conv4.LEARNING_RATE,
        "seed": conv4.SEED,
        "preprocessing": conv4.preprocessing(tasks.sample_spec).record(),
    }
    return artefact.recipe(tasks, training, shots=conv4.SHOTS, query=conv4.QUERY)


class ProtoNetConv4(PreparedExtractor):
    """64 features of a four-layer convolutional network that learned to tell meta-train classes apart.

    Shipped for ``glyphs`` at 16 and 28 pixels; for other image data trained on meta-train at first use and kept in the cache.

    Args:
        episodes: training episodes of up to 20 ways (classes count four times, once per quarter turn).
        force: use the extractor even where its certificate is too low for a trustworthy measure.
        weights: ``own`` come from the meta-train classes of what is measured; ``glyphs`` are the shipped ones, certified on what is
            measured: one ruler for several data sets of one size, and the only one for data without meta-train classes.
    """

    name: ClassVar[str] = "protonet-conv4"

    def __init__(
        self, *, episodes: Annotated[int, Field(ge=1)] = EPISODES, force: bool = False, weights: Literal["own", "glyphs"] = "own"
    ) -> None:
        self.episodes = episodes
        self.force = force
        self.weights = weights

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
                conv4.save(conv4.train(tasks, episodes=self.episodes), Path(cache), name, kind=self.name, data=tasks.fingerprint())
        embedding = conv4.load(pointer)
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
        self._prepared = Prepared(embedding.preprocessing.shape, embedding.extractor(), embedding.fingerprint(), evidence)
