"""The probe that packing rests on runs the trial's own networks for a moment, and leaves nothing that a trial could mistake for its own."""

from pathlib import Path

from bench.driver.run import RunOptions, prepare
from bench.trial.probe import probe

TWIN = Path(__file__).parent / "suites" / "twin.yaml"


def test_a_probe_measures_memory_and_leaves_only_what_trials_share(tmp_path):
    planned = prepare(TWIN, RunOptions(output=tmp_path / "none", device="cpu"))
    trial = next(trial for trial in planned.plan.trials if trial.arm == "maml(order=2)" and not trial.skip)
    row, measurements = probe({"trial": trial.to_dict(), "results": str(tmp_path)})
    assert (row["status"], measurements) == ("ok", {})
    assert row["peak_memory_bytes"] > 1 << 20
    assert list((tmp_path / "trials").iterdir()) == []
    assert {path.stem for path in (tmp_path / "artefacts").iterdir()} <= {trial.features_key, trial.judge_key}
