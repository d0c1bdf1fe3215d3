"""Inception-v3 as the Fréchet inception distance of the literature has it: published weights, and TensorFlow's arithmetic.

torchvision's network differs from the one that the weights come from in three places, see :func:`inception`. Images are enlarged
or shrunk to 299 pixels as TensorFlow 1 did, :func:`resize`; the aliasing of shrunk images is part of the convention.

Sources: Heusel et al., 2017, https://arxiv.org/abs/1706.08500; the convention: Obukhov et al., 2020 (torch-fidelity),
https://github.com/toshas/torch-fidelity; its traps: Parmar et al., 2022, https://arxiv.org/abs/2104.11222.
Shape suffixes: N samples, C channels, H and W rows and columns.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from bench.contracts import DataError, MetricError, TaskDistribution
from bench_builtin.feature_extractors import artefact
from bench_builtin.feature_extractors.prepared import Prepared, PreparedExtractor
from bench_builtin.feature_extractors.samples import Preprocessing, in_batches, one_shot_accuracy

SIDE, FEATURES, CLASSES = 299, 2048, 1008
FILE = "weights-inception-2015-12-05-6726825d.pth"
ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BATCH = 4
ROUNDS = 3  # of the certificate: 360 images take some minutes on one core


class Inception(PreparedExtractor):
    """The 2048 features of FID and KID in the literature; only images of at most a few hundred pixels, and slow without a GPU.

    Features are as they are in the convention: of order one already, and any scale would make distances incomparable. Grey images
    are seen in three equal channels. On line drawings and digits the features, made for photographs, mean little: see the certificate.

    Args:
        weights: the published file, see :data:`ADDRESS`; by default where torch-fidelity keeps it.
    """

    name: ClassVar[str] = "inception"
    locations: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(self, *, weights: str = f"~/.cache/torch/hub/checkpoints/{FILE}") -> None:
        self.weights = weights

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Read the weights, and find out once per data set what they are worth on held-out classes.

        Raises:
            DataError: the file is missing, or is not the published one.
            MetricError: images have neither one channel nor three.
        """
        seen = Preprocessing.of(tasks.sample_spec)
        if seen.shape[0] not in (1, 3):
            raise MetricError(f"inception sees images of 1 or 3 channels, got shape {seen.shape}; use feature_extractor: protonet-conv4")
        extract = partial(features, network(Path(self.weights).expanduser()), seen)
        content = {"extractor": self.name, "version": 1, "weights": SHA256, "preprocessing": seen.record(), "side": SIDE}
        evidence = Path(cache) / f"{self.name}-{artefact.recipe(tasks, content, shots=1, query=0)[:16]}.json"
        if not evidence.exists():
            artefact.publish(evidence, one_shot_accuracy(extract, tasks, rounds=ROUNDS))
        certificate = json.loads(evidence.read_text(encoding="utf-8"))
        self._prepared = Prepared(seen.shape, extract, artefact.canonical_hash(content), certificate)


def network(path: Path) -> nn.Module:
    """The network with the published weights.

    Raises:
        DataError: the file is missing, or is not the published one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            # A reason without folders of this machine is all that records keep, so the text must make sense without them.
            f"inception: its weights ({path.name}) are not there ({error.strerror}); download {ADDRESS} (91 MiB) and say where the file "
            "lies: feature_extractor: {inception: {weights: FOLDER/FILE}}; by default it is looked for where torch.hub keeps checkpoints"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(
            f"inception: {path} has SHA-256 {found[:16]}..., the weights of the FID convention have {SHA256[:16]}...; "
            f"download {ADDRESS} again"
        )
    made = inception()
    try:
        made.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(f"inception: {path} does not fit the network ({error}); install a torchvision of this package's range") from error
    made.fc = nn.Identity()  # what it classifies by is what is asked for
    return made.eval().requires_grad_(False)


def inception() -> nn.Module:
    """Inception-v3 in the names of the published file, on the meta device: it has no weights yet.

    Against torchvision's: average pooling inside blocks counts no padding; the last block pools by maximum; 1008 classes.
    """
    from torchvision.models import inception as vision  # not at import: planning does without it

    def pooling_by(block: Any, pool: Any) -> Any:
        class Patched(block):  # type: ignore[misc]
            def _forward(self, x: Tensor) -> list[Tensor]:
                return [*super()._forward(x)[:-1], self.branch_pool(pool(x))]

        return Patched

    inside = partial(avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
    largest = partial(max_pool2d, kernel_size=3, stride=1, padding=1)
    blocks = [
        vision.BasicConv2d,
        pooling_by(vision.InceptionA, inside),
        vision.InceptionB,
        pooling_by(vision.InceptionC, inside),
        vision.InceptionD,
        pooling_by(vision.InceptionE, inside),
        vision.InceptionAux,
    ]
    with torch.device("meta"):
        made = vision.Inception3(num_classes=CLASSES, aux_logits=False, init_weights=False, inception_blocks=blocks)
        made.Mixed_7c = pooling_by(vision.InceptionE, largest)(1280 + 768)
    return made


def features(network: nn.Module, seen: Preprocessing, samples: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, 2048) float64, the same for a sample in whatever batch it comes."""
    return in_batches(partial(pool3, network), seen(samples), size=BATCH, features=FEATURES)


def pool3(network: nn.Module, pixels_NCHW: Tensor) -> Tensor:
    """(N, 2048): means over the last block's positions, of images of 8 bits mapped to [0, 1]."""
    levels = (pixels_NCHW * 255).round().expand(-1, 3, -1, -1)
    pooled: Tensor = network((resize(levels) - 128) / 128)
    return pooled


def resize(images_NCHW: Tensor, side: int = SIDE) -> Tensor:
    """Bilinear as in TensorFlow 1: output row i is read at i H / side, counted from the first row's centre; no antialiasing."""
    rows, columns = (_weights(length, side) for length in images_NCHW.shape[2:])
    return rows @ images_NCHW @ columns.T


def _weights(length: int, side: int) -> Tensor:
    """(side, length): how much of each input row is in each output row."""
    at = torch.arange(side, dtype=torch.float32) * (length / side)
    low = at.long()
    share = (at - low)[:, None]
    one_hot = torch.eye(length)
    return one_hot[low] * (1 - share) + one_hot[(low + 1).clamp(max=length - 1)] * share
