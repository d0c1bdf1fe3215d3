"""A results folder or a suite from anywhere: it is read as data, refused with an error that names the file, and never obeyed."""

import ast
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

import bench
from bench.cli import main
from bench.contracts import MetricError
from bench.errors import ExitCode, StoreError, UsageError
from bench.store import SEGMENTS, Store, load_samples, load_tree, read_file, read_identities, read_json, read_ledger, read_segment
from bench.store.files import LARGEST_FILE
from bench.store.ledger import LARGEST_LEDGER, LONGEST_LINE
from bench.store.segments import MOST_ROWS, TYPES, _digest
from bench.suite.document import parse
from bench.union import recorded_suite
from bench_builtin.feature_extractors import artefact

ROOT = Path(__file__).parent.parent
A = "a" * 16


def sparse(path, size):
    """A file of ``size`` zeros that takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


# ------------------------------------------------------------------ single files
def test_only_regular_files_of_a_decent_size_are_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    link, pipe, folder = tmp_path / "link", tmp_path / "pipe", tmp_path / "folder"
    link.symlink_to(secret)
    os.mkfifo(pipe)  # whose reader would wait for a writer for ever
    folder.mkdir()
    for path, rule in (
        (link, "link: is a link, which a results folder must not hold"),
        (pipe, "pipe: is no regular file"),
        (folder, "folder: is no regular file|folder: cannot be read"),
        (sparse(tmp_path / "giant", LARGEST_FILE + 1), "giant: has 1,073,741,825 bytes, more than"),
        (tmp_path / "absent", "absent: does not exist; check the path"),
    ):
        for read in (read_file, read_json, load_tree, load_samples):
            with pytest.raises(StoreError, match=rule):
                read(path)
    assert read_file(secret, most=2) == b"{}"
    with pytest.raises(StoreError, match="has 2 bytes, more than the 1 that"):
        read_file(secret, most=1)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "damaged"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b"[1]", "must hold a JSON object, got list"),
        (b'{"a": "\\ud800"}', "damaged .*surrogate"),
        (b'{"a": %s}' % (b"9" * 5000), "damaged"),
        (b"\xff\xfe\x00", "damaged"),
    ],
    ids=range(7),
)
def test_a_record_that_is_no_json_object_is_refused(tmp_path, content, rule):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"record.json: .*{rule}"):
        read_json(path)


def npz(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(header):
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        npz(("x.npy", npy({"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}))),  # a shape that no memory has
        npz(("x.npy", npy({"descr": "<f8", "fortran_order": False, "shape": (-1,)}))),
        npz(("x.npy", npy({"descr": "|O", "fortran_order": False, "shape": (1,)}) + b"cos\nsystem\n(S'true'\ntR.")),
        npz(("x.npy", npy("__import__('os').abort()"))),
        npz(("x.npy", npy({"descr": "<f8", "fortran_order": False, "shape": (8,)}) + b"short")),
    ],
    ids=["memory", "negative", "pickle", "code", "short"],
)
def test_arrays_are_refused_unless_they_are_plain_whole_and_small_enough(tmp_path, content):
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="samples.npz: not an .npz file of plain arrays"):
        load_samples(path)


def test_an_archive_that_expands_beyond_measure_is_not_expanded(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.store.artefacts.LARGEST_FILE", 1 << 20)
    path = tmp_path / "samples.npz"
    path.write_bytes(npz(("x.npy", npy({"descr": "|u1", "fortran_order": False, "shape": (1 << 21,)}) + bytes(1 << 21))))
    assert path.stat().st_size < 5000
    monkeypatch.setattr(np, "load", None)  # would be called to expand it
    with pytest.raises(StoreError, match="its arrays have 2,097,"):
        load_samples(path)


# ------------------------------------------------------------------ segments
def segment(folder, table, **options):
    """``table`` as a segment whose name fits its content, as an attacker would see to."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, **options)
    content = buffer.getvalue().to_pybytes()
    path = folder / f"000001-{_digest(content)}.parquet"
    path.write_bytes(content)
    return path


def columns(rows):
    blank = {"string": "", "int64": 0, "double": 0.0}
    return {name: pa.repeat(pa.scalar(blank[kind], pa.type_for_alias(kind)), rows) for name, kind in TYPES.items()}


def test_few_bytes_that_stand_for_many_rows_are_not_expanded(tmp_path, monkeypatch):
    path = segment(tmp_path, pa.table(columns(100_000)))
    assert path.stat().st_size < 20_000
    assert read_segment(path).num_rows == 100_000 < MOST_ROWS
    monkeypatch.setattr("bench.store.segments.MOST_ROWS", 99_999)
    monkeypatch.setattr(pq, "read_table", None)
    with pytest.raises(StoreError, match="it holds 100,000 rows and .* bytes, more than 99,999"):
        read_segment(path)


def test_a_long_text_behind_few_bytes_is_not_expanded(tmp_path, monkeypatch):
    long = {**columns(1), "task_id": pa.array(["x" * (4 << 20)])}
    path = segment(tmp_path, pa.table(long), compression="zstd", write_statistics=False)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr("bench.store.segments.MOST_BYTES", 1 << 20)
    monkeypatch.setattr(pq, "read_table", None)
    with pytest.raises(StoreError, match="it holds 1 rows and 4,19.* bytes, more than"):
        read_segment(path)


@pytest.mark.parametrize(
    "change",
    [
        {"value": pa.array(["big"])},
        {"trial_id": pa.array([3])},
        {"attempt": pa.array([[1]])},
        {"extra": pa.array([1])},
        {"metric": None},
    ],
    ids=["text value", "number id", "nested", "extra", "missing"],
)
def test_a_segment_of_other_columns_is_refused(tmp_path, change):
    made = {name: column for name, column in {**columns(1), **change}.items() if column is not None}
    with pytest.raises(StoreError, match="not a readable segment .*its columns are"):
        read_segment(segment(tmp_path, pa.table(made)))


def test_a_segment_with_two_columns_of_one_name_is_refused(tmp_path):
    made = columns(1)
    table = pa.Table.from_arrays([*made.values(), pa.array([1.0])], names=[*made, "value"])
    with pytest.raises(StoreError, match="not a readable segment"):
        read_segment(segment(tmp_path, table))


# ------------------------------------------------------------------ ledgers
def test_a_line_of_a_megabyte_costs_itself_only_and_a_giant_ledger_is_refused(tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({A: {"arm": "x"}})
    with (tmp_path / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"event":"skipped","trial_id":"%s","reason":"%s"}\n' % (A.encode(), b"r" * LONGEST_LINE))
    found = read_ledger(tmp_path)
    assert found.rows[A].status == "planned"
    assert found.damage == [f"ledger.jsonl:2: an event has at most 1,048,576 bytes, got {LONGEST_LINE + 61:,}"]
    sparse(tmp_path / "ledger.jsonl", LARGEST_LEDGER + 1)
    for read in (read_ledger, Store.open, bench.load_results):
        with pytest.raises(StoreError, match="ledger.jsonl: has 1,073,741,825 bytes, more than"):
            read(tmp_path)


def test_names_that_lead_out_of_the_folder_are_refused_wherever_they_stand(tmp_path):
    with Store.create(tmp_path) as store:
        store.plan({A: {"arm": "x"}})
    lines = [
        {"event": "planned", "trial_id": "../../../../etc", "cell": {}},
        {"event": "finished", "trial_id": A, "status": "ok", "segment": "../../000001-0123456789abcdef.parquet"},
        {"event": "finished", "trial_id": A, "status": "ok", "artefacts": ["../../passwd"]},
        {"event": "finished", "trial_id": A, "status": "ok", "environment": "../../etc/passwd"},
        {"event": "merged", "segments": ["/etc/passwd"], "into": "000001-0123456789abcdef.parquet"},
        {"event": "started", "trial_id": A, "driver": "../../lock"},
    ]
    with (tmp_path / "ledger.jsonl").open("a") as ledger:
        ledger.writelines(json.dumps(line) + "\n" for line in lines)
    found = read_ledger(tmp_path)
    assert len(found.damage) == len(lines)
    assert list(found.rows) == [A]
    assert (found.rows[A].status, found.runners) == ("planned", {})


@pytest.mark.parametrize("name", [SEGMENTS, "trials", "environments", "artefacts", "report"])
def test_nothing_is_written_through_a_link_that_leads_out(tmp_path, name):
    outside, results = tmp_path / "outside", tmp_path / "results"
    outside.mkdir()
    results.mkdir()
    (results / name).symlink_to(outside)
    with pytest.raises(StoreError, match=f"{name}: leads out of the results folder; take the link away"):
        Store.create(results)
    (results / name).unlink()
    (results / name).mkdir()
    (results / name / A).symlink_to("../../outside")
    with pytest.raises(StoreError, match=f"{A}: leads out of the results folder"):
        Store.create(results)
    assert list(outside.iterdir()) == []


def test_links_within_the_folder_and_a_folder_that_is_a_link_are_fine(tmp_path):
    real = tmp_path / "real"
    (real / "disk2").mkdir(parents=True)
    (real / "trials").symlink_to("disk2")
    (tmp_path / "results").symlink_to(real)
    Store.create(tmp_path / "results").close()
    assert (real / "ledger.jsonl").is_file()


# ------------------------------------------------------------------ whole folders
SUITES = {
    "cut": b'{"name": "x"',
    "empty object": b"{}",
    "other types": json.dumps({"question": [], "name": 3, "replicates": "many", "budget": None, "games": {}}).encode(),
    "nested": b'{"name":' * 50_000,
}


@pytest.mark.parametrize("content", SUITES.values(), ids=SUITES)
def test_a_suite_record_that_is_none_is_told_with_place_and_cure(tmp_path, content, capsys):
    with Store.create(tmp_path) as store:
        store.plan({A: {"arm": "x", "task_distribution": "y"}})
        store.start(A)
        store.finish(A, {"status": "ok"}, {"split": ["s"], "metric": ["m"], "value": [1.0]})
    (tmp_path / "suite.json").write_bytes(content)
    (tmp_path / "trials" / A).mkdir()
    (tmp_path / "trials" / A / "checkpoint.safetensors").touch()
    for read in (recorded_suite, bench.load_trial):
        with pytest.raises(StoreError, match=r"suite.json: .*run the suite again") as told:
            read(tmp_path)
        assert "pydantic" not in str(told.value)
        assert len(str(told.value)) < 1000
    for verb in ("show", "why", "report"):
        assert main([verb, str(tmp_path)]) == ExitCode.USAGE
        assert "suite.json: " in capsys.readouterr().err


def test_records_that_decide_nothing_are_left_out_where_they_are_damaged(tmp_path):
    for content in (b"", b"[]", b'{"parts": 3}', b'{"parts":["a"],"values":[["b"]],"trials":{"x":[7]}}', b"[" * 100_000):
        (tmp_path / "identities.json").write_bytes(content)
        assert read_identities(tmp_path) == {}


@pytest.mark.parametrize("weights", ["../../secret.safetensors", "/etc/passwd", ".", 3, None])
def test_a_feature_extractor_is_read_from_its_own_folder_only(tmp_path, weights):
    folder = tmp_path / "results" / "artefacts"
    folder.mkdir(parents=True)
    safetensors.torch.save_file({"w": torch.zeros(1)}, tmp_path / "secret.safetensors")
    (folder / "features-x.json").write_text(json.dumps({"weights": weights, "fingerprint": "f"}))

    def build(tensors, record):
        raise AssertionError("it was read")

    with pytest.raises(MetricError, match="features-x.json cannot be read"):
        artefact.load(folder / "features-x.json", build)


@pytest.mark.parametrize("given", [3, None, b"ab", ["ab"]])
def test_a_trial_is_named_by_text(tmp_path, given):
    with pytest.raises(UsageError, match="load_trial: trial must be text, the beginning of a trial's id.* got"):
        bench.load_trial(tmp_path, given)
    with pytest.raises(UsageError, match="load_trial: select must be text"):
        bench.load_trial(tmp_path, select=given)


# ------------------------------------------------------------------ suites
@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch exploded']",
        "a: !!python/name:os.system",
        "!!python/object/new:os.system ['touch exploded']",
        "a: !<tag:yaml.org,2002:python/module:os> x",
    ],
)
def test_a_suite_constructs_nothing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = parse(text)
    assert "is not allowed: write plain YAML" in document.problems[0].message
    assert list(tmp_path.iterdir()) == []


def test_a_billion_laughs_are_refused_before_they_are_told():
    laughs = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    laughs += [f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    (problem,) = parse("\n".join(laughs)).problems
    assert "more than 20,000 values once aliases are expanded" in problem.message


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 3000, "- " * 5000, "? " * 3000, "a: &x [*x]"], ids=range(5))
def test_depth_without_end_is_refused(text):
    problems = parse(text).problems
    assert problems
    assert any(
        words in problems[0].message for words in ("nested more than", "not valid YAML", "an alias refers to the value that contains it")
    )


# ------------------------------------------------------------------ the source itself
def test_no_module_loads_anything_that_could_execute():
    """Whatever reads a file: no pickles, no YAML constructors, no eval, arrays and tensors only."""
    # Contract tests, which read no file, copy objects of their own by pickling them.
    reads = [path for path in (ROOT / "bench").rglob("*.py") if "testing" not in path.parts]
    for path in [*reads, *(ROOT / "plugins" / "bench_builtin").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                loads = {"marshal", "shelve", "dill", "cloudpickle", "joblib"}
                assert not names & loads, f"{path}:{node.lineno}"
            if isinstance(node, ast.Call):
                called, keywords = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
                executes = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load"}
                assert called not in executes, f"{path}:{node.lineno}"
                if called == "torch.load":
                    assert keywords["weights_only"] == "True", f"{path}:{node.lineno}"
                if called in {"np.load", "np.lib.format.read_array"}:
                    assert keywords["allow_pickle"] == "False", f"{path}:{node.lineno}"
                if called == "yaml.compose":
                    assert keywords["Loader"] == "_Loader", f"{path}:{node.lineno}"
