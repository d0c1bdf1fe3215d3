"""The command line: every verb, its examples, its exit codes and its JSON."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

import bench
from bench import cli
from bench.cli import main
from bench.errors import ContractError, ExitCode
from bench.frame import ledger_frame
from bench.schedule.account import Account
from bench_builtin.task_distributions import omniglot

ROOT = Path(__file__).parent.parent
TWIN = ROOT / "tests" / "suites" / "twin.yaml"
VERBS = (
    *(
        ["run"],
        ["retry"],
        ["plan"],
        ["validate"],
        ["schema"],
        ["report"],
        ["status"],
        ["why"],
        ["show"],
        ["clean"],
        ["compare"],
        ["audit"],
        ["adapt"],
    ),
    *(["plugins", "list"], ["plugins", "info"]),
)

TINY = {
    "question": "Does it run?",
    "name": "tiny",
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
    "metrics": ["energy"],
}  # fmt: skip


SUITES = Path(__file__).parent / "suites"


@pytest.fixture
def say(capsys):
    """Run a command; exit code, output and errors."""

    def running(*arguments):
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return running


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Write a tiny suite with some keys changed, in an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def writing(**changes):
        path = tmp_path / f"{changes.get('name', 'tiny')}.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))
        return path.name

    return writing


# ------------------------------------------------------------------ help and usage
@pytest.mark.parametrize("verb", [[], ["plugins"], *VERBS], ids=" ".join)
def test_help_describes_and_shows_examples(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([*verb, "--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    assert text.startswith(f"usage: {' '.join(['bench', *verb])}")
    if verb == ["plugins"]:
        assert all(name in text for name in ("list", "info"))
        return
    lines = text.split("examples:\n")[1].splitlines()
    assert any(line.startswith(f"  {' '.join(['bench', *verb])}") for line in lines)


def test_help_tells_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split("exit codes:")[1].split())
    assert [part.split()[0] for part in text.split(", ") if part[0].isdigit()] == [str(int(code)) for code in ExitCode]


def test_the_examples_of_the_help_are_commands_that_parse(capsys):
    parsed = 0
    for verb in ([], *VERBS):
        with pytest.raises(SystemExit):
            main([*verb, "--help"])
        for line in capsys.readouterr().out.split("examples:\n")[1].splitlines():
            if line.startswith("  bench "):
                words = line.split("   ")[0] if "   " in line.strip() else line
                assert cli._parser().parse_args(shlex.split(words.split(" > ")[0])[1:]).verb
                parsed += 1
    assert parsed >= 10


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from bench.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'ray', 'numpy', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_is_installed():
    done = subprocess.run([Path(sys.executable).with_name("bench"), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"bench {version('metagan-bench')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["runn", "x.yaml"], "invalid choice: 'runn'"),
        (["run"], "the following arguments are required: suite"),
        (["run", "x.yaml", "--jobs", "0"], "must be a whole number of at least 1, got '0'"),
        (["run", "x.yaml", "--jobs", "many"], "must be a whole number of at least 1, got 'many'"),
        (["run", "x.yaml", "--gpus-per-trial", "1.5"], "must be a share of a card from 0.01 to 1, or a whole number of cards, got '1.5'"),
        (["run", "x.yaml", "--gpus-per-trial", "0"], "or a whole number of cards, got '0'"),
        (["run", "x.yaml", "--executor", "slurm"], "invalid choice: 'slurm'"),
        (["plan", "x.yaml", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["plugins"], "the following arguments are required: VERB"),
        (["plugins", "info"], "the following arguments are required: name"),
        (["plan", "x.yaml", "--jason"], "unrecognized arguments: --jason"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["plan", "none.yaml"], "none.yaml: no such file"),
        (["validate", "none.yaml"], "none.yaml: no such file"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_has_its_own_exit_code_and_says_what_is_wrong(say, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = say(*arguments)
    assert code == ExitCode.USAGE
    assert out == ""
    assert err.startswith("bench: ")
    assert message in err
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ exit codes of what goes wrong
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ContractError("broken, mend it"), ExitCode.BROKEN_PLUGIN, "bench: broken, mend it"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "bench: interrupted"),
        (ZeroDivisionError("oops"), ExitCode.BROKEN_PLUGIN, "bench: internal error; please report it"),
    ],
)
def test_what_a_verb_raises_becomes_an_exit_code(monkeypatch, say, error, code, words):
    def fail(options):
        raise error

    monkeypatch.setattr(cli, "_schema", fail)
    got, _, err = say("schema")
    assert got == code
    assert words in err
    assert ("ZeroDivisionError: oops" in err) == isinstance(error, ZeroDivisionError)


def test_a_reader_that_has_gone_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m bench.cli schema | head -c 10; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
    )
    assert done.returncode == ExitCode.OK
    assert done.stderr == b""


# ------------------------------------------------------------------ validate and schema
def test_validate_counts_cells_and_warns_of_unequal_arms_without_failing(say, suite):
    code, out, _ = say("validate", suite())
    verdict, flag = out.splitlines()
    assert (code, verdict) == (ExitCode.OK, "tiny.yaml: valid; 2 cells")
    assert flag.startswith("  not equal: budget: scratch spends none of it")


def test_validate_tells_of_skipped_cells(say):
    code, out, _ = say("validate", TWIN)
    assert code == ExitCode.OK
    assert "14 of them skipped (bench plan says why)" in out


@pytest.mark.parametrize("verb", ["validate", "plan", "run"])
def test_a_suite_of_which_nothing_can_run_is_told_so(say, tmp_path, verb):
    path = tmp_path / "labels.yaml"
    path.write_text((SUITES / "conditional.yaml").read_text().replace("games: [gan]", "games: [vae]").replace("gan_losses", "# gan_losses"))
    code, _, errors = say(verb, str(path), *([] if verb == "validate" else ["--output", str(tmp_path / "results")]))
    assert code == ExitCode.NOTHING_SELECTED
    assert "they are all skipped" in errors
    assert "vae has no use for the labels of n-way" in errors
    assert not (tmp_path / "results").exists()


def test_hyperparameters_that_break_a_rule_are_not_missing_data(say, tmp_path):
    path = tmp_path / "twice.yaml"
    twice = "{n-way: {tasks: {n-way: {tasks: {digits: {size: 8}}, ways: 2}}, ways: 2}}"
    path.write_text((SUITES / "conditional.yaml").read_text().replace("{n-way: {tasks: {digits: {size: 8}}, ways: 2}}", twice))
    code, _, errors = say("validate", str(path))
    assert code == ExitCode.USAGE
    assert "n-way needs tasks that are one class each" in errors


def test_validate_prints_the_resolved_suite(say, suite):
    code, out, _ = say("validate", suite(), "--json")
    resolved = json.loads(out)
    assert code == ExitCode.OK
    assert resolved["protocol"]["task_chunk"] == 8
    assert resolved["networks"][0] == {"family": "networks", "name": "mlp", "parameters": {"width": 4}, "test": {}, "label": "mlp"}


def test_validate_tells_every_problem_with_its_line(say, suite):
    code, out, err = say("validate", suite(gan_losses=["hing"], replicates=0))
    assert code == ExitCode.USAGE
    assert out == ""
    assert "Did you mean 'hinge'?" in err
    assert "replicates: must be >= 1 (value 0)" in err
    assert err.count("tiny.yaml:") == 2


def test_schema_is_a_json_schema_that_the_suites_fit(say):
    for arguments in (["schema"], ["schema", "--json"]):
        code, out, _ = say(*arguments)
        assert code == ExitCode.OK
    schema = json.loads(out)
    Draft202012Validator.check_schema(schema)
    assert not list(Draft202012Validator(schema).iter_errors(TINY))
    assert list(Draft202012Validator(schema).iter_errors({**TINY, "gan_losses": ["hing"]}))


# ------------------------------------------------------------------ plugins
def test_plugins_are_listed_by_family(say):
    code, out, _ = say("plugins", "list")
    assert code == ExitCode.OK
    families = [line[:-1] for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert families[0] == "games"
    assert families[-1] == "plugins"
    assert re.search(r"^  reptile +\S.+  \[builtin\]$", out, re.MULTILINE)
    assert "builtin (metagan-bench" in out


def test_plugins_as_json_are_the_ones_of_the_text(say):
    _, text, _ = say("plugins", "list")
    code, out, _ = say("plugins", "list", "--json")
    plugins = json.loads(out)
    (builtin,) = [plugin for plugin in plugins if plugin["name"] == "builtin"]
    assert code == ExitCode.OK
    assert builtin["status"] == "ok"
    assert {"family": "gan_losses", "name": "wasserstein"} in builtin["components"]
    assert all(f"  {component['name']}" in text for component in builtin["components"])


def test_a_component_tells_its_hyperparameters(say):
    code, out, _ = say("plugins", "info", "maml")
    assert code == ExitCode.OK
    assert "maml (meta_learners) from metagan-bench" in out
    assert "  order: one of 1, 2, default 2" in out
    assert "  inner_optimiser: one of inner_optimisers, default" in out
    code, out, _ = say("plugins", "info", "maml", "--json")
    about = json.loads(out)["meta_learners"]
    assert about["attributes"]["trains"] is True
    assert about["hyperparameters"]["properties"]["order"]["enum"] == [1, 2]
    assert about["defaults"]["order"] == 2


def test_a_component_without_hyperparameters_says_so(say):
    _, out, _ = say("plugins", "info", "hinge")
    assert "no hyperparameters" in out


def test_ranges_and_unions_are_told(say):
    _, out, _ = say("plugins", "info", "mlp")
    assert "  width: integer >= 1 or object, default 64" in out
    _, out, _ = say("plugins", "info", "gan")
    assert "  fakes: integer >= 1 or null, default None" in out


def test_a_plugin_tells_what_it_offers(say):
    code, out, _ = say("plugins", "info", "builtin")
    assert code == ExitCode.OK
    assert "entry point: bench_builtin" in out
    assert "gan_losses: hinge" in out
    _, out, _ = say("plugins", "info", "builtin", "--json")
    assert json.loads(out)["distribution"] == "metagan-bench"


def test_an_unknown_name_gets_the_closest_one(say):
    code, out, err = say("plugins", "info", "reptil")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "there is no component or plugin 'reptil'. Did you mean 'reptile'? See: bench plugins list" in err


# ------------------------------------------------------------------ plan
def test_a_plan_tells_cells_time_disk_and_decisions_and_leaves_no_trace(say, suite, tmp_path):
    path = suite(replicates=3, exclude=[{"meta_learners": "scratch", "reason": "known already"}])
    code, out, _ = say("plan", path, "--jobs", 2)
    lines = out.splitlines()
    assert code == ExitCode.OK
    assert lines[0] == "tiny: Does it run?"
    assert lines[1].startswith("6 cells, 0 finished before, 3 to run, 3 skipped, about ")
    assert "  gaussian-rings: finetune x 3" in lines
    assert "  skipped x 3: excluded by the suite: known already" in lines
    assert any(line.startswith("time: ") and "on 2 (a first guess" in line for line in lines)
    assert any(line.startswith("disk: about ") and line.endswith("MB in results/tiny") for line in lines)
    assert lines[-1].startswith("decides: ")
    assert [entry.name for entry in tmp_path.iterdir()] == [path]


def test_a_plan_as_json_has_every_cell(say, suite):
    code, out, _ = say("plan", suite(), "--json", "--jobs", 3, "--device", "cpu")
    plan = json.loads(out)
    assert code == ExitCode.OK
    assert [(cell["arm"], cell["skip"], cell["missing"]) for cell in plan["cells"]] == [("scratch", "", True), ("finetune", "", True)]
    assert plan["slots"] == 3
    assert plan["cached"] == 0
    assert plan["seconds"] > 0
    assert len({cell["trial_id"] for cell in plan["cells"]}) == 2


def test_a_selection_of_nothing_has_its_own_exit_code(say, suite):
    code, _, err = say("plan", suite(), "-k", "nobody")
    assert code == ExitCode.NOTHING_SELECTED
    assert "arms: finetune, scratch" in err


# ------------------------------------------------------------------ run and report
def run(say, *arguments):
    return say("run", *arguments, "--executor", "inline", "--device", "cpu")


def test_run_plan_and_report_of_one_suite(say, suite, tmp_path):
    path = suite()
    code, out, _ = run(say, path)
    results = tmp_path / "results" / "tiny"
    assert code == ExitCode.OK
    assert "2 cells, 0 finished before, 2 to run" in out
    assert "Report: results/tiny/report.html" in out
    assert set(ledger_frame(results)["status"]) == {"ok"}
    assert (results / "suite.yaml").read_text() == Path(path).read_text()

    code, out, _ = say("plan", path, "--device", "cpu")
    assert "2 finished before, 0 to run" in out
    assert "time: none" in out

    code, out, _ = say("report", "results/tiny")
    assert code == ExitCode.OK
    assert "results/tiny/report.html" in out
    code, out, _ = say("report", "results/tiny", "--json")
    assert all(Path(written).is_file() for written in json.loads(out))

    # More replicates: what is there stays, what is missing is run.
    code, out, _ = run(say, suite(replicates=2))
    assert (code, "4 cells, 2 finished before, 2 to run" in out) == (ExitCode.OK, True)
    # And fewer: rows of cells that the suite no longer has leave the tables.
    code, out, _ = run(say, suite())
    assert len(ledger_frame(results)) == 2


def test_results_are_shown_in_the_terminal_and_compared_with_others(say, suite):
    assert run(say, suite(replicates=2), "-o", "before")[0] == ExitCode.OK
    assert run(say, suite(replicates=2), "-o", "after")[0] == ExitCode.OK
    code, out, _ = say("show", "before")
    assert code == ExitCode.OK
    for words in ("Does it run?", "Results on", "scratch", "n_ok/n_planned", "2/2", "bench report before"):
        assert words in out
    headings = next(line.split() for line in out.splitlines() if "n_ok/n_planned" in line)
    assert headings[:2] == ["arm", "n_ok/n_planned"]
    assert headings.count("n_ok/n_planned") == 1
    code, out, _ = say("compare", "before", "after", "--all-metrics")
    assert (code, "No regression among 2 arms: 2 with the same numbers" in out) == (ExitCode.OK, True)
    assert "| finetune |" in say("compare", "before", "after", "--markdown")[1]
    assert json.loads(say("compare", "before", "after", "--json")[1])["regressions"] == []

    # Other networks under the same names are another version; a worse one is told by the exit code.
    assert run(say, suite(replicates=2, name="tiny", networks=[{"mlp": {"width": 8}}]), "-o", "other")[0] == ExitCode.OK
    code, out, _ = say("compare", "before", "other", "--json")
    found = json.loads(out)
    assert code == (ExitCode.REGRESSION if found["regressions"] else ExitCode.OK)
    assert {row["verdict"] for row in found["changes"]} != {"same numbers"}
    assert say("compare", "before", "nowhere")[0] == ExitCode.USAGE


def test_a_quick_run_has_a_folder_of_its_own(say, suite, tmp_path):
    code, _, _ = run(say, suite(replicates=2, budget={"outer_steps": 2, "warm_start": {"finetune": 1}}), "--quick")
    assert code == ExitCode.OK
    assert [entry.name for entry in (tmp_path / "results").iterdir()] == ["tiny-quick"]
    assert len(ledger_frame(tmp_path / "results" / "tiny-quick")) == 2


def test_the_folder_of_another_suite_is_refused(say, suite, tmp_path):
    """Its rows would be dropped; the quick version of a suite is another one, too."""
    assert run(say, suite(), "-o", "out")[0] == ExitCode.OK
    before = (tmp_path / "out" / "ledger.jsonl").read_bytes()
    for arguments in ([suite(name="other"), "-o", "out"], [suite(), "-o", "out", "--quick"], [suite(name="other"), "-o", "out", "--debug"]):
        code, _, err = run(say, *arguments)
        assert code == ExitCode.USAGE
        assert "out holds the results of the suite 'tiny'" in err
        assert "choose another folder with --output" in err
    assert say("plan", suite(name="other"), "-o", "out")[0] == ExitCode.USAGE
    assert (tmp_path / "out" / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=["run", "debug"])
def test_an_output_that_is_a_file_is_refused(say, suite, tmp_path, options):
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/inside"):
        code, _, err = run(say, suite(), "-o", place, *options)
        assert code == ExitCode.USAGE
        assert "--output" in err
        assert "file" in err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=["run", "debug"])
def test_an_output_that_cannot_be_written_is_refused(say, suite, monkeypatch, options):
    def refuse(self, *others, **more):
        raise PermissionError(13, "Permission denied", str(self))

    path = suite()
    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = run(say, path, "-o", "closed", *options)
    assert code == ExitCode.USAGE
    assert "closed" in err
    assert "not writable (Permission denied); make the folder writable or choose another with --output" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder_is_refused(say, suite, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert run(say, suite(), "-o", "closed/results")[0] == ExitCode.USAGE


def test_a_damaged_record_of_the_suite_is_written_anew(say, suite, tmp_path):
    assert run(say, suite())[0] == ExitCode.OK
    (tmp_path / "results" / "tiny" / "suite.json").write_text('{"name": "ti')
    assert run(say, suite())[0] == ExitCode.OK
    assert json.loads((tmp_path / "results" / "tiny" / "suite.json").read_text())["name"] == "tiny"


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_text("")], ids=["nothing", "empty", "file"])
def test_a_report_of_something_else_is_refused(say, tmp_path, make):
    make(tmp_path / "place")
    code, out, err = say("report", tmp_path / "place")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "this is not a results folder; check the path, or run a suite to make one" in err


@pytest.mark.parametrize(("device", "share"), [("cuda", None), ("cpu", 0.0)])  # None: as many as fit by measured memory
def test_workers_get_the_gpu_that_auto_found(say, suite, monkeypatch, device, share):
    class Stopped:
        note = ""
        account = Account()

        def run(self, *jobs, **callbacks):
            raise KeyboardInterrupt

    asked = {}
    monkeypatch.setattr("bench.driver.run._device", lambda asked: device)
    monkeypatch.setattr("bench.schedule.make_executor", lambda name, **options: asked.update(options) or Stopped())
    code, out, _ = say("run", suite())
    assert code == ExitCode.INTERRUPTED
    assert "the same command goes on from there:\n  bench run tiny.yaml" in out
    assert asked["gpus_per_slot"] == share


def test_an_observer_is_told_of_the_end(say, suite, monkeypatch):
    told = []
    monkeypatch.setattr("bench.registry.registry.Registry.observe", lambda self, hook, **facts: told.append((hook, sorted(facts))))
    run(say, suite())
    started, finished = (("bench_trial_started", ["trial"]), ("bench_trial_finished", ["measurements", "row", "trial"]))
    assert sorted(told[:-1]) == sorted([started, finished] * 2)
    assert told[-1] == ("bench_suite_finished", ["results", "rows"])


# ------------------------------------------------------------------ where data lie
@pytest.fixture
def drawings(tmp_path):
    """A little Omniglot in a folder that no record may name."""
    alphabets = ["Greek", "Hebrew", "Tengwar"]
    rng = np.random.default_rng(0)
    characters = omniglot.Characters(
        rng.integers(0, 256, (6, 20, 1379), dtype=np.uint8),
        tuple(alphabet for alphabet in alphabets for _ in range(2)),
        (1, 2) * 3,
        np.array([True] * 4 + [False] * 2),
    )
    (tmp_path / "private").mkdir()
    omniglot.write_packed(characters, tmp_path / "private" / "omniglot.npz")
    return tmp_path / "private"


def test_records_do_not_say_where_data_lie_and_workers_find_them(say, suite, drawings, tmp_path):
    images = {"networks": [{"dcgan": {"width": 4}}], "feature_extractor": "pixels"}
    found = []
    for place in (drawings / "omniglot.npz", "private/omniglot.npz", drawings):
        path = suite(**images, task_distributions=[{"omniglot": {"size": 8, "path": str(place)}}])
        found.append([cell["trial_id"] for cell in json.loads(say("plan", path, "--json", "--device", "cpu")[1])["cells"]])
        if len(found) == 1:
            code, _, err = run(say, path, "-o", "out")
            assert code == ExitCode.OK, err
    assert found[0] == found[1] == found[2]
    named = [place for place in (tmp_path / "out").rglob("*") if place.is_file() and b"private" in place.read_bytes()]
    assert named == []
    (recorded,) = json.loads((tmp_path / "out" / "suite.json").read_text())["task_distributions"]
    assert recorded["parameters"] == {"size": 8, "path": "omniglot.npz"}
    copied = yaml.safe_load((tmp_path / "out" / "suite.yaml").read_text())
    assert copied == {**TINY, **images, "task_distributions": [{"omniglot": {"size": 8, "path": "omniglot.npz"}}]}
    frame = bench.load_results(tmp_path / "out")
    assert frame["value"].notna().all()


def test_a_data_folder_beside_the_suite_is_found(say, suite, drawings, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", "private")
    path = suite(networks=[{"dcgan": {"width": 4}}], feature_extractor="pixels", task_distributions=[{"omniglot": {"size": 8}}])
    code, out, err = say("validate", path)
    unequal = "  not equal: budget: scratch spends none of it; read such arms as bounds, not as equals\n"
    assert (code, out) == (ExitCode.OK, f"tiny.yaml: valid; 2 cells\n{unequal}"), err


def test_where_data_lie_cannot_be_swept(say, suite):
    code, _, err = say("validate", suite(task_distributions=[{"omniglot": {"path": {"sweep": ["a", "b"]}}}]))
    assert code == ExitCode.USAGE
    assert "omniglot.path: cannot be swept: it only says where the data lie" in err
