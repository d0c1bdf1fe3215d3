"""What a trial has learned, put to use: adapt it to samples of one's own and draw new ones.

Shapes: S support samples, n samples drawn, N inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import seeds
from bench.contracts import SampleSpec
from bench.errors import DataError, StoreError, UsageError
from bench.grid.cells import Trial
from bench.registry.local import LocalFile
from bench.trees import Tree, flatten, tree_map
from bench.trial.adaptation import Adaptation, begin
from bench.trial.assemble import Setup, assemble
from bench.trial.training import load_trained

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainedModel:
    """A finished trial, ready to adapt; made by :func:`bench.load_trial`.

    Attributes:
        trial: its components, protocol and budget.
        setup: the objects that these name.
        meta: what it has learned, a tree of tensors.
    """

    trial: Trial
    setup: Setup
    meta: Tree

    @classmethod
    def load(cls, trial: Trial, checkpoint: Path, artefacts: Path, local: Sequence[LocalFile] = ()) -> TrainedModel:
        """Build the components of ``trial`` and give them what its checkpoint holds.

        Args:
            trial: with the settings that it ran with; its ``device`` is where it will compute.
            checkpoint: file that meta-training ended with.
            artefacts: folder of what trials share, see :func:`bench.trial.assemble.assemble`.
            local: local plugins that it is made of.

        Raises:
            StoreError: the checkpoint is missing, damaged, or of other networks than the trial's.
            ContractError, DataError: the components cannot be built.
        """
        setup = assemble(trial, artefacts, local)
        meta, carried = load_trained(checkpoint, trial.device)
        if getattr(setup.learner, "plays", True):
            _check_shapes(meta, setup.trainer.init(torch.Generator().manual_seed(0)), checkpoint)
        setup.adapter.carried = carried
        return cls(trial, setup, meta)

    @property
    def arm(self) -> str:
        """Name of the trial's arm in tables and figures."""
        return self.trial.arm

    @property
    def sample_spec(self) -> SampleSpec:
        """What one sample looks like: kind, shape, range of values."""
        return self.setup.plain_stream.tasks.sample_spec

    @property
    def shots(self) -> int:
        """Support samples of the tasks that it was measured on; :meth:`adapt` takes other numbers, too."""
        return int(self.trial.protocol["shots"])

    @property
    def plays(self) -> bool:
        """False for a learner that draws samples straight from the support, without networks that adapt."""
        return bool(getattr(self.setup.learner, "plays", True))

    @property
    def predicts(self) -> bool:
        """Whether an adapted model predicts targets or labels from inputs, rather than draw samples."""
        return bool(getattr(self.setup.adapter.game, "predicts", self.sample_spec.targets))

    def examples(self, tasks: int) -> Array:
        """(tasks, S, *shape) supports of the first meta-train tasks that the trial saw."""
        episodes = self.setup.plain_stream.meta_train(self.trial.replicate, tasks)
        return np.stack([np.asarray(episode.support["x"]) for episode in episodes])

    def adapt(self, support: Array | Mapping[str, Array], *, steps: int = 25, seed: int = 0, noise_key: int | None = None) -> AdaptedModel:
        """Adapt to a task of one's own, with the settings that the trial was evaluated with.

        Args:
            support: samples (S, *shape) in the range of :attr:`sample_spec`; or ``{"x": ..., "y": ...}`` as in
                :attr:`bench.contracts.Episode.support` where samples have targets or labels.
            steps: adaptation steps.
            seed: of the task's noise, in adaptation and in the samples.
            noise_key: instead of ``seed``, the key of a held-out task's own noise, see :meth:`bench.episodes.TaskStream.held_out`.
                With it and that task's support, :meth:`AdaptedModel.samples` of as many as the protocol says are those that the trial
                was measured by (to rounding, which may differ with threads and with the tasks that are adapted at once).

        Raises:
            DataError: the support does not fit :attr:`sample_spec`.
            UsageError: ``steps`` or ``seed`` is not a whole number of at least 0.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UsageError(f"seed must be a whole number of at least 0, got {seed!r}")
        batch = {"x": np.asarray(support)} if not isinstance(support, Mapping) else {name: np.asarray(a) for name, a in support.items()}
        _check_support(batch, self.sample_spec)
        stream = self.setup.plain_stream
        stacked = {name: torch.tensor(values, dtype=torch.float32, device=self.trial.device)[None] for name, values in batch.items()}
        episode = {"support": stacked, "query": tree_map(lambda values: values[:, :0], stacked)}
        key = seeds.key("own-noise", seed) if noise_key is None else noise_key
        start = begin(self.setup.adapter, self.meta, episode, stream.draws([key]))
        return AdaptedModel(self, start).further(steps)


@dataclass(frozen=True)
class AdaptedModel:
    """A :class:`TrainedModel` after adaptation to one task; never changed, :meth:`further` gives another one."""

    model: TrainedModel
    adaptation: Adaptation

    @property
    def steps(self) -> int:
        """Adaptation steps done."""
        return self.adaptation.steps

    def further(self, steps: int) -> AdaptedModel:
        """The same task after ``steps`` more adaptation steps, as if all had been asked for at once.

        Raises:
            UsageError: ``steps`` is not a whole number of at least 0.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise UsageError(f"steps must be a whole number of at least 0, got {steps!r}")
        return AdaptedModel(self.model, self.adaptation.further(steps))

    def samples(self, n: int) -> Array:
        """(n, *shape) float32 samples, raw: images may leave their range by a little.

        The noise is the seed's, whatever the number of steps, so that samples before and after steps compare one by one.

        Raises:
            UsageError: ``n`` is below 1, or samples are predictions, see :meth:`predict`.
        """
        if self.model.predicts:
            raise UsageError("this trial predicts from inputs; call predict(inputs) instead of samples(n)")
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise UsageError(f"the number of samples must be a whole number of at least 1, got {n!r}")
        drawn: Array = self.adaptation.samples(n, self.adaptation.batch["query"])[0]
        return drawn

    def predict(self, inputs: Array) -> Array:
        """Predictions at ``inputs`` (N, *shape), for trials that predict: values (N, *targets), or logits (N, classes).

        Raises:
            UsageError: the trial generates samples, see :meth:`samples`.
            DataError: ``inputs`` have another shape.
        """
        if not self.model.predicts:
            raise UsageError("this trial generates samples; call samples(n) instead of predict(inputs)")
        values = np.asarray(inputs)
        _check_array("inputs", values, self.model.sample_spec.shape)
        x = torch.tensor(values, dtype=torch.float32, device=self.model.trial.device)[None]
        predicted: Array = self.adaptation.samples(len(values), {"x": x})[0]
        return predicted


def _check_support(batch: Mapping[str, Array], spec: SampleSpec) -> None:
    labels = spec.targets or ((spec.classes,) if spec.classes else ())
    wanted = ("x", "y") if labels else ("x",)
    if missing := [name for name in wanted if name not in batch]:
        raise DataError(
            f"the support needs {' and '.join(map(repr, wanted))}, and lacks {' and '.join(map(repr, missing))}; "
            "give a mapping as in bench.contracts.Episode.support"
        )
    _check_array("support", batch["x"], spec.shape)
    if labels:
        _check_array("targets or one-hot labels", batch["y"], labels)
    if lengths := {name: len(values) for name, values in batch.items() if len(values) != len(batch["x"])}:
        raise DataError(f"the support has {len(batch['x'])} samples 'x', but {lengths} of others; give as many of each")
    low, high = float(batch["x"].min()), float(batch["x"].max())
    if (spec.low is not None and low < spec.low - _SLACK) or (spec.high is not None and high > spec.high + _SLACK):
        raise DataError(
            f"the support has values in [{low:.4g}, {high:.4g}], but samples of this trial lie in [{spec.low}, {spec.high}]; rescale them"
        )


_SLACK = 1e-3  # beyond the range: half a grey level of 8 bits is 2e-3, rounding of float32 far less


def _check_array(name: str, values: Array, shape: tuple[int, ...]) -> None:
    spelled = " x ".join(map(str, shape)) or "numbers"
    if values.dtype.kind not in "fiub":
        raise DataError(f"the {name} must be an array of numbers, got dtype {values.dtype}")
    if values.shape[1:] != shape or values.ndim != len(shape) + 1 or not len(values):
        raise DataError(f"the {name} must have shape (number of samples, {spelled}) with at least one sample, got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise DataError(f"the {name} must be finite, got NaN or infinite values; remove these samples")


def _check_shapes(meta: Tree, fresh: Tree, checkpoint: Path) -> None:
    """Refuse what other networks or another learner have learned: their numbers would mean something else here."""
    found, wanted = ({name: list(leaf.shape) for name, leaf in flatten(tree).items()} for tree in (meta, fresh))
    if found != wanted:
        name = min(name for name in {**found, **wanted} if found.get(name) != wanted.get(name))
        raise StoreError(
            f"{checkpoint}: {name} is {found.get(name, 'missing')}, but the trial's components make it {wanted.get(name, 'nothing')}: "
            "suite or code have changed since it was trained; run the suite again into another folder"
        )
