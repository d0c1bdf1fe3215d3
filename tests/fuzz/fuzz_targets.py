"""What reads files from anywhere, as functions of bytes: each returns, or raises an error that is meant for a user.

``TARGETS`` {name: (function, examples)}; any other error is a fault.
"""

import functools
import io
import json
import random
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from bench.errors import PluginError, StoreError, SuiteError
from bench.frame import DamagedLedgerWarning, load_results
from bench.registry.registry import discover
from bench.store import Store, load_samples, load_tree, read_identities, read_json, read_ledger, read_segment, tree_metadata
from bench.store.segments import TYPES, _digest
from bench.suite.model import Suite
from bench.suite.reading import LONGEST_MESSAGE, read_suite

ROOT = Path(__file__).parents[2]
TRIALS = ("a" * 16, "b" * 16)


@functools.cache
def folder():
    """Where what is read lies; goes with the process."""
    held = tempfile.TemporaryDirectory()
    folder.held = held
    return Path(held.name)


@functools.cache
def registry():
    return discover()


def written(name, content):
    path = folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


# ------------------------------------------------------------------ targets
def suite_text(content):
    """YAML -> a suite, or its problems by line."""
    suite = read_suite(content.decode("utf-8", errors="replace"), registry(), source="s.yaml")
    assert Suite.from_dict(json.loads(json.dumps(suite.to_dict()))) == suite


def suite_record(content):
    """``suite.json`` of a results folder."""
    Suite.from_dict(read_json(written("suite.json", content)))


def ledger(content):
    """A ledger -> rows and frame; then a driver goes on with it, and what it adds can be read."""
    results = folder() / "results"
    path = written("results/ledger.jsonl", content)
    found = read_ledger(results)
    for row in found.rows.values():
        assert set(row.trial_id) <= set("0123456789abcdef")
        assert "/" not in row.segment + row.environment + "".join(row.artefacts)
    if not any(row.segment for row in found.rows.values()):
        with warnings.catch_warnings(action="ignore", category=DamagedLedgerWarning):
            load_results(results)
    with Store.open(results) as store:
        store.plan({TRIALS[0]: {"arm": "x"}})
        store.claim(TRIALS[0], attempts=0)
        store.finish(TRIALS[0], {"status": "ok"})
    again = read_ledger(results)
    assert again.rows[TRIALS[0]].status == "ok"
    assert len(again.damage) <= len(found.damage) + 1  # a torn last line may turn out to be a whole one that means nothing
    path.unlink()


def segment(content):
    """Parquet under a name that fits its content."""
    path = written(f"000001-{_digest(content)}.parquet", content)
    try:
        assert read_segment(path).column_names == list(TYPES)
    finally:
        path.unlink()


def samples(content):
    """Arrays of a trial."""
    load_samples(written("samples.npz", content))


def tensors(content):
    """Checkpoint of a trial."""
    path = written("checkpoint.safetensors", content)
    for read in (load_tree, functools.partial(load_tree, framework="numpy"), tree_metadata):
        read(path)


def identities(content):
    """A record that decides nothing."""
    written("identities.json", content)
    read_identities(folder())


def attempt(target, content):
    """Call a target; True if it read the content, False if it refused it by an error for users."""
    try:
        target(content)
    except (SuiteError, StoreError, PluginError) as error:
        told = [len(line) for line in str(error).splitlines()]
    else:
        return True
    assert 0 < max(told) < LONGEST_MESSAGE + 200, told
    return False


# ------------------------------------------------------------------ examples and mutations
def _ledger_example():
    with tempfile.TemporaryDirectory() as place:
        with Store.create(place) as store:
            store.plan({TRIALS[0]: {"arm": "x", "replicate": 0}, TRIALS[1]: {"arm": "y", "replicate": 1}})
            store.start(TRIALS[0])
            store.finish(TRIALS[0], {"status": "failed", "reason": "r", "seconds": 1.5, "outer_steps": 3, "artefacts": ["samples.npz"]})
            store.skip(TRIALS[1], "no data")
            store.drop([TRIALS[1]])
        return (Path(place) / "ledger.jsonl").read_bytes()


def _segment_example():
    values = {"string": ["a", "b"], "int64": [1, None], "double": [0.5, float("nan")]}
    table = pa.table({name: pa.array(values[kind], pa.type_for_alias(kind)) for name, kind in TYPES.items()})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue().to_pybytes()


def _samples_example():
    buffer = io.BytesIO()
    np.savez(buffer, steps=np.arange(3), names=np.array(["a", "bc"]), generated=np.zeros((2, 3), np.float32))
    return buffer.getvalue()


def _suites():
    return [path.read_bytes() for place in ("suites", "tests/suites") for path in sorted((ROOT / place).glob("*.yaml"))]


TARGETS = {
    "suite.yaml": (suite_text, _suites),
    "suite.json": (suite_record, lambda: [json.dumps(read_suite(_suites()[-1].decode(), registry(), source="s").to_dict()).encode()]),
    "ledger.jsonl": (ledger, lambda: [_ledger_example()]),
    "segment": (segment, lambda: [_segment_example()]),
    "samples.npz": (samples, lambda: [_samples_example()]),
    "checkpoint": (tensors, lambda: [safetensors.numpy.save({"w": np.zeros((2, 3), np.float32)}, metadata={"step": "7"})]),
    "identities.json": (identities, lambda: [b'{"parts":["a"],"values":[["b","c"]],"trials":{"%s":[1]}}' % TRIALS[0].encode()]),
}

WORDS = b"""
null true 0 -1 1e400 1e-3 .inf .nan 99999999999999999999 [] {} [[]] '' "" ~ - ? : *a &a << | !!python/name:os.system
sweep maml reptile {maml:{order:2}} gan_losses metrics replicates seed name label budget exclude per_task_distribution
.. /etc/passwd \\ud800 \\u0000 \xff\xfe \x00 NaN Infinity -Infinity planned started finished dropped merged skipped event
""".split()


def mutated(content, rng):
    """``content`` with one to five changes: bytes flipped, lines and pieces moved, doubled, taken away, words put in."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        start = rng.randrange(len(made) + 1)
        end = min(len(made), start + rng.choice([1, 1, 4, 40, 400]))
        how = rng.randrange(6)
        if how == 0 and made:
            made[start % len(made)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del made[start:end]
        elif how == 2:
            made[start:start] = made[start:end] * rng.choice([1, 2, 50])
        elif how == 3:
            made[start:end] = rng.choice(WORDS)
        elif how == 4:
            lines = bytes(made).split(b"\n")
            rng.shuffle(lines)
            made = bytearray(b"\n".join(lines))
        else:
            words = bytes(made).split(b" ")
            words[rng.randrange(len(words))] = rng.choice(WORDS)
            made = bytearray(b" ".join(words))
    return bytes(made[: 1 << 18])


def random_inputs(name, seed):
    """Without end: mutations of a target's examples, and of mutations that were read."""
    target, examples = TARGETS[name]
    rng, pool = random.Random(f"{name} {seed}"), examples()
    while True:
        content = mutated(rng.choice(pool), rng)
        if (yield content) and len(pool) < 1000:
            pool.append(content)
