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
from bench.trial import interruption
from bench.trial.places import Place, is_due, spacing, thinned
from bench.trial.rows import Rows

CURVE_POINTS = 64  # at most, along the budget: enough for a smooth line, few enough to store for every trial
CHECKPOINT_SECONDS = 20.0


@dataclass
class Training:
    """Where meta-training stands; all of it is in a checkpoint, so that a resumed trial has the numbers of an undisturbed one.

    Attributes:
        spent: of the budget's axis.
        gradient_evaluations, samples_seen: costs so far.
        seconds, evaluation_seconds: wall clock of outer steps, and of measuring on meta-val.
        flops_per_step: floating-point operations of one outer step, matrix products and convolutions only.
        amount: of the budget that it was to spend when it was last saved.
        validated, watched: where points of the meta-val and meta-train curves have been taken.
        horizon_use: why it cannot go on with a larger budget; empty where it can.
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
    amount: float = 0.0
    validated: list[Place] = field(default_factory=list)
    watched: list[Place] = field(default_factory=list)
    horizon_use: str = ""
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


@dataclass(frozen=True)
class Validation:
    """Measuring on meta-val now and then during meta-training; its cost is not charged.

    Attributes:
        most: times after the start, the end among them; 1 at least.
        measure: rows of meta parameters at an outer step.
        judge: loss of these rows, infinite where they are beyond use; where given, training ends with the meta parameters of the lowest.
    """

    most: int
    measure: Callable[[Tree, int], Rows]
    judge: Callable[[Rows], float] | None = None


def meta_train(
    engine: Engine,
    stream: TaskStream,
    meta: Tree,
    outer: Outer,
    *,
    replicate: int,
    axis: str,
    amount: float,
    validation: Validation | None = None,
    checkpoint: Path | None = None,
    shorter: Path | None = None,
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
        validation: what is measured on the way.
        checkpoint: file to save to now and then, and to go on from where it exists.
        shorter: where it does not, the checkpoint of this training with a smaller amount to go on from; its
            :attr:`Training.horizon_use` is empty. Either way training ends with the numbers of one that was never stopped.
        on_progress: told the share of the budget that is spent.

    Returns:
        The end of training.

    Raises:
        KeyboardInterrupt: a stop was asked for, see :mod:`bench.trial.interruption`; the checkpoint is of the last outer step.
    """
    # In the order that a checkpoint gives back, with the samples that the start was fitted to.
    training = Training(tree_map(lambda leaf: leaf, meta), outer, samples_seen=engine.samples_seen, amount=amount)
    if validation and validation.judge:
        training.horizon_use = "its checkpoint is chosen among validations, which a larger budget has elsewhere"
    if saved_in := next((path for path in (checkpoint, shorter) if path is not None and path.exists()), None):
        _resume(training, engine, saved_in)
        if training.amount != amount:
            _prolong(training, amount, validation)
    saved = time.monotonic()
    while training.spent < amount and not training.diverged:
        if validation and is_due(training.spent, training.validated, spacing(amount, validation.most)):
            _validate(training, engine, validation)
        began = time.perf_counter()
        _outer_step(training, engine, stream, replicate, axis)
        training.seconds += time.perf_counter() - began
        on_progress(min(1.0, training.spent / amount))
        stopping = interruption.requested()
        if checkpoint is not None and (stopping or time.monotonic() - saved >= CHECKPOINT_SECONDS):
            save_checkpoint(checkpoint, training, engine)
            saved = time.monotonic()
        if stopping:
            raise KeyboardInterrupt
    at_the_end = bool(training.validated) and training.validated[-1][0] == training.step
    if validation and not training.diverged and not at_the_end and (amount or validation.judge):
        _validate(training, engine, validation)
    if not training.diverged and training.best:
        training.meta, engine.carried = training.best["meta"], training.best["carried"]
    if checkpoint is not None:
        save_checkpoint(checkpoint, training, engine)
    return training


def _validate(training: Training, engine: Engine, validation: Validation) -> None:
    began = time.perf_counter()
    rows = validation.measure(training.meta, training.step)
    training.rows.extend(rows)
    loss = math.inf if validation.judge is None else validation.judge(rows)
    if loss < training.best_loss:
        training.best = {"meta": training.meta, "carried": engine.carried}
        training.best_step, training.best_loss = training.step, loss
    training.evaluation_seconds += time.perf_counter() - began
    training.validated.append((training.step, training.spent))


def _outer_step(training: Training, engine: Engine, stream: TaskStream, replicate: int, axis: str) -> None:
    step, outer = training.step, training.outer
    outer.step, outer.progress = step, min(1.0, training.spent / training.amount)
    episodes, draws = stream.training(replicate, step)
    if step == 0:
        training.flops_per_step = flops_of_outer_step(engine, training.meta, episodes, draws)
    if is_due(training.spent, training.watched, spacing(training.amount, CURVE_POINTS)):
        training.watched.append((step, training.spent))
        engine.watched = {}
    gradients, samples = engine.gradient_evaluations, engine.samples_seen
    training.meta, _ = engine.outer_step(training.meta, episodes, outer, draws)
    training.step += 1
    training.gradient_evaluations += engine.gradient_evaluations - gradients
    training.samples_seen += engine.samples_seen - samples
    training.spent = training.step if axis == "outer_steps" else training.gradient_evaluations
    training.horizon_use = training.horizon_use or outer.horizon_use
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
    places = {name: [(step, spent) for step, spent in plain[name]] for name in ("validated", "watched")}
    for name, value in {**plain, **places}.items():
        if name != "rows":
            setattr(training, name, value)


def _prolong(training: Training, amount: float, validation: Validation | None) -> None:
    """Keep of the curves what a training with this larger ``amount`` has taken so far."""
    training.amount = amount
    training.watched = thinned(training.watched, spacing(amount, CURVE_POINTS))
    training.validated = thinned(training.validated, spacing(amount, validation.most)) if validation else []
    training.rows.keep("meta-train", (step for step, _ in training.watched))
    training.rows.keep("meta-val", (step for step, _ in training.validated))


def _device(engine: Engine) -> torch.device:
    return next(next(iter(engine.modules.values())).parameters()).device
