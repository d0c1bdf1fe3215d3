"""Files from anywhere, changed at random: each is read, or refused with an error for users.

``tests/performance/fuzz.py`` does the same for minutes, guided by coverage.
"""

import json

import pytest
from fuzz_targets import TARGETS, attempt, random_inputs
from hypothesis import given, settings
from hypothesis import strategies as st

INPUTS = {"suite.yaml": 25, "ledger.jsonl": 40}


@pytest.mark.parametrize("name", TARGETS)
def test_the_examples_are_read(name):
    target, examples = TARGETS[name]
    assert all(attempt(target, content) for content in examples()[:3])


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_changed_at_random_is_read_or_refused(name):
    inputs, read = random_inputs(name, seed=0), None
    for _ in range(INPUTS.get(name, 100)):
        content = inputs.send(read)
        read = attempt(TARGETS[name][0], content)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, max_examples=20)
@given(content=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(name, content):
    attempt(TARGETS[name][0], content)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["a" * 16, "../x", "merged"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=10
)
EVENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["planned", "started", "finished", "skipped", "dropped", "merged"])},
    optional={
        name: TREES
        for name in (
            "trial_id",
            "cell",
            "status",
            "reason",
            "error",
            "attempts",
            "seconds",
            "segment",
            "segments",
            "into",
            "artefacts",
            "driver",
        )
    },
)


@settings(deadline=None, max_examples=15)
@given(events=st.lists(EVENTS, max_size=6))
def test_events_of_any_content_are_read_or_noted_as_damage(events):
    content = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    assert attempt(TARGETS["ledger.jsonl"][0], content)
