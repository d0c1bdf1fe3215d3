"""What a trial left travels whole or is named; what a worker sends lands in its own trial or is refused."""

import pytest

from bench.errors import StoreError
from bench.schedule.channel import marked, pack, sees, unpack
from bench.schedule.worker import Worker

TRIAL = "0123abcd"


def folder_of_a_trial(root, **sizes):
    for name, size in {**sizes, "progress.json": 3}.items():
        path = root / "trials" / TRIAL / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (root / "artefacts").mkdir()
    (root / "artefacts" / "features-1.json").write_text("{}")
    (root / "artefacts" / "warm-1.safetensors").write_text("made anew on each node")
    return root


def test_only_the_marked_folder_is_the_results_folder(tmp_path):
    here, copy = tmp_path / "here", tmp_path / "copy"
    here.mkdir()
    copy.mkdir()
    with marked(here) as marker:
        assert sees(str(here), marker)
        assert not sees(str(copy), marker)
        assert not sees(str(tmp_path / "nowhere"), marker)
    assert not list(here.iterdir())


def test_what_is_packed_is_what_unpacks(tmp_path):
    there = folder_of_a_trial(tmp_path / "there", **{"checkpoint.safetensors": 100, "samples.npz": 10})
    files, left = pack(there, TRIAL)
    unpack(files, tmp_path / "here", TRIAL)
    assert left == []
    found = {path.relative_to(tmp_path / "here").as_posix(): path.stat().st_size for path in (tmp_path / "here").rglob("*.*")}
    assert found == {f"trials/{TRIAL}/checkpoint.safetensors": 100, f"trials/{TRIAL}/samples.npz": 10, "artefacts/features-1.json": 2}


def test_what_is_beyond_the_limit_stays_and_is_named(tmp_path):
    there = folder_of_a_trial(tmp_path, **{"checkpoint.safetensors": 100, "samples.npz": 10})
    files, left = pack(there, TRIAL, limit=50)
    assert left == ["checkpoint.safetensors"]
    assert sum(map(len, files.values())) == 12


@pytest.mark.parametrize("name", ["../ledger.jsonl", "ledger.jsonl", "trials/ffffffff/x", f"trials/{TRIAL}/../x", "artefacts/..", "/etc/x"])
def test_a_file_of_another_place_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match="a worker sent"):
        unpack({name: b"x"}, tmp_path, TRIAL)
    assert not list(tmp_path.iterdir())


def test_a_worker_apart_keeps_its_shared_artefacts_and_gives_the_trial_away(tmp_path, monkeypatch):
    import channel_work

    worker = Worker(str(tmp_path / "driver's"), "marker")
    assert worker.greet("").apart
    answer = worker.call("channel_work:leave", TRIAL, {"trial_id": TRIAL}, {f"trials/{TRIAL}/before": b"1"}, 0.0)
    assert answer.row["reason"] == "before"
    assert set(answer.files) == {f"trials/{TRIAL}/before", f"trials/{TRIAL}/after"}
    own = channel_work.seen
    assert (own / "artefacts" / "warm-1.safetensors").exists()
    assert not (own / "trials" / TRIAL).exists()
    worker.leave()
    assert not own.exists()
    assert not (tmp_path / "driver's").exists()


@pytest.fixture(autouse=True)
def work(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("work")
    (folder / "channel_work.py").write_text(
        "from pathlib import Path\n"
        "def leave(payload):\n"
        "    global seen\n"
        "    seen = Path(payload['results'])\n"
        "    trial = seen / 'trials' / payload['trial_id']\n"
        "    found = ' '.join(path.name for path in trial.iterdir())\n"
        "    (trial / 'after').write_text('2')\n"
        "    (seen / 'artefacts').mkdir()\n"
        "    (seen / 'artefacts' / 'warm-1.safetensors').write_text('')\n"
        "    return {'status': 'ok', 'reason': found}, {}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
