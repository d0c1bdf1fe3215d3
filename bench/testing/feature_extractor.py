"""What every feature extractor owes its users. Suffixes: N samples, F features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench.testing.contract import Contract, global_state_untouched
from bench.testing.network import SPECS
from bench.trial.plain_extractor import as_extractor


class SmallTasks:
    """Tasks of noise, for extractors that learn from meta-train tasks: a task is a mean."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.sample_spec = kind, SPECS[kind]

    def size(self, split: Split) -> int | None:
        """Eight tasks a split."""
        return 8

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Noise about the task's mean."""
        support, reference = ({"x": noise(self.sample_spec, n, rng, mean=task / 16)} for n in (shots, query))
        return Episode(f"{split}-{task}", support, reference)

    def fingerprint(self) -> str:
        """Everything is in the code."""
        return ""


def noise(spec: SampleSpec, n: int, rng: np.random.Generator, *, mean: float = 0.0) -> np.ndarray:
    """Normal samples (n, *shape) in the range of ``spec``, float32."""
    return np.clip(rng.normal(mean, 0.3, (n, *spec.shape)), spec.low, spec.high).astype(np.float32)


class FeatureExtractorContract(Contract):
    """What every feature extractor owes its users. Give a fixture ``extractor``: an instance, or a plain function of samples.

    :meth:`tasks`, from which it is prepared, may be overridden, and must be where it works on the samples of some task distributions only.
    """

    def tasks(self, extractor: Any) -> Any:
        """The task distribution that it is prepared for."""
        return SmallTasks(getattr(extractor, "kinds", ("points",))[0])

    @pytest.fixture
    def prepared(self, extractor: Any, tmp_path: Path) -> Any:
        """The extractor, ready for its tasks."""
        ready = as_extractor(extractor, "under test", {}, "")
        ready.prepare(self.tasks(extractor), tmp_path)
        return ready

    def test_features_are_one_finite_float64_row_a_sample(self, extractor: Any, prepared: Any) -> None:
        """(N, *shape) -> (N, F), for one sample as for many."""
        samples = self._samples(extractor)
        features = prepared.features(samples)
        assert features.ndim == 2
        assert len(features) == len(samples)
        assert features.dtype == np.float64
        assert np.isfinite(features).all()
        assert prepared.features(samples[:1]).shape == (1, features.shape[1])

    def test_features_do_not_depend_on_the_batch(self, extractor: Any, prepared: Any) -> None:
        """Neither on its other samples nor on their order."""
        samples = self._samples(extractor)
        features = prepared.features(samples)
        scale = np.abs(features).max() + 1e-12
        assert np.abs(prepared.features(samples[::-1].copy())[::-1] - features).max() < 1e-5 * scale
        assert np.abs(prepared.features(samples[:2]) - features[:2]).max() < 1e-5 * scale

    def test_features_tell_samples_apart(self, extractor: Any, prepared: Any) -> None:
        """A constant would call every two sets of samples equal."""
        assert np.ptp(prepared.features(self._samples(extractor)), axis=0).max() > 0

    def test_it_is_frozen(self, extractor: Any, prepared: Any) -> None:
        """The same features again, no change of samples, and nothing that other components share is touched."""
        samples = self._samples(extractor)
        kept, name = samples.copy(), prepared.fingerprint()
        with global_state_untouched():
            first, second = prepared.features(samples), prepared.features(samples)
        assert np.array_equal(first, second)
        assert np.array_equal(samples, kept)
        assert prepared.fingerprint() == name

    def test_it_has_a_name_and_a_certificate(self, prepared: Any) -> None:
        """A fingerprint that is a text and not empty, a certificate that JSON can hold."""
        assert isinstance(prepared.fingerprint(), str)
        assert prepared.fingerprint()
        assert isinstance(json.loads(json.dumps(prepared.certificate())), dict)

    def _samples(self, extractor: Any) -> np.ndarray:
        tasks = self.tasks(extractor)
        return np.asarray(tasks.episode("meta-test", 0, shots=6, query=0, rng=np.random.default_rng(0)).support["x"])
