"""Suites of games other than an unlabelled GAN, from file to report: every cell has an outcome, and every figure is of what it shows."""

from pathlib import Path

import numpy as np
import pytest

import bench
from bench.cli import main
from bench.errors import ExitCode
from bench.frame import ledger_frame

SUITES = Path(__file__).parent / "suites"


@pytest.fixture(scope="module")
def doing():
    """(suite, trial, what it was doing before its own meta-training), as it told."""
    return set()


@pytest.fixture(scope="module")
def results(tmp_path_factory, doing):
    """{suite: results folder}, run when they are asked for."""
    folders = {}

    def of(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name) / "results"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("bench.trial.run.write_progress", lambda path, note: doing.add((name, path.parent.name, note["doing"])))
                suite, where = str(SUITES / f"{name}.yaml"), str(folders[name])
                code = main(["run", suite, "--output", where, "--executor", "inline", "--device", "cpu"])
            assert code == ExitCode.OK
        return folders[name]

    return of


def reasons(folder):
    ledger = ledger_frame(folder)
    return {(row.task_distribution, row.meta_learner): row.reason for row in ledger.itertuples() if row.status == "skipped"}


def measured(folder):
    """Meta-test measurements of samples and predictions, without those of the game."""
    frame = bench.load_results(folder)
    of_game = frame["metric"].astype(str).str.startswith(("gradient-norm-", "vanishing-steps-", "saturation", "discriminator-gap"))
    return frame[(frame["split"] == "meta-test") & ~of_game]


def test_a_vae_is_measured_like_any_generator_and_refuses_labels(results):
    folder = results("vae")
    assert set(reasons(folder).values()) == {"vae has no use for the labels of n-way"}
    frame = measured(folder)
    assert set(frame["metric"].unique()) == {"energy", "energy-to-support", "inception-score"}
    assert set(frame["arm"].unique()) == {"scratch", "finetune", "maml"}
    assert np.isfinite(frame["value"]).all()
    assert frame.loc[frame["metric"] == "inception-score", "value"].between(1, 2).all()
    assert [path.name for path in (folder / "report").glob("samples-maml-*.png")] == ["samples-maml-digits.png"]


def test_a_classifier_is_measured_by_its_predictions(results):
    folder = results("classifier")
    found = reasons(folder)
    assert {reason.split(";")[0] for (where, _), reason in found.items() if where == "digits"} == {
        "classifier needs tasks of several classes, and digits has no labels"
    }
    assert found["digits-2-way", "memorise"] == "memorise draws samples, and the game classifier is about predictions"
    frame = measured(folder)
    assert set(frame["metric"].unique()) == {"accuracy"}
    assert set(frame["arm"].unique()) == {"scratch", "maml", "maml (shuffled tasks)"}
    assert (frame["value"] * 10).round(6).isin(range(11)).all()  # five queries of each of two classes
    assert set(frame["ceiling"]) == {0.5}
    assert set(frame["n_real"]) == {10}
    adapted = frame[(frame["arm"] == "scratch") & (frame["shots"] == 4)].groupby("adaptation_step", observed=True)["value"].mean()
    assert adapted[10] > adapted[0] + 0.1  # the labels that it learns from are those that it is judged by
    text = (folder / "report" / "report.md").read_text()
    assert "query accuracy" in text
    assert "higher is better" in text
    assert not list((folder / "report").glob("samples-*.png"))  # predictions are no pictures


def test_fewer_shots_of_a_labelled_task_are_judged_on_the_same_query(results):
    frame = measured(results("classifier"))
    tasks = frame.groupby("shots", observed=True)["task_id"].agg(set)
    assert tasks[1] == tasks[4] == {f"2-way-{task}" for task in range(4)}


def test_a_conditional_gan_and_samplers_are_judged_by_their_use(results):
    frame = measured(results("conditional"))
    assert set(ledger_frame(results("conditional"))["status"]) == {"ok"}
    values = frame.pivot_table(index=["arm", "adaptation_step", "task_id"], columns="metric", values="value", observed=True)
    assert np.allclose(values["gain-over-none"], values["accuracy-generated"] - values["accuracy-none"])
    assert values[["accuracy-none", "accuracy-classical", "accuracy-generated"]].stack().between(0, 1).all()
    for name in ("accuracy-none", "cnn-accuracy-none", "cnn-accuracy-classical"):
        without = values[name].unstack("arm")  # the support is everyone's, and so is the classifier
        assert (without.nunique(axis=1) == 1).all()
    assert values["cnn-accuracy-generated"].between(0, 1).all()


def test_cells_share_one_classifier_that_is_trained_once(results):
    folder = results("conditional")
    (judge,) = (folder / "artefacts").glob("judge-*.safetensors")
    assert judge.stat().st_mtime_ns < min(path.stat().st_mtime_ns for path in (folder / "trials").glob("*/samples.npz"))


def test_the_cell_that_trains_the_judge_says_so(results, doing):
    results("conditional")
    told = [trial for suite, trial, what in doing if (suite, what) == ("conditional", "training the judge")]
    assert len(told) == 1


@pytest.mark.parametrize("name", ["vae", "classifier", "conditional"])
def test_reports_can_be_made_again(results, name, capsys):
    assert main(["report", str(results(name))]) == ExitCode.OK
    assert "Traceback" not in capsys.readouterr().err
