"""`bench clean` takes what nothing needs, and nothing else."""

import pytest

from bench.cli import main
from bench.driver.cleaning import clean, waste
from bench.errors import ExitCode, StoreError
from bench.store import Store

DONE, RUNNING, DROPPED = ("0" * 7 + digit for digit in "123")


@pytest.fixture
def results(tmp_path):
    """One finished trial, one that runs, one that the plan dropped, each with a checkpoint and samples."""
    cell = {"arm": "maml", "task_distribution": "glyphs", "replicate": 0, "shots": 5}
    with Store.create(tmp_path) as store:
        store.plan({trial_id: cell for trial_id in (DONE, RUNNING, DROPPED)})
        for trial_id in (DONE, DROPPED):
            store.start(trial_id)
            store.finish(trial_id, {"status": "ok"}, {"split": ["meta-test"], "metric": ["m"], "value": [1.0]})
        store.start(RUNNING)
        store.drop([DROPPED])
    for trial_id in (DONE, RUNNING, DROPPED):
        folder = tmp_path / "trials" / trial_id
        folder.mkdir()
        for name, size in (("checkpoint.safetensors", 1000), ("samples.npz", 100), ("progress.json", 10)):
            (folder / name).write_bytes(b"x" * size)
    return tmp_path


def names(results, found):
    return {str(one.path.relative_to(results)): one.bytes for one in found}


def test_only_what_nothing_needs_is_waste(results):
    assert names(results, waste(results)) == {f"trials/{DROPPED}": 1110, f"trials/{DONE}/progress.json": 10}
    more = names(results, waste(results, checkpoints=True))
    assert set(more) - set(names(results, waste(results))) == {f"trials/{DONE}/checkpoint.safetensors"}


def test_nothing_is_deleted_without_yes(results, capsys):
    before = sorted(results.rglob("*"))
    assert main(["clean", str(results)]) == ExitCode.OK
    assert "could go; nothing was deleted" in capsys.readouterr().out
    assert sorted(results.rglob("*")) == before
    assert main(["clean", str(results), "--checkpoints", "--yes"]) == ExitCode.OK
    assert "Deleted" in capsys.readouterr().out
    left = {str(path.relative_to(results)) for path in (results / "trials").rglob("*") if path.is_file()}
    assert left == {
        f"trials/{DONE}/samples.npz",
        *(f"trials/{RUNNING}/{n}" for n in ("checkpoint.safetensors", "samples.npz", "progress.json")),
    }
    assert main(["clean", str(results), "--checkpoints", "--yes"]) == ExitCode.OK
    assert "Nothing to clean" in capsys.readouterr().out


def test_a_folder_in_use_is_left_alone(results):
    with Store.open(results), pytest.raises(StoreError, match="another"):
        clean(results)
    assert (results / "trials" / DROPPED).exists()


def test_a_link_out_of_the_folder_is_not_followed(results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "mine").write_text("mine")
    (results / "trials" / ("0" * 7 + "9")).symlink_to(outside)
    with pytest.raises(StoreError, match="leads out of"):
        clean(results)
    assert (outside / "mine").read_text() == "mine"
    assert (results / "trials" / DROPPED).exists()  # all or nothing
