"""Extractors that are made once per data set: kept under the hash of their content, found by the hash of their recipe.

An extractor is an artefact, not a recipe: other threads or versions give other weights, so what was made first is what all use.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from bench.contracts import SPLITS, MetricError, TaskDistribution

SEED = 0


class Frozen(Protocol):
    """What is kept: it names itself by its content."""

    def fingerprint(self) -> str:
        """SHA-256 of everything that can change a feature."""


Kept = TypeVar("Kept", bound=Frozen)


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, in order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {value.dtype.str} {value.shape} ".encode() + value.tobytes())
    return digest.hexdigest()


def canonical_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object, whatever the order of its names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def recipe(tasks: TaskDistribution, training: Mapping[str, Any], *, shots: int, query: int) -> str:
    """Name of an extractor before it is made: a hash of the training, and of the data and some episodes drawn from them."""
    rng = np.random.default_rng(SEED)
    digest = hashlib.sha256()
    sizes = [tasks.size(split) for split in SPLITS]
    for split, size in zip(SPLITS[:2], sizes, strict=False):
        # Data that live in code have no fingerprint, and hyperparameters change samples: so look at some.
        for number in sorted({0, (size or 1) // 2, (size or 1) - 1}) if size != 0 else ():
            episode = tasks.episode(split, number, shots=shots, query=query, rng=rng)
            digest.update(episode.task_id.encode() + episode.support["x"].tobytes() + episode.query["x"].tobytes())
    return canonical_hash({**training, "data": tasks.fingerprint(), "sizes": sizes, "drawn": digest.hexdigest()})


def save(folder: Path, name: str, *, kind: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write tensors under their content hash, then ``name``.json that points to them; whoever comes first wins.

    Args:
        folder: where artefacts are kept.
        name: of the pointer, such as ``kind`` and a recipe.
        kind: of extractor.
        tensors: what is frozen.
        record: what else is; its ``fingerprint`` names the artefact.
    """
    weights = f"{kind}-{record['fingerprint'][:16]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(_temporary(folder, safetensors.torch.save(dict(tensors))), folder / weights)
    publish(folder / f"{name}.json", {"weights": weights, **record})


def publish(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file that is not there yet; of several processes the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = _temporary(path.parent, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
    try:
        os.link(written, path)  # unlike replace, leaves the first of two racing processes in place
    except FileExistsError:
        pass
    except OSError:  # no hard links on this file system
        os.replace(written, path)
    written.unlink(missing_ok=True)


def load(pointer: Path, build: Callable[[dict[str, Tensor], dict[str, Any]], Kept]) -> Kept:
    """What :func:`save` wrote, put together by ``build(tensors, record)``.

    Raises:
        MetricError: a file is missing or damaged.
    """
    try:
        record = json.loads(pointer.read_text(encoding="utf-8"))
        weights = str(record["weights"])
        if Path(weights).name != weights:  # a results folder may come from anywhere
            raise ValueError(f"weights must be the name of a file beside it, got {weights[:80]!r}")
        made = build(safetensors.torch.load((pointer.parent / weights).read_bytes()), record)
        intact = made.fingerprint() == record["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise MetricError(f"feature extractor {pointer.name} cannot be read ({type(error).__name__}: {error}); delete it") from error
    if not intact:
        raise MetricError(f"feature extractor {pointer.name} is not what it was when it was written; delete it to make another")
    return made


def _temporary(folder: Path, content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    return Path(file.name)
