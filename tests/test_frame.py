"""Frames hold every planned cell and every measurement that counts, and name a file that is not what it should be."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bench
from bench.errors import StoreError
from bench.frame import CELL_COLUMNS, FRAME_COLUMNS, DamagedLedgerWarning, ledger_frame, load_results
from bench.store import SEGMENTS, Store
from bench.store.segments import TYPES, _digest

A, B, C, D = ("d" * 16, "c" * 16, "b" * 16, "a" * 16)
COSTS = {"seconds": 2.5, "evaluation_seconds": 0.5, "gradient_evaluations": 40, "samples_seen": 320, "flops": 1e9, "peak_memory_bytes": 7}


def cell(arm, replicate=0):
    return {**dict.fromkeys(CELL_COLUMNS, ""), "suite": "demo", "game": "gan", "arm": arm, "meta_learner": arm, "replicate": replicate}


@pytest.fixture
def folder(tmp_path):
    """Four cells: measured over two attempts, diverged with a curve, skipped, and never run."""
    with Store.create(tmp_path) as store:
        store.plan({A: cell("reptile"), B: cell("maml"), C: cell("scratch", 1), D: cell("reptile", 1)})
        store.finish(A, {"status": "ok"}, {"split": ["meta-test"], "metric": ["energy"], "value": [-1.0]})
        store.flush()
        store.finish(
            B,
            {"status": "diverged", "reason": "NaN"},
            {"split": ["meta-train"], "metric": ["meta_loss"], "value": [np.inf], "outer_step": [3]},
        )
        store.finish(
            A,
            {"status": "ok", **COSTS},
            {
                "split": ["meta-train", "meta-test", "meta-test"],
                "task_id": [None, "t0", "t1"],
                "outer_step": [10, 20, 20],
                "adaptation_step": [None, 0, 5],
                "metric": ["loss.generator", "energy", "energy"],
                "value": [0.25, 0.5, None],
                "ceiling": [float("nan"), 0.125, 0.0],
                "n_real": [None, 32, 32],
                "n_fake": [None, 64, 64],
                "fingerprint": [None, "cafe", "cafe"],
            },
        )
        store.skip(C, "no images")
    return tmp_path


def test_every_planned_cell_has_rows_in_the_order_of_the_plan(folder):
    frame = load_results(folder)
    assert list(frame.columns) == list(FRAME_COLUMNS)
    assert frame.trial_id.tolist() == [A, A, A, B, C, D]
    assert frame.status.tolist() == ["ok", "ok", "ok", "diverged", "skipped", "planned"]
    assert frame.reason.tolist() == ["", "", "", "NaN", "no images", ""]
    assert frame.arm.tolist() == ["reptile"] * 3 + ["maml", "scratch", "reptile"]
    assert frame.replicate.tolist() == [0, 0, 0, 0, 1, 1]
    assert frame.index.tolist() == list(range(6))


def test_measurements_are_those_of_the_last_outcome(folder):
    frame = load_results(folder)
    measured = frame[frame.trial_id == A]
    np.testing.assert_array_equal(measured.value, [0.25, 0.5, np.nan])
    np.testing.assert_array_equal(measured.ceiling, [np.nan, 0.125, 0.0])
    assert measured.task_id.tolist() == ["", "t0", "t1"]
    assert measured.fingerprint.tolist() == ["", "cafe", "cafe"]
    assert measured.outer_step.tolist() == [10, 20, 20]
    assert measured.adaptation_step.isna().tolist() == [True, False, False]
    assert measured.n_real.tolist()[1:] == [32, 32]
    for name, value in COSTS.items():
        assert measured[name].tolist() == [value] * 3
    assert frame.value[3] == np.inf


def test_cells_without_measurements_have_one_row_without_a_value(folder):
    bare = load_results(folder).iloc[4:]
    assert bare[["metric", "value", "split", "task_id", "outer_step", "n_real", "fingerprint", "seconds"]].isna().all().all()


def test_types_do_not_depend_on_what_was_measured(folder, tmp_path):
    with Store.create(tmp_path / "empty") as store:
        store.plan({A: cell("reptile")})
    full, empty = load_results(folder), load_results(tmp_path / "empty")
    assert {name: kind.name for name, kind in full.dtypes.items()} == {name: kind.name for name, kind in empty.dtypes.items()}
    assert full.dtypes["outer_step"] == "Int64"
    assert full.dtypes["adaptation_step"] == "Int64"
    assert full.dtypes["replicate"] == "int64"
    assert full.dtypes["value"] == full.dtypes["seconds"] == "float64"
    assert full.dtypes["arm"].categories.tolist() == ["reptile", "maml", "scratch"]
    assert len(empty) == 1


def test_an_empty_plan_gives_an_empty_frame(tmp_path):
    Store.create(tmp_path).close()
    assert load_results(tmp_path).shape == (0, len(FRAME_COLUMNS))
    assert len(ledger_frame(tmp_path)) == 0


def test_the_ledger_frame_has_one_row_per_cell(folder):
    frame = ledger_frame(folder)
    assert frame.trial_id.tolist() == [A, B, C, D]
    assert frame.attempts.tolist() == [2, 1, 0, 0]
    assert frame.status.tolist() == ["ok", "diverged", "skipped", "planned"]
    assert frame.gradient_evaluations.tolist()[0] == 40
    assert frame.gradient_evaluations[1:].isna().all()
    assert {"error", "environment", "segment", "artefacts", "outer_steps"} <= set(frame.columns)


def test_trials_that_the_plan_dropped_are_left_out(folder):
    with Store.open(folder) as store:
        store.drop([A, C, D])
    assert load_results(folder).trial_id.tolist() == [B]
    with Store.open(folder) as store:
        store.plan({A: cell("reptile"), B: cell("maml")})
    assert load_results(folder).trial_id.tolist() == [A, A, A, B]


def test_the_frame_is_the_same_after_a_merge_of_segments(tmp_path):
    with Store.create(tmp_path) as store:
        ids = [f"{number:016x}" for number in range(70)]
        store.plan({trial_id: cell("x", number) for number, trial_id in enumerate(ids)})
        for number, trial_id in enumerate(ids):
            store.finish(trial_id, {"status": "ok"}, {"split": ["s"] * 2, "metric": ["m"] * 2, "value": [number, -number]})
            store.flush()
    assert len(list((tmp_path / SEGMENTS).iterdir())) < 10
    frame = load_results(tmp_path)
    assert frame.value.tolist() == [sign * number for number in range(70) for sign in (1.0, -1.0)]
    assert frame.replicate.tolist() == [number for number in range(70) for _ in range(2)]


def test_load_results_is_public():
    assert bench.load_results is load_results


# ------------------------------------------------------------------ hostile files
def test_a_damaged_segment_is_an_error_with_its_name_and_a_cure(folder):
    for path in (folder / SEGMENTS).iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StoreError, match=r"segments/\d{6}-\w+.parquet: not a readable segment .*run the suite again"):
        load_results(folder)


def test_a_missing_segment_makes_its_cells_infra_and_keeps_the_others(folder):
    with Store.open(folder) as store:
        store.finish(D, {"status": "ok"}, {"split": ["s"], "metric": ["m"], "value": [1.0]})
        gone = store.rows[A].segment
    (folder / SEGMENTS / gone).unlink()
    frame = load_results(folder)
    assert frame.status.tolist() == ["infra", "infra", "skipped", "ok"]
    assert frame.reason[0] == f"its measurements (segments/{gone}) are missing; run the suite again, it runs the trial anew"
    assert frame.value.tolist()[3] == 1.0


def test_damaged_lines_are_named_in_a_warning_and_lose_nothing_else(folder):
    lines = (folder / "ledger.jsonl").read_text().splitlines()
    (folder / "ledger.jsonl").write_text("\n".join(["{}", *lines, "garbage", ""]))
    for load in (load_results, ledger_frame):
        with pytest.warns(DamagedLedgerWarning, match=rf"ledger.jsonl:1: .*ledger.jsonl:{len(lines) + 2}: ") as caught:
            frame = load(folder)
        assert frame.trial_id.unique().tolist() == [A, B, C, D]
        assert caught[0].filename == __file__


def forge(folder, table):
    """Put a foreign table, under a name that its hash fits, where the ledger expects the measurements of trial A."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content = buffer.getvalue().to_pybytes()
    name = f"000001-{_digest(content)}.parquet"
    folder.mkdir(exist_ok=True)
    (folder / SEGMENTS).mkdir(exist_ok=True)
    (folder / SEGMENTS / name).write_bytes(content)
    events = [
        {"event": "planned", "trial_id": A, "cell": cell("reptile")},
        {"event": "finished", "trial_id": A, "status": "ok", "attempts": 1, "segment": name},
    ]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def rows(**columns):
    count = len(next(iter(columns.values())))
    blank = {"string": "", "int64": 1, "double": 0.0}
    values = {name: columns.get(name, [blank[kind]] * count) for name, kind in TYPES.items()}
    return pa.table({name: pa.array(values[name], pa.type_for_alias(kind)) for name, kind in TYPES.items()})


def test_rows_of_trials_that_the_ledger_places_elsewhere_do_not_count(tmp_path):
    forge(tmp_path, rows(trial_id=[A, B, None, "../../x", A], value=[1.0, 2.0, 3.0, 4.0, 5.0], attempt=[1, 1, 1, 1, 2]))
    frame = load_results(tmp_path)
    assert frame.value.tolist() == [1.0]


@pytest.mark.parametrize(
    "table",
    [
        rows(value=[1.0]).drop_columns(["metric"]),
        rows(value=[1.0]).append_column("more", pa.array([1])),
        rows(value=[1.0]).set_column(7, "value", pa.array(["x"])),
        rows(value=[1.0]).set_column(0, "trial_id", pa.array([b"\xff\xfe"]).view(pa.string())),
        pa.table({}),
    ],
    ids=["a column short", "a column more", "text for a number", "bytes that are no text", "no columns"],
)
def test_a_parquet_file_that_is_no_segment_is_an_error(tmp_path, table):
    forge(tmp_path, table)
    with pytest.raises(StoreError, match="not a readable segment"):
        load_results(tmp_path)


def test_columns_in_another_order_are_the_same_segment(tmp_path):
    table = rows(trial_id=[A], value=[1.0])
    forge(tmp_path, table.select(list(reversed(table.column_names))))
    assert load_results(tmp_path).value.tolist() == [1.0]


def test_odd_cells_give_plain_columns(tmp_path):
    events = [
        {"event": "planned", "trial_id": A, "cell": {"arm": 3, "replicate": "one", "extra": None}},
        {"event": "planned", "trial_id": B, "cell": {"replicate": 1 << 80}},
        {"event": "started", "trial_id": C},
    ]
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    frame = load_results(tmp_path)
    assert frame.arm.tolist() == ["3", "", ""]
    assert frame.replicate.tolist() == [0, 0, 0]
    assert ledger_frame(tmp_path).status.tolist() == ["planned", "planned", "running"]


def test_no_results_is_an_error_with_a_cure(tmp_path):
    for load in (load_results, ledger_frame):
        with pytest.raises(StoreError, match="does not exist; check the path, or run the suite"):
            load(tmp_path / "absent")


def test_a_large_frame_keeps_its_sums(tmp_path):
    count, each = 100, 2000
    with Store.create(tmp_path) as store:
        ids = [f"{number:016x}" for number in range(count)]
        store.plan({trial_id: cell(f"arm{number % 5}", number) for number, trial_id in enumerate(ids)})
        for number, trial_id in enumerate(ids):
            columns = {
                "split": ["meta-test"] * each,
                "metric": ["m"] * each,
                "value": np.full(each, float(number)),
                "outer_step": np.arange(each),
            }
            store.finish(trial_id, {"status": "ok"}, columns)
    frame = load_results(tmp_path)
    assert len(frame) == count * each
    assert frame.value.sum() == each * count * (count - 1) / 2
    totals = frame.groupby("arm", observed=True).value.sum()
    assert totals.to_dict() == {f"arm{arm}": each * sum(range(arm, count, 5)) for arm in range(5)}
    assert isinstance(frame.arm.dtype, pd.CategoricalDtype)
