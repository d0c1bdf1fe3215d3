"""`bench why` names what an identity differs in; what cannot change a number makes no difference."""

import json

import pytest
import yaml

from bench.cli import main
from bench.errors import ExitCode
from bench.store import read_identities, write_identities

SUITE = {
    "question": "Why?",
    "name": "why",
    "replicates": 2,
    "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["scratch", "finetune"]},
    "budget": {"outer_steps": 2},
    "protocol": {
        "shots": 4, "query": 4, "samples": 4, "task_batch": 1, "validations": 0,
        "adaptation_steps": {"train": 1, "test": [0, 1]}, "tasks": {"meta_val": 1, "meta_test": 2},
    },
    "games": ["gan"],
    "task_distributions": ["gaussian-rings"],
    "networks": [{"mlp": {"width": 4}}],
    "gan_losses": ["hinge"],
    "meta_learners": ["scratch", "finetune"],
    "metrics": ["energy", "kid"],
}  # fmt: skip


def write(path, **changes):
    path.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The suite, run once."""
    place = tmp_path_factory.mktemp("why")
    suite = write(place / "why.yaml")
    assert main(["run", str(suite), "--output", str(place / "results"), "--executor", "inline", "--device", "cpu"]) == ExitCode.OK
    return place / "results"


@pytest.fixture
def why(folder, tmp_path, capsys):
    """Differing parts of the first cell of a changed suite, None where it would not run again."""

    def asking(**changes):
        suite = write(tmp_path / "changed.yaml", **changes)
        capsys.readouterr()
        assert main(["why", str(folder), "--suite", str(suite), "--json"]) == ExitCode.OK
        found = json.loads(capsys.readouterr().out)
        return None if all(one["cached"] for one in found) else next(one["differs"] for one in found if not one["cached"])

    return asking


PROTOCOL = SUITE["protocol"]


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"seed": 1}, ["seed"]),
        ({"budget": {"outer_steps": 3}}, ["budget"]),
        ({"protocol": {**PROTOCOL, "query": 5}}, ["protocol.query", "protocol.reference"]),  # as many by default
        ({"networks": [{"mlp": {"width": 5}}]}, ["network"]),
        ({"gan_losses": ["minimax"]}, ["gan_loss", "code of gan_loss"]),
        ({"metrics": ["energy"]}, ["metrics", "code of metrics"]),
        ({"meta_learners": ["scratch", {"finetune": {"outer_lr": 0.5}}]}, ["meta_learner"]),
        ({"regularisers": [["outer-clip"]]}, ["regularisers", "code of regularisers"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_changes_a_number_is_named(why, changes, differs):
    found = why(**changes)
    assert set(found) <= set(differs)
    assert differs[0] in found


@pytest.mark.parametrize(
    "changes",
    [{}, {"question": "Why not?"}, {"description": "words"}, {"metrics": ["kid", "energy"]}, {"meta_learners": ["finetune", "scratch"]}],
    ids=["nothing", "question", "description", "order of metrics", "order of arms"],
)
def test_what_changes_no_number_is_a_hit(why, changes):
    assert why(**changes) is None


def test_a_cell_is_named_by_its_id_or_its_labels(folder, capsys):
    assert main(["why", str(folder), "-k", "scratch and replicate=0"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "scratch on gaussian-rings, replicate 0" in out
    assert "in the ledger with the same identity (ok): it would not run again" in out
    name = out.split()[0]
    assert main(["why", str(folder), name]) == ExitCode.OK
    assert capsys.readouterr().out == out
    assert main(["why", str(folder), "ffffffff"]) == ExitCode.USAGE
    assert "no cell of the suite is meant by 'ffffffff'" in capsys.readouterr().err


def test_the_record_grows_and_a_damaged_one_is_no_record(tmp_path):
    write_identities(tmp_path, {"a": {"x": "1", "y": "2"}})
    write_identities(tmp_path, {"b": {"x": "1", "z": "3"}})
    assert read_identities(tmp_path) == {"a": {"x": "1", "y": "2"}, "b": {"x": "1", "z": "3"}}
    for damaged in ("", "[]", '{"parts": 1}', '{"parts": ["x"], "values": [[]], "trials": {"a": [7]}}'):
        (tmp_path / "identities.json").write_text(damaged)
        assert read_identities(tmp_path) == {}


def test_a_quick_run_is_explained_by_the_suite_that_was_run(tmp_path, capsys):
    suite, results = write(tmp_path / "why.yaml"), tmp_path / "results"
    assert main(["run", str(suite), "--quick", "--output", str(results), "--executor", "inline", "--device", "cpu"]) == ExitCode.OK
    capsys.readouterr()
    assert main(["why", str(results), "--json"]) == ExitCode.OK
    assert all(one["cached"] for one in json.loads(capsys.readouterr().out))


def test_the_id_may_stand_behind_options(folder, capsys):
    assert main(["why", str(folder), "--device", "cpu", "ffffffff"]) == ExitCode.USAGE
    assert "is meant by 'ffffffff'" in capsys.readouterr().err
    assert main(["why", str(folder), "--device", "cpu", "a", "b"]) == ExitCode.USAGE
    assert "unrecognized arguments: a b" in capsys.readouterr().err
