"""The example of a third-party distribution: installed beside bench, listed, and run from a suite to rows in the ledger."""

import json
from pathlib import Path

import pytest
from plugins_fixture import installed, put_in

import bench
from bench.cli import main
from bench.registry import probing
from bench.registry.registry import discover
from bench.trial import assemble

EXAMPLE = Path(__file__).parent.parent / "plugins" / "example"
OFFERED = {("meta_learners", "minibatch-prox"), ("gan_losses", "f-gan"), ("task_distributions", "checkerboards")}


@pytest.fixture(scope="module")
def installed_example(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    put_in(site, EXAMPLE)
    caches = (assemble.worker_registry, assemble._tasks, assemble._extractor)
    with installed(site, probing.cache_folder()):
        for cached in caches:
            cached.cache_clear()
        yield site
    for cached in caches:
        cached.cache_clear()


def test_it_offers_a_learner_a_loss_and_tasks_that_are_not_built_in(installed_example):
    registry = discover()
    (plugin,) = (one for one in registry.plugins if one.name == "example")
    assert (plugin.status, plugin.distribution, plugin.editable, plugin.broken) == ("ok", "bench-example", False, {})
    assert {(one.family, one.name) for one in plugin.components} == OFFERED
    assert not any(name in discover("builtin").names(family) for family, name in OFFERED)


def test_what_it_can_be_told_is_shown_with_ranges_and_choices(installed_example, capsys):
    assert main(["plugins", "info", "f-gan"]) == 0
    shown = capsys.readouterr().out
    assert "divergence: one of kl, reverse-kl, pearson, squared-hellinger, default 'squared-hellinger'" in shown
    assert main(["plugins", "info", "minibatch-prox"]) == 0
    assert "strength: number > 0, default 1.0, tuned by a factor of 0.25 to 4" in capsys.readouterr().out


def test_its_suite_gives_rows_beside_built_in_ones(installed_example, tmp_path):
    assert main(["run", str(EXAMPLE / "suite.yaml"), "--executor", "inline", "--output", str(tmp_path / "results")]) == 0
    frame = bench.load_results(tmp_path / "results")
    assert set(frame.arm) == {"minibatch-prox", "reptile"}
    assert set(frame.status) == {"ok"}
    tested = frame[(frame.split == "meta-test") & (frame.metric == "energy")]
    assert tested.value.notna().all()
    assert "minibatch-prox" in (tmp_path / "results" / "report.html").read_text()
    environments = [json.loads(path.read_text()) for path in (tmp_path / "results" / "environments").glob("*.json")]
    assert any("bench-example" in json.dumps(one) for one in environments)
