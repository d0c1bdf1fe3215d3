"""Adapt to held-out tasks step by step, sample, and measure against their held-out real samples."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.contracts import Adapted, Episode, Metric, Split
from bench.errors import ContractError
from bench.measure.convergence import divergence_class
from bench.suite.model import Component
from bench.trees import Tree
from bench.trial.adaptation import begin
from bench.trial.assemble import Setup
from bench.trial.health import game_health
from bench.trial.rows import Rows

Array = np.ndarray[Any, Any]
LEVELS = 255.0  # images are compared after rounding to 8 bits, as files would store them
FATAL = ("nan_param", "nan_sample", "inf", "exploded")


@dataclass(frozen=True)
class Evaluation:
    """What adaptation made of the held-out tasks.

    Attributes:
        rows: measurements.
        samples: generated samples (or predictions) by adaptation step, (K, T, n, ...), and support and query (T, ., ...), beside
            targets where the game predicts; arrays by name.
        diverged: the gravest numerical failure, in words; empty where there is none.
    """

    rows: Rows
    samples: dict[str, Array]
    diverged: str


def evaluate(setup: Setup, meta: Tree, split: Split, steps: Sequence[int], *, outer_step: int, only: str | None = None) -> Evaluation:
    """Adapt ``meta`` to every held-out task of ``split`` and measure after each of ``steps``.

    Real samples are held-out ones of the task, never its support. Generated samples use one noise per task, the same
    for every learner and replicate.

    Args:
        setup: the trial.
        meta: meta parameters.
        split: meta-val or meta-test.
        steps: adaptation steps, increasing.
        outer_step: recorded with the measurements.
        only: measure only the metric that has this output.
    """
    episodes, keys = setup.stream.held_out(split)
    fake_KTM, health_K = _adapted(setup, meta, episodes, keys, steps)
    metrics = [(component, metric) for component, metric in setup.metrics if only is None or only in metric.outputs]
    spec = setup.stream.tasks.sample_spec
    support, query = (_parts(episodes, part, "x") for part in ("support", "query"))
    predicts = _predicts(setup)
    # What is judged is of the kind of ...: targets, where the game predicts them, and samples everywhere else.
    known, real = (_parts(episodes, part, "y") for part in ("support", "query")) if predicts else (support, query)
    labels = {f"{part}_labels": _parts(episodes, part, "y") for part in ("support", "query")} if spec.classes else {}
    if spec.classes and not predicts:
        labels["fake_labels"] = np.broadcast_to(_cycled_labels(spec.classes, fake_KTM.shape[2]), (*fake_KTM.shape[1:3], spec.classes))
    modes = [episode.modes for episode in episodes]
    features = _flat_features if predicts else partial(_features, setup)
    known_features, real_features = features(known), features(real)

    def adapted(samples: Array) -> Adapted:
        fake = samples if predicts else _as_stored(samples, spec)
        return Adapted(
            fake=fake,
            query=query,
            support=support,
            fake_features=features(fake),
            query_features=real_features,
            support_features=known_features,
            modes=[mode for mode in modes if mode is not None] if all(mode is not None for mode in modes) else None,
            targets=real if predicts else None,
            features=features,
            judge=setup.judge,
            **labels,
        )

    constant = np.repeat(known.mean(1, keepdims=True), fake_KTM.shape[2], axis=1)
    ceilings = _values(metrics, adapted(constant), only)
    rows, names = Rows(), [episode.task_id for episode in episodes]
    for step, fake, health in zip(steps, fake_KTM, health_K, strict=True):
        for name, values in health.items():
            for task, value in zip(names, values, strict=True):
                rows.add(split=split, task_id=task, outer_step=outer_step, adaptation_step=step, metric=name, value=float(value))
        look = adapted(fake)
        for (number, name), values in _values(metrics, look, only).items():
            pooled = values.ndim == 0
            ceiling = np.atleast_1d(ceilings[number, name])
            for task, value, limit in zip(["pooled"] if pooled else names, np.atleast_1d(values), ceiling, strict=True):
                rows.add(
                    split=split,
                    task_id=task,
                    outer_step=outer_step,
                    adaptation_step=step,
                    metric=name,
                    value=float(value),
                    ceiling=float(limit),
                    n_real=int(look.query.shape[1] * (len(names) if pooled else 1)),
                    n_fake=int(look.fake.shape[1] * (len(names) if pooled else 1)),
                    fingerprint=_fingerprint(setup, *metrics[number], look),
                )
    kept = _kept(fake_KTM, support, query, names, steps, modes)
    if predicts:
        kept["targets"] = real[: len(kept["query"]), : kept["query"].shape[1]]
    unbounded = predicts and spec.classes > 0  # logits have no range that they could leave
    return Evaluation(rows, kept, _divergence(fake_KTM, real, steps, split, fatal=FATAL[:-1] if unbounded else FATAL))


def _predicts(setup: Setup) -> bool:
    return bool(getattr(setup.adapter.game, "predicts", False))


def _cycled_labels(classes: int, n: int) -> Array:
    """One-hot (n, classes) of generated samples: row i is of class i modulo the number of classes."""
    return np.eye(classes, dtype=np.float32)[np.arange(n) % classes]


def _adapted(
    setup: Setup, meta: Tree, episodes: Sequence[Episode], keys: Sequence[int], steps: Sequence[int]
) -> tuple[Array, list[dict[str, Array]]]:
    """(K, T, M, ...) samples after each of ``steps``, and {measure: (T,)} of the game's health there."""
    engine, protocol = setup.adapter, setup.trial.protocol
    engine.carried = setup.trainer.carried
    chunks, healths = [], []
    for start in range(0, len(episodes), protocol["task_chunk"]):
        part = slice(start, start + protocol["task_chunk"])
        batch, draws = setup.stream.stack(episodes[part]), setup.stream.draws(keys[part])
        tasks = begin(engine, meta, batch, draws)
        taken, health = [], []
        for step in steps:
            tasks = tasks.further(step - tasks.steps)
            taken.append(tasks.samples(protocol["samples"], batch["query"]))
            health.append(game_health(tasks))
        chunks.append(np.stack(taken))
        healths.append(health)
    return np.concatenate(chunks, axis=1), [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in zip(*healths, strict=True)
    ]


def _parts(episodes: Iterable[Episode], part: str, name: str) -> Array:
    return np.stack([np.asarray(getattr(episode, part)[name], dtype=np.float32) for episode in episodes])


def _as_stored(samples: Array, spec: Any) -> Array:
    """Images clipped to their range and rounded to 8 bits; other samples as they are."""
    if spec.kind != "image" or spec.low is None or spec.high is None:
        return samples
    unit = (np.clip(samples, spec.low, spec.high) - spec.low) / (spec.high - spec.low)
    stored: Array = (np.round(unit * LEVELS) / LEVELS * (spec.high - spec.low) + spec.low).astype(np.float32)
    return stored


def _features(setup: Setup, samples: Array) -> Array:
    """(T, N, ...) -> (T, N, F); non-finite samples give NaN features."""
    flat = samples.reshape(-1, *samples.shape[2:])
    finite = np.isfinite(flat).reshape(len(flat), -1).all(1)
    features = setup.extractor.features(np.where(finite.reshape(-1, *[1] * (flat.ndim - 1)), flat, 0).astype(np.float32))
    features[~finite] = np.nan
    return features.reshape(*samples.shape[:2], -1)


def _flat_features(predictions: Array) -> Array:
    """(T, N, ...) -> (T, N, F), the numbers themselves."""
    return predictions.reshape(*predictions.shape[:2], -1).astype(np.float64)


def _values(metrics: Sequence[tuple[Component, Metric]], look: Adapted, only: str | None) -> dict[tuple[int, str], Array]:
    """Values by position in ``metrics`` and name.

    Raises:
        ContractError: a metric answers what it has not declared, or changes what the others see, too.
    """
    found: dict[tuple[int, str], Array] = {}
    before = _checksums(look)
    for number, (component, metric) in enumerate(metrics):
        who = f"metric {component.label!r}"
        answer = metric.measure(look)
        if changed := [name for name, checksum in _checksums(look).items() if checksum != before[name]]:
            raise ContractError(f"{who} changed {', '.join(changed)} in place, which the other metrics see, too; copy it first")
        if not isinstance(answer, Mapping):
            raise ContractError(f"{who} must return a mapping of outputs to values, got {type(answer).__name__}")
        for name, values in answer.items():
            if only is None or name == only:
                found[number, name] = _checked(f"output {name!r} of {who}", values, len(look.fake))
    return found


def _checksums(look: Adapted) -> dict[str, int]:
    """Of every array that metrics are shown."""
    return {name: zlib.crc32(np.ascontiguousarray(value).data) for name, value in vars(look).items() if isinstance(value, np.ndarray)}


def _checked(what: str, values: Any, tasks: int) -> Array:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ContractError(f"{what} must be numbers, one a task or one for all, got {type(values).__name__} ({error})") from error
    if numbers.shape not in ((), (tasks,)):
        raise ContractError(f"{what} must have one value a task, shape [{tasks}], or one for all, got shape {list(numbers.shape)}")
    return numbers


def _fingerprint(setup: Setup, component: Component, metric: Metric, look: Adapted) -> str:
    """Hash of everything that decides whether two values of a metric may share a column."""
    content = {
        "metric": [component.name, component.parameters, metric.version],
        "extractor": setup.extractor.fingerprint(),
        "n_real": look.query.shape[1],
        "n_fake": look.fake.shape[1],
        "quantised": setup.stream.tasks.sample_spec.kind == "image" and not _predicts(setup),
        "reference": [setup.stream.name, setup.trial.seed, setup.stream.tasks.fingerprint()],
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _divergence(fake_KTM: Array, real: Array, steps: Sequence[int], split: str, *, fatal: Sequence[str]) -> str:
    """The first adaptation step at which some task's samples are beyond use."""
    for step, fake in zip(steps, fake_KTM, strict=True):
        found = [kind for kind in divergence_class(fake, real) if kind in fatal]
        if found:
            gravest = min(found, key=fatal.index)
            return f"{gravest} at adaptation step {step} on {len(found)} of {len(real)} {split} tasks"
    return ""


SHOWN_TASKS, SHOWN_SAMPLES, SHOWN_POINTS = 6, 12, 64


def _kept(fake_KTM: Array, support: Array, query: Array, names: list[str], steps: Sequence[int], modes: Sequence[Any]) -> dict[str, Array]:
    """A few tasks' samples, for people to look at."""
    tasks = slice(SHOWN_TASKS)
    several = SHOWN_POINTS if fake_KTM.ndim <= 4 else SHOWN_SAMPLES
    kept = {
        "steps": np.asarray(steps),
        "task_ids": np.asarray(names[tasks]),
        "support": support[tasks, :several],
        "query": query[tasks, :several],
        "generated": fake_KTM[:, tasks, :several],
    }
    if all(mode is not None for mode in modes):
        kept["modes_centres"] = np.stack([mode.centres for mode in modes[tasks]])
    return kept
