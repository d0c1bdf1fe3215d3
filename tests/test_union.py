"""Several results folders read as one: every cell once, arms of all of them, and a refusal where their numbers do not belong together."""

import json
import warnings

import pytest

import bench
from bench.errors import StoreError, UsageError
from bench.frame import CELL_COLUMNS, DifferentNumbersWarning, ledger_frame, load_results
from bench.store import Store, write_identities
from bench.suite.model import Suite
from bench.union import united_suite

REPTILE, MAML, OTHER = "a" * 16, "b" * 16, "c" * 16


def component(family, name, **parameters):
    return {"family": family, "name": name, "parameters": parameters, "test": {}, "label": name}


def suite(**changes):
    resolved = {
        "question": "Which?",
        "name": "demo",
        "seed": 1,
        "replicates": 1,
        "primary": {"metric": "energy", "adaptation_step": 1, "compare": ["reptile", "maml"]},
        "budget": {"outer_steps": 100},
        "protocol": {"shots": 8},
        "games": [component("games", "gan")],
        "task_distributions": [component("task_distributions", "glyphs", size=16)],
        "networks": [component("networks", "mlp")],
        "meta_learners": [component("meta_learners", "reptile"), component("meta_learners", "maml", order=1)],
        "metrics": [component("metrics", "energy")],
    }
    return Suite.from_dict(resolved | changes).to_dict()


def write(folder, trials, **changes):
    """trials: {trial id: (meta-learner, replicate, values or None where it did not end)}."""
    recorded = suite(**changes)
    cells = {
        trial_id: {**dict.fromkeys(CELL_COLUMNS, ""), "suite": recorded["name"], "arm": arm, "game": "gan", "task_distribution": "glyphs",
                   "network": "mlp", "meta_learner": arm, "replicate": replicate, "shots": 8}
        for trial_id, (arm, replicate, _) in trials.items()
    }  # fmt: skip
    with Store.create(folder) as store:
        store.plan(cells)
        for trial_id, (_, _, values) in trials.items():
            if values is not None:
                rows = {"split": ["meta-test"] * len(values), "metric": ["energy"] * len(values), "value": values}
                store.finish(
                    trial_id,
                    {"status": "ok", "seconds": 2.0},
                    rows | {"task_id": [f"t{i}" for i in range(len(values))], "adaptation_step": [1] * len(values)},
                )
    (folder / "suite.json").write_text(json.dumps(recorded))
    return folder


@pytest.fixture
def halves(tmp_path):
    """The same plan on two machines, of which each ran one cell."""
    return [
        write(tmp_path / "monday", {REPTILE: ("reptile", 0, [1.0, 2.0]), MAML: ("maml", 0, None)}),
        write(tmp_path / "tuesday", {REPTILE: ("reptile", 0, None), MAML: ("maml", 0, [3.0, 4.0])}),
    ]


def test_two_halves_of_a_suite_are_the_whole(halves, tmp_path):
    both = {REPTILE: ("reptile", 0, [1.0, 2.0]), MAML: ("maml", 0, [3.0, 4.0])}
    whole = write(tmp_path / "whole", both)
    for order in (halves, halves[::-1]):
        united = load_results(order)
        assert united.astype(object).equals(load_results(whole).astype(object))
        assert united.dtypes["outer_step"] == "Int64"
        assert ledger_frame(order)["status"].tolist() == ["ok", "ok"]


def test_one_folder_in_a_list_is_that_folder(halves):
    assert load_results(halves[:1]).equals(load_results(halves[0]))
    assert load_results([halves[0], halves[0]]).equals(load_results(halves[0]))
    with pytest.raises(UsageError, match="at least one"):
        load_results([])


def test_equal_trials_of_two_folders_count_once_and_without_a_word(tmp_path):
    folders = [write(tmp_path / name, {REPTILE: ("reptile", 0, [1.0, float("nan")])}) for name in "ab"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_results(folders)["trial_id"].tolist() == [REPTILE] * 2


@pytest.mark.parametrize("trial_id", [REPTILE, OTHER])
def test_other_numbers_of_one_cell_are_named_and_the_first_folder_counts(tmp_path, trial_id):
    first = write(tmp_path / "a", {REPTILE: ("reptile", 0, [1.0])})
    second = write(tmp_path / "b", {trial_id: ("reptile", 0, [1.5]), MAML: ("maml", 0, [3.0])})
    with pytest.warns(DifferentNumbersWarning, match=rf"1 cell ended .* trial {REPTILE} in .*a and trial {trial_id} in .*b"):
        assert load_results([first, second])["value"].tolist() == [1.0, 3.0]


def test_a_second_suite_adds_an_arm(tmp_path):
    learners = [component("meta_learners", "maml", order=1), component("meta_learners", "anil")]
    first = write(tmp_path / "a", {REPTILE: ("reptile", 0, [1.0])})
    second = write(tmp_path / "b", {OTHER: ("anil", 1, [2.0])}, name="more", replicates=2, question="And ANIL?", meta_learners=learners)
    merged = united_suite([first, second])
    assert [learner.label for learner in merged.meta_learners] == ["reptile", "maml", "anil"]
    assert (merged.name, merged.question, merged.replicates) == ("demo", "Which?", 2)
    frame = load_results([first, second])
    assert frame["arm"].tolist() == ["reptile", "anil"]
    assert frame["suite"].tolist() == ["demo", "demo"]  # one suite, or their caps would be found apart


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 2}, r"differ in seed: 1 \(.*a\) and 2 \(.*b\)"),
        ({"protocol": {"shots": 5}}, r"differ in protocol.shots: 8 .* and 5"),
        ({"budget": {"outer_steps": 50}}, "differ in budget.outer_steps: 100 .* and 50"),
        ({"primary": {"metric": "energy", "adaptation_step": 5, "compare": ["reptile", "maml"]}}, "primary.adaptation_step: 1 .* and 5"),
        ({"task_distributions": [component("task_distributions", "glyphs", size=32)]}, "glyphs.parameters.size: 16 .* and 32"),
        ({"meta_learners": [component("meta_learners", "maml", order=2)]}, "meta_learners: maml.parameters.order: 1 .* and 2"),
        ({"per_task_distribution": {"glyphs": {"protocol": {"shots": 4}}}}, "per_task_distribution.glyphs: null .* and"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_all_numbers_depend_on_must_agree(tmp_path, changes, told):
    folders = [write(tmp_path / "a", {REPTILE: ("reptile", 0, [1.0])}), write(tmp_path / "b", {MAML: ("maml", 0, [1.0])}, **changes)]
    with pytest.raises(UsageError, match=told):
        load_results(folders)


def test_the_question_and_the_arms_compared_may_differ(tmp_path):
    changes = {"primary": {"metric": "energy", "adaptation_step": 1, "compare": ["maml", "reptile"]}, "question": "The other way round?"}
    folders = [write(tmp_path / "a", {REPTILE: ("reptile", 0, [1.0])}), write(tmp_path / "b", {MAML: ("maml", 0, [1.0])}, **changes)]
    assert united_suite(folders).primary.compare == ("reptile", "maml")


def test_equal_settings_that_read_other_data_are_refused(halves):
    for folder, digest in zip(halves, ("cafe", "beef"), strict=True):
        write_identities(folder, {REPTILE: {"data": digest}})
    with pytest.raises(UsageError, match=r'the data of glyphs: "cafe" .* and "beef"'):
        united_suite(halves)


def test_a_folder_without_results_is_named(halves, tmp_path):
    with pytest.raises(StoreError, match="nowhere: no suite.json here"):
        load_results([*halves, tmp_path / "nowhere"])


def test_numbers_can_be_read_of_several_folders_at_once(halves):
    estimates = bench.plots.estimates(halves)
    assert estimates.set_index("arm")["value"].to_dict() == {"reptile": 1.5, "maml": 3.5}
