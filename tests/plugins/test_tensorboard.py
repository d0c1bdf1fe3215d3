"""The TensorBoard observer: what it writes is read back with TensorBoard's own reader; without TensorBoard it says so once."""

import math
import sys

import pytest

import bench_tensorboard
from bench.testing import ObserverContract, small_outcomes

OK, DIVERGED, FAILED, TIMEOUT = small_outcomes()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(bench_tensorboard.SETTING, str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def read(place):
    """{tag: [(step, value)]} of a trial's run, and its text."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is missing: pip install 'metagan-bench[tensorboard]'"
    )

    def events(outcome):
        run = accumulator.EventAccumulator(str(place / bench_tensorboard.run_name(outcome["trial"]))).Reload()
        (status,) = run.Tensors("status/text_summary")
        curves = {tag: [(event.step, event.value) for event in run.Scalars(tag)] for tag in run.Tags()["scalars"]}
        return curves, status.tensor_proto.string_val[0].decode()

    return events


class TestTensorboard(ObserverContract):
    @pytest.fixture
    def observer(self, read):
        return bench_tensorboard


def test_curves_measures_costs_and_status_of_a_trial_are_read_back(read):
    """The small run's energies on three tasks are 1, 2 and 3 before adaptation and half less after five steps."""
    bench_tensorboard.bench_trial_finished(**OK)
    curves, status = read(OK)
    assert curves["meta-train/loss.generator"] == [(0, 1.0), (10, 0.75), (20, 0.5)]
    assert curves["meta-val/energy"] == [(20, 1.5)]
    assert curves["meta-test/energy"] == [(0, 2.0), (5, 1.5)]
    assert curves["cost/seconds"] == [(0, 2.0)]
    assert curves["cost/gradient_evaluations"] == [(0, 480.0)]
    assert curves["status/ok"] == [(0, 1.0)]
    assert status == "ok"


def test_a_trial_that_failed_has_a_reason_and_no_curves(read):
    bench_tensorboard.bench_trial_finished(**FAILED)
    assert read(FAILED) == ({"status/ok": [(0, 0.0)]}, "failed: failed on purpose")


def test_a_trial_that_is_run_again_replaces_what_it_said_before(read):
    bench_tensorboard.bench_trial_finished(**{**DIVERGED, "trial": OK["trial"]})
    bench_tensorboard.bench_trial_finished(**OK)
    curves, status = read(OK)
    assert curves["meta-train/loss.generator"] == [(0, 1.0), (10, 0.75), (20, 0.5)]
    assert (curves["status/ok"], status) == ([(0, 1.0)], "ok")


def test_nothing_is_averaged_over_survivors():
    measurements = {
        "split": ["meta-test"] * 2, "metric": ["energy"] * 2, "outer_step": [9] * 2, "adaptation_step": [5] * 2, "value": [1.0, math.nan]
    }  # fmt: skip
    (tag, step, value), *_ = bench_tensorboard.scalars({"status": "ok"}, measurements)
    assert (tag, step) == ("meta-test/energy", 5)
    assert math.isnan(value)


def test_every_trial_has_a_run_of_its_own_below_its_suite():
    names = [bench_tensorboard.run_name(outcome["trial"]) for outcome in (OK, DIVERGED, FAILED)]
    assert len(set(names)) == 3
    assert names[0] == "small/gaussian-rings/reptile-mlp-non-saturating-0-00000001"
    odd = {**OK["trial"], "arm": "../a b|c", "gan_loss": None, "transfer": {"task_distribution": {"label": "glyphs"}}}
    assert bench_tensorboard.run_name(odd) == "small/gaussian-rings-to-glyphs/.._a_b_c-mlp-0-00000001"


def test_it_is_off_without_its_setting(tmp_path, monkeypatch):
    monkeypatch.delenv(bench_tensorboard.SETTING, raising=False)
    monkeypatch.chdir(tmp_path)
    bench_tensorboard.bench_trial_finished(**OK)
    assert list(tmp_path.iterdir()) == []


def test_where_tensorboard_is_missing_it_says_so_once_and_nothing_is_written(place, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    bench_tensorboard._installed.cache_clear()
    for outcome in (OK, FAILED):
        bench_tensorboard.bench_trial_finished(**outcome)
    bench_tensorboard._installed.cache_clear()
    (told,) = caplog.records
    assert "BENCH_TENSORBOARD is set, but TensorBoard is missing" in told.getMessage()
    assert "pip install 'metagan-bench[tensorboard]'" in told.getMessage()
    assert not place.exists()
