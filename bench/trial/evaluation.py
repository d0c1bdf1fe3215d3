"""Adapt to held-out tasks step by step, sample, and measure against their held-out real samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.contracts import Adapted, Episode, Metric, Split
from bench.game.draws import Draws
from bench.game.engine import Engine, Rollout
from bench.measure.convergence import divergence_class
from bench.suite.model import Component
from bench.trees import Tree, tree_map
from bench.trial.assemble import Setup
from bench.trial.rows import Rows

Array = np.ndarray[Any, Any]
LEVELS = 255.0  # images are compared after rounding to 8 bits, as files would store them
FATAL = ("nan_param", "nan_sample", "inf", "exploded")


@dataclass(frozen=True)
class Evaluation:
    """What adaptation made of the held-out tasks.

    Attributes:
        rows: measurements.
        samples: generated samples by adaptation step, (K, T, n, ...), and support and query (T, ., ...); arrays by name.
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
    fake_KTM = _adapted_samples(setup, meta, episodes, keys, steps)
    metrics = [(component, metric) for component, metric in setup.metrics if only is None or only in metric.outputs]
    spec = setup.stream.tasks.sample_spec
    support, query = (_parts(episodes, part, "x") for part in ("support", "query"))
    targets = _parts(episodes, "query", "y") if spec.kind == "regression" else None
    shown = targets if targets is not None else query
    modes = [episode.modes for episode in episodes]

    def adapted(fake: Array) -> Adapted:
        real = shown
        return Adapted(
            fake=fake,
            query=query,
            support=support,
            fake_features=_features(setup, fake),
            query_features=_features(setup, real),
            support_features=_features(setup, _parts(episodes, "support", "y") if targets is not None else support),
            modes=[mode for mode in modes if mode is not None] if all(mode is not None for mode in modes) else None,
            targets=targets,
        )

    centre = _parts(episodes, "support", "y") if targets is not None else support
    constant = np.repeat(centre.mean(1, keepdims=True), fake_KTM.shape[2], axis=1)
    ceilings = _values(metrics, adapted(_as_stored(constant, spec)), only)
    rows, names = Rows(), [episode.task_id for episode in episodes]
    for step, fake in zip(steps, fake_KTM, strict=True):
        look = adapted(_as_stored(fake, spec))
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
    return Evaluation(rows, _kept(fake_KTM, support, query, names, steps, modes), _divergence(fake_KTM, shown, steps, split))


def _adapted_samples(setup: Setup, meta: Tree, episodes: Sequence[Episode], keys: Sequence[int], steps: Sequence[int]) -> Array:
    """(K, T, M, ...) samples after each of ``steps``."""
    engine, protocol = setup.adapter, setup.trial.protocol
    engine.carried = setup.trainer.carried
    chunks = []
    for start in range(0, len(episodes), protocol["task_chunk"]):
        part = slice(start, start + protocol["task_chunk"])
        batch, draws = setup.stream.stack(episodes[part]), setup.stream.draws(keys[part])
        end, zero = _start(engine, meta, batch, draws)
        taken = []
        for step in steps:
            end = engine.rollout(meta, batch, draws, steps=zero + step - end.steps, order=1, start=end)
            with torch.no_grad():
                drawn = engine.sample(meta, end, protocol["samples"], draws.at("evaluation"), batch["query"])
            taken.append(drawn.cpu().numpy())
        chunks.append(np.stack(taken))
    return np.concatenate(chunks, axis=1)


def _start(engine: Engine, meta: Tree, batch: Tree, draws: Draws) -> tuple[Rollout, int]:
    """Adaptation step 0, and how many steps it took: a privileged learner sees all real samples, for a head start."""
    if getattr(engine.learner, "privileged", False):
        batch["support"] = tree_map(lambda support, query: torch.cat([support, query], 1), batch["support"], batch["query"])
    end = engine.begin(meta, batch["support"], draws)
    for _ in range(getattr(engine.learner, "head_start", 0)):  # one at a time: a rollout remembers its path
        end = engine.rollout(meta, batch, draws, steps=1, order=1, start=end)
    return end, end.steps


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


def _values(metrics: Sequence[tuple[Component, Metric]], look: Adapted, only: str | None) -> dict[tuple[int, str], Array]:
    """Values by position in ``metrics`` and name."""
    return {
        (number, name): np.asarray(values, dtype=np.float64)
        for number, (_, metric) in enumerate(metrics)
        for name, values in metric.measure(look).items()
        if only is None or name == only
    }


def _fingerprint(setup: Setup, component: Component, metric: Metric, look: Adapted) -> str:
    """Hash of everything that decides whether two values of a metric may share a column."""
    content = {
        "metric": [component.name, component.parameters, metric.version],
        "extractor": setup.extractor.fingerprint(),
        "n_real": look.query.shape[1],
        "n_fake": look.fake.shape[1],
        "quantised": setup.stream.tasks.sample_spec.kind == "image",
        "reference": [setup.stream.name, setup.trial.seed, setup.stream.tasks.fingerprint()],
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _divergence(fake_KTM: Array, real: Array, steps: Sequence[int], split: str) -> str:
    """The first adaptation step at which some task's samples are beyond use."""
    for step, fake in zip(steps, fake_KTM, strict=True):
        fatal = [kind for kind in divergence_class(fake, real) if kind in FATAL]
        if fatal:
            gravest = min(fatal, key=FATAL.index)
            return f"{gravest} at adaptation step {step} on {len(fatal)} of {len(real)} {split} tasks"
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
