"""The outer loop: until the budget is spent, with curves, checkpoints and a watch for divergence."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.episodes import TaskStream
from bench.game.draws import Draws
from bench.game.engine import Engine
from bench.game.outer import Outer
from bench.store import load_tree, save_tree, tree_metadata
from bench.trees import Tree, flatten, leaves, tree_map, unflatten
from bench.trial.rows import Rows

CURVE_POINTS = 60  # along the budget: enough for a smooth line, few enough to store for every trial
CHECKPOINT_SECONDS = 20.0


@dataclass
class Training:
    """Where meta-training stands; all of it is in a checkpoint, so that a resumed trial has the numbers of an undisturbed one.

    Attributes:
        spent: of the budget's axis.
        gradient_evaluations, samples_seen: costs so far.
        seconds, evaluation_seconds: wall clock of outer steps, and of measuring on meta-val.
        flops_per_step: floating-point operations of one outer step, matrix products and convolutions only.
        validations, points: how many points of the meta-val and meta-train curves are taken.
        diverged: why training stopped early; empty where it did not.
        best, best_step, best_loss: where the checkpoint is chosen on meta-val: ``{"meta", "carried"}`` of the best validation so far, its
            outer step and its loss; empty before one was finite.
    """

    meta: Tree
    outer: Outer
    step: int = 0
    spent: float = 0.0
    gradient_evaluations: int = 0
    samples_seen: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    flops_per_step: float = 0.0
    validations: int = 0
    points: int = 0
    diverged: str = ""
    best: Tree = field(default_factory=dict)
    best_step: int = 0
    best_loss: float = math.inf
    rows: Rows = field(default_factory=Rows)

    @property
    def flops(self) -> float:
        """Floating-point operations of all outer steps so far."""
        return self.flops_per_step * self.step

    @property
    def meta_step(self) -> int:
        """The outer step that ``meta`` is of when training has ended."""
        return self.best_step if self.best else self.step


def meta_train(
    engine: Engine,
    stream: TaskStream,
    meta: Tree,
    outer: Outer,
    *,
    replicate: int,
    axis: str,
    amount: float,
    validations: int = 0,
    validate: Callable[[Tree, int], Rows] | None = None,
    judge: Callable[[Rows], float] | None = None,
    checkpoint: Path | None = None,
    on_progress: Callable[[float], None] = lambda progress: None,
) -> Training:
    """Outer steps until ``amount`` of ``axis`` (``outer_steps`` or ``gradient_evaluations``) is spent, or the numbers diverge.

    Args:
        engine: trains its learner.
        stream: where episodes come from.
        meta: start.
        outer: the outer optimiser.
        replicate: which meta-train tasks.
        axis: what the budget counts.
        amount: of it.
        validations: how often, evenly over the budget, ``validate(meta, outer_step)`` is called; its cost is not charged.
        validate: measures on meta-val.
        judge: loss of a validation, infinite where it is beyond use; where given, training ends with the meta parameters of the lowest.
        checkpoint: file to save to now and then, and to go on from where it exists.
        on_progress: told the share of the budget that is spent.

    Returns:
        The end of training.
    """
    # In the order that a checkpoint gives back, with the samples that the start was fitted to.
    training = Training(tree_map(lambda leaf: leaf, meta), outer, samples_seen=engine.samples_seen)
    if checkpoint is not None and checkpoint.exists():
        _resume(training, engine, checkpoint)
    saved = time.monotonic()
    while training.spent < amount and not training.diverged:
        _validate_if_due(training, engine, amount, validations, validate, judge)
        began = time.perf_counter()
        _outer_step(training, engine, stream, replicate, axis, amount)
        training.seconds += time.perf_counter() - began
        on_progress(min(1.0, training.spent / amount))
        if checkpoint is not None and time.monotonic() - saved >= CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, training, engine)
            saved = time.monotonic()
    if not training.diverged and (amount or judge):
        _validate_if_due(training, engine, amount, validations, validate, judge)
    if not training.diverged and training.best:
        training.meta, engine.carried = training.best["meta"], training.best["carried"]
    if checkpoint is not None:
        save_checkpoint(checkpoint, training, engine)
    return training


def _validate_if_due(
    training: Training,
    engine: Engine,
    amount: float,
    validations: int,
    validate: Callable[[Tree, int], Rows] | None,
    judge: Callable[[Rows], float] | None,
) -> None:
    due = validations and training.spent >= amount * training.validations / validations
    if validate is not None and due and training.validations <= validations:
        began = time.perf_counter()
        rows = validate(training.meta, training.step)
        training.rows.extend(rows)
        loss = math.inf if judge is None else judge(rows)
        if loss < training.best_loss:
            training.best = {"meta": training.meta, "carried": engine.carried}
            training.best_step, training.best_loss = training.step, loss
        training.evaluation_seconds += time.perf_counter() - began
        training.validations += 1


def _outer_step(training: Training, engine: Engine, stream: TaskStream, replicate: int, axis: str, amount: float) -> None:
    step, outer = training.step, training.outer
    outer.step, outer.progress = step, min(1.0, training.spent / amount)
    episodes, draws = stream.training(replicate, step)
    if step == 0:
        training.flops_per_step = flops_of_outer_step(engine, training.meta, episodes, draws)
    engine.watched = {} if training.points <= outer.progress * CURVE_POINTS else None
    training.points = int(outer.progress * CURVE_POINTS) + 1
    gradients, samples = engine.gradient_evaluations, engine.samples_seen
    training.meta, _ = engine.outer_step(training.meta, episodes, outer, draws)
    training.step += 1
    training.gradient_evaluations += engine.gradient_evaluations - gradients
    training.samples_seen += engine.samples_seen - samples
    training.spent = training.step if axis == "outer_steps" else training.gradient_evaluations
    for name, value in (engine.watched or {}).items():
        training.rows.add(split="meta-train", outer_step=step, metric=name, value=value)
    engine.watched = None
    if not _finite(training.meta):
        training.diverged = f"nan_param at outer step {step} of meta-training"


def flops_of_outer_step(engine: Engine, meta: Tree, episodes: Tree, draws: Draws) -> float:
    """Floating-point operations of an outer step on these tasks, counted on the first of them and multiplied.

    Counted without stacking tasks: PyTorch's counter takes a stacked (grouped) convolution's backward for several times its size.
    """
    alone = Engine(
        engine.game,
        engine.learner,
        regularisers=engine.regularisers,
        augmentations=engine.augmentations,
        rules=engine.rules,
        adaptation_steps=engine.adaptation_steps,
        vectorise=False,
    )
    counter = _FlopCounter()  # type: ignore[no-untyped-call]
    with counter:
        alone.outer_step(
            meta, tree_map(lambda leaf: leaf[:1], episodes), Outer(engine.learner, engine.regularisers.values()), draws.of(draws.key[:1])
        )
    return counter.total * len(draws.key)


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up PyTorch's own formulas for the operations that it sees.

    ``FlopCounterMode`` does the same and follows modules besides, by hooks that fail on a gradient inside a forward pass.
    """

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += float(formula(*args, **(kwargs or {}), out_val=result))
        return result


def _finite(tree: Tree) -> bool:
    return bool(torch.stack([leaf.isfinite().all() for _, leaf in leaves(tree) if leaf.is_floating_point()]).all())


def save_checkpoint(path: Path, training: Training, engine: Engine) -> None:
    """Everything that the next outer step depends on, as safetensors; written atomically."""
    tensors = flatten({"meta": training.meta, "outer": training.outer.state, "carried": engine.carried, "best": training.best})
    plain = {one.name: getattr(training, one.name) for one in fields(Training) if one.name not in ("meta", "outer", "best", "rows")}
    save_tree(path, tensors, metadata={"training": json.dumps({**plain, "rows": training.rows.columns})})


def load_trained(path: Path, device: str) -> tuple[Tree, Tree]:
    """What the trial behind a checkpoint has learned: meta parameters, and what held-out tasks start from beside them.

    Returns:
        ``meta``, and :attr:`bench.game.engine.Engine.carried`.

    Raises:
        StoreError: the file is missing or damaged.
    """
    tree = unflatten({name: tensor.to(device) for name, tensor in load_tree(path).items()})
    return tree.get("meta", {}), tree.get("carried", {})


def _resume(training: Training, engine: Engine, path: Path) -> None:
    tree = unflatten({name: tensor.to(_device(engine)) for name, tensor in load_tree(path).items()})
    plain: Mapping[str, Any] = json.loads(tree_metadata(path)["training"])
    training.meta, training.outer.state, engine.carried = tree.get("meta", {}), tree.get("outer", {}), tree.get("carried", {})
    training.best = {"meta": {}, "carried": {}, **tree["best"]} if "best" in tree else {}
    training.rows = Rows(plain["rows"])
    for name, value in plain.items():
        if name != "rows":
            setattr(training, name, value)


def _device(engine: Engine) -> torch.device:
    return next(next(iter(engine.modules.values())).parameters()).device
