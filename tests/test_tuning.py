"""Tuning: equal chances, chosen on meta-val alone, the same choice whenever it is made, and nothing of what was tried in the results."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from plugins_fixture import installed, plugin, write_distribution
from torch import nn

import bench
from bench.cli import main
from bench.contracts import Output
from bench.driver import run as driver
from bench.driver.plan_text import plan_text
from bench.driver.planning import known_rows
from bench.driver.run import RunOptions, prepare
from bench.driver.tuning import choices, read_record, write_record
from bench.episodes import TaskStream
from bench.errors import ExitCode, SuiteError
from bench.frame import ledger_frame
from bench.game.outer import Outer
from bench.grid.cells import TUNING_REPLICATE, Trial, expand
from bench.grid.selection import select
from bench.grid.tuning import at_edge, choose, configurations, settings, validation_loss
from bench.registry.listing import info_text
from bench.registry.registry import discover
from bench.store import TrialRow
from bench.suite.components import Component
from bench.suite.model import load_suite
from bench.trial.rows import Rows
from bench.trial.training import Validation, meta_train

SUITE = Path(__file__).parent / "suites" / "tuned.yaml"
RATE = {"inner_lr": {"factor": [0.25, 4.0]}}
RATES = {**RATE, "outer_lr": {"factor": [0.1, 10.0]}}


def learner(**parameters):
    return Component("meta_learners", "learner", parameters)


def factors(own, tried, name, default=1.0):
    value = own.parameters.get(name, default)
    return [one.parameters.get(name, default) / value for one in tried]


# ------------------------------------------------------------------ configurations
def test_the_first_configuration_is_the_arm_itself():
    own = learner(inner_lr=0.1)
    assert configurations(own, RATE, {}, trials=5, seed=0)[0] == own
    assert configurations(own, RATE, {}, trials=1, seed=0) == [own]
    assert configurations(own, {}, {}, trials=5, seed=0) == [own]


def test_every_arm_has_as_many_different_configurations():
    for space in (RATE, RATES, {**RATE, "order": {"choice": [1, 2]}}):
        tried = configurations(learner(), space, {"inner_lr": 0.1, "outer_lr": 1.0, "order": 2}, trials=9, seed=0)
        assert len({json.dumps(one.parameters, sort_keys=True) for one in tried}) == 9


def test_arms_of_equal_space_get_the_same_points():
    slow, fast = learner(inner_lr=0.001, outer_lr=0.1), learner(inner_lr=0.1, outer_lr=3.0)
    tried = [configurations(own, RATES, {}, trials=8, seed=3) for own in (slow, fast)]
    for name in RATES:
        assert factors(slow, tried[0], name) == pytest.approx(factors(fast, tried[1], name), rel=1e-3)


def test_factors_are_log_uniform_over_their_range():
    """A low-discrepancy sequence has about equally many points in every quarter of the logarithmic range."""
    own = learner(inner_lr=1.0)
    found = np.log(factors(own, configurations(own, RATE, {}, trials=257, seed=0)[1:], "inner_lr"))
    counts, _ = np.histogram(found, bins=np.log([0.25, 0.5, 1, 2, 4]))
    assert sum(counts) == 256
    assert max(counts) - min(counts) <= 4


def test_choices_are_equally_frequent():
    tried = configurations(learner(), {**RATE, "order": {"choice": ["a", "b"]}}, {"inner_lr": 1.0}, trials=101, seed=0)[1:]
    assert abs([one.parameters["order"] for one in tried].count("a") - 50) <= 2


def test_other_seeds_give_other_points():
    own = learner(inner_lr=1.0)
    one, other = (configurations(own, RATE, {}, trials=4, seed=seed)[1:] for seed in (0, 1))
    assert one != other


def test_more_trials_continue_the_list():
    own = learner(inner_lr=1.0, outer_lr=1.0)
    many = configurations(own, RATES, {}, trials=12, seed=0)
    assert configurations(own, RATES, {}, trials=5, seed=0) == many[:5]


def test_a_rate_per_player_is_multiplied_as_a_whole_and_test_rates_along_with_it():
    own = replace(learner(inner_lr={"generator": 0.1, "discriminator": 0.4}), test={"inner_lr": 0.2})
    for one in configurations(own, RATE, {}, trials=6, seed=0)[1:]:
        rates = one.parameters["inner_lr"]
        assert rates["discriminator"] / rates["generator"] == pytest.approx(4, rel=1e-3)
        assert one.test["inner_lr"] / rates["generator"] == pytest.approx(2, rel=1e-3)


def test_a_choice_that_the_suite_has_made_is_not_undone():
    space = {**RATE, "order": {"choice": [1, 2]}}
    tried = configurations(learner(inner_lr=1.0, order=1), space, {"order": 2}, trials=6, seed=0)
    assert {one.parameters["order"] for one in tried} == {1}


def test_a_space_of_few_values_gives_all_of_them_and_no_more():
    space = {"order": {"choice": [1, 2]}, "steps": {"choice": [1, 2, 3]}}
    tried = configurations(learner(), space, {"order": 2, "steps": 3}, trials=20, seed=0)
    assert len(tried) == 6
    assert {tuple(settings(one, space, {"order": 2, "steps": 3}).values()) for one in tried} == {(o, s) for o in (1, 2) for s in (1, 2, 3)}


def test_a_factor_needs_a_number():
    with pytest.raises(ValueError, match=r"multiplies 'inner_lr', which must be a number .*\(value null\)"):
        configurations(learner(inner_lr=None), RATE, {}, trials=2, seed=0)


# ------------------------------------------------------------------ choosing
@pytest.mark.parametrize(
    ("losses", "number"), [([3.0, 1.0, 2.0], 1), ([1.0, 1.0], 0), ([math.inf, 2.0], 1), ([math.inf, math.inf], 0), ([-1.0, -2.0], 1)]
)
def test_the_lowest_finite_loss_is_chosen(losses, number):
    assert choose(losses) == number


def test_losses_follow_the_direction_of_the_metric():
    values = [1.0, 2.0, 6.0]
    assert validation_loss(values, Output("lower", 0.0, "")) == 3.0
    assert validation_loss(values, Output("higher", 1.0, "")) == -3.0
    assert validation_loss(values, Output("closer", 2.5, "")) == 0.5
    for bad in ([1.0, math.nan], [1.0, math.inf], []):
        assert validation_loss(bad, Output("higher", 1.0, "")) == math.inf


def test_a_choice_at_the_edge_of_its_space_is_told():
    own = learner(inner_lr=0.1)
    ends = {factor: at_edge(own, learner(inner_lr=0.1 * factor), RATE, {}) for factor in (0.26, 1.0, 3.9)}
    assert ends == {0.26: {"inner_lr": "low"}, 1.0: {}, 3.9: {"inner_lr": "high"}}


# ------------------------------------------------------------------ grid
@pytest.fixture(scope="module")
def registry():
    return discover("builtin")


@pytest.fixture
def cells(registry, tmp_path):
    """Cells of the suite with some keys changed; None takes a key out."""

    def expanding(**changes):
        data = {**yaml.safe_load(SUITE.read_text()), **changes}
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in data.items() if value is not None}))
        return expand(load_suite(path, registry), registry)

    return expanding


def split(trials):
    """Tuning trials, and the others."""
    return [t for t in trials if t.configuration is not None], [t for t in trials if t.configuration is None]


def ids(trials, arm):
    return {trial.trial_id for trial in trials if trial.arm == arm}


def test_every_arm_has_its_tuning_trials_and_a_control_those_of_its_arm(cells):
    tuning, final = split(cells())
    by_id = {trial.trial_id: trial for trial in tuning}
    for trial in final:
        assert [by_id[one].configuration for one in trial.tuning] == [0, 1, 2, 3]
        assert {by_id[one].arm for one in trial.tuning} == {trial.arm.removesuffix(" (shuffled tasks)")}
        assert by_id[trial.tuning[0]].meta_learner == trial.meta_learner
    assert len(tuning) == 3 * 4
    assert len(final) == 4 * 2


def test_tuning_trials_come_first_share_nothing_with_results_and_measure_no_meta_test_task(cells):
    tuning, final = split(cells())
    assert cells()[: len(tuning)] == tuning
    assert {trial.replicate for trial in tuning} == {TUNING_REPLICATE}
    assert TUNING_REPLICATE not in {trial.replicate for trial in final}
    assert {trial.protocol["tasks"]["meta_test"] for trial in tuning} == {0}
    assert {tuple(trial.protocol["adaptation_steps"]["test"]) for trial in tuning} == {(5,)}
    assert {trial.budget["amount"] for trial in tuning if trial.arm == "maml"} == {20}


def test_without_tuning_there_is_nothing_of_it(cells):
    tuning, final = split(cells(tuning=None))
    assert tuning == []
    assert {trial.tuning for trial in final} == {None}


def test_more_trials_change_the_cells_and_keep_the_tuning_trials_that_were_there(cells):
    few, many = cells(), cells(tuning={"trials": 6})
    assert {t.trial_id for t in split(few)[0]} < {t.trial_id for t in split(many)[0]}
    assert not {t.trial_id for t in split(few)[1]} & {t.trial_id for t in split(many)[1]}


def test_one_arms_settings_are_no_business_of_the_others(cells):
    learners = yaml.safe_load(SUITE.read_text())["meta_learners"]
    learners[0]["scratch"]["inner_lr"] = 0.2
    before, after = cells(), cells(meta_learners=learners)
    for arm in ("maml", "hopeless", "maml (shuffled tasks)"):
        assert ids(before, arm) == ids(after, arm)
    assert not ids(before, "scratch") & ids(after, "scratch")


def test_what_only_meta_test_sees_keeps_the_tuning_trials(cells):
    protocol = yaml.safe_load(SUITE.read_text())["protocol"]
    other = {**protocol, "tasks": {"meta_val": 4, "meta_test": 9}, "adaptation_steps": {"train": 1, "test": [0, 1, 5]}}
    before, after = split(cells()), split(cells(protocol=other))
    assert {t.trial_id for t in before[0]} == {t.trial_id for t in after[0]}
    assert not {t.trial_id for t in before[1]} & {t.trial_id for t in after[1]}


def test_a_tuned_suite_validates_at_least_once(cells):
    protocol = yaml.safe_load(SUITE.read_text())["protocol"] | {"validations": 0}
    assert {trial.protocol["validations"] for trial in cells(protocol=protocol)} == {1}


def test_a_selection_brings_the_tuning_trials_that_it_needs(cells):
    tuning, final = split(select(cells(), "shuffled and replicate=1"))
    assert [(trial.arm, trial.replicate) for trial in final] == [("maml (shuffled tasks)", 1)]
    assert tuple(trial.trial_id for trial in tuning) == final[0].tuning
    assert {trial.arm for trial in tuning} == {"maml"}


def test_an_arm_without_the_primary_metric_cannot_be_tuned(cells, monkeypatch):
    monkeypatch.setattr("bench.registry.registry.Registry.data_hash", lambda self, family, name, parameters: name)
    changes = {"games": ["gan"], "gan_losses": ["hinge"], "networks": ["mlp"], "metrics": ["energy", "modes"], "controls": None}
    primary = {"metric": "modes", "adaptation_step": 5, "compare": ["maml", "scratch"]}
    with pytest.raises(SuiteError, match="maml on digits cannot be tuned: its primary metric 'modes' is not defined there"):
        cells(**changes, primary=primary, task_distributions=["gaussian-rings", "digits"], meta_learners=["maml", "scratch"])


def test_tuned_trials_travel_as_json(cells):
    for trial in cells():
        assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


# ------------------------------------------------------------------ spaces of plugins
LEARNER = """
class {name}:
    space: ClassVar = {space}
    def __init__(self, *, rate: Annotated[float, Field(gt=0, lt=1)] = 0.1, order: Literal[1, 2] = 2, steps: int | None = None): ...
"""
SENSELESS = {
    '{"rat": Factor(0.5, 2)}': "`space` of hyperparameter 'rat': there is none of that name. Did you mean 'rate'?",
    '{"rate": Factor(2, 0.5)}': "a Factor needs 0 < low < high, got low 2, high 0.5",
    '{"rate": Factor(0, 1)}': "a Factor needs 0 < low < high, got low 0, high 1",
    '{"steps": Factor(0.5, 2)}': "a Factor multiplies, and the hyperparameter takes no numbers with fractions: use a Choice",
    '{"order": Choice((1, 3))}': "`space` of hyperparameter 'order': must be one of 1, 2 (value 3)",
    '{"order": Choice((1, 1))}': "a Choice needs a tuple of two or more different values",
    '{"order": Choice(1)}': "a Choice needs a tuple of two or more different values",
    '{"rate": (0.5, 2)}': "must be bench.contracts.Factor or Choice, got [0.5, 2]",
    '["rate"]': "`space` must map hyperparameters to bench.contracts.Factor or Choice",
}


@pytest.fixture(scope="module")
def offering(tmp_path_factory):
    """The registry with learners that declare spaces, sensible ones and others."""
    spaces = {"good": '{"rate": Factor(0.5, 2), "order": Choice((1, 2))}', "wide": '{"rate": Factor(1, 100)}'}
    spaces |= {f"bad{i}": space for i, space in enumerate(SENSELESS)}
    source = "from bench.contracts import Choice, Factor\n"
    source += "".join(LEARNER.replace("{name}", name.title()).replace("{space}", space) for name, space in spaces.items())
    source += plugin("bench_meta_learners", **{name: name.title() for name in spaces})
    site = tmp_path_factory.mktemp("site")
    write_distribution(site, "bench-spaces", {"bench_spaces.py": source}, entry="spaces")
    with installed(site, tmp_path_factory.mktemp("cache")):
        yield discover()


def test_a_space_is_known_without_importing_its_plugin(offering):
    known = offering.component("meta_learners", "good")
    assert known.attributes["space"] == {"rate": {"factor": [0.5, 2]}, "order": {"choice": [1, 2]}}


def test_a_component_says_what_tuning_varies(offering):
    told = info_text(offering, "good")
    assert "  rate: number > 0 < 1, default 0.1, tuned by a factor of 0.5 to 2\n" in told
    assert "  order: one of 1, 2, default 2, tuned among 1, 2\n" in told
    assert told.endswith("default None")


@pytest.mark.parametrize(("number", "reason"), list(enumerate(SENSELESS.values())), ids=list(SENSELESS))
def test_a_space_that_makes_no_sense_breaks_its_component_only(offering, number, reason):
    (broken,) = [one.broken["meta_learners", f"bad{number}"] for one in offering.plugins if one.name == "spaces"]
    assert reason in broken


def test_a_configuration_beyond_what_a_hyperparameter_may_be_is_refused_at_planning(offering, tmp_path):
    data = yaml.safe_load(SUITE.read_text()) | {"meta_learners": ["maml", "wide"], "controls": {}}
    data["primary"]["compare"] = ["maml", "wide"]
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(SuiteError, match=r"wide on sinusoids: configuration \d: rate must be a number > 0 and < 1 .*narrow the space"):
        expand(load_suite(tmp_path / "suite.yaml", offering), offering)


# ------------------------------------------------------------------ the checkpoint
class Counting:
    """An engine whose meta parameter counts outer steps."""

    def __init__(self):
        self.modules = {"model": nn.Linear(1, 1)}
        self.gradient_evaluations = self.samples_seen = 0
        self.carried, self.watched, self.breaks_at = {}, None, math.inf

    def outer_step(self, meta, episodes, outer, draws):
        if meta["steps"] >= self.breaks_at:
            raise KeyboardInterrupt
        self.carried = {"state": {"steps": meta["steps"] + 1}}
        return {"steps": meta["steps"] + 1}, {}


class Still:
    def training(self, replicate, step):
        return {}, None


def counted(engine, checkpoint=None, *, judge=True, losses=lambda step: (step - 5.0) ** 2):
    def validate(meta, step):
        rows = Rows()
        rows.add(split="meta-val", outer_step=step, metric="loss", value=losses(step))
        return rows

    return meta_train(
        engine,
        Still(),
        {"steps": torch.zeros(())},
        Outer(None),
        replicate=0,
        axis="outer_steps",
        amount=10,
        validation=Validation(
            5, validate, (lambda rows: validation_loss(rows.columns["value"], Output("lower", 0.0, ""))) if judge else None
        ),
        checkpoint=checkpoint,
    )


@pytest.fixture
def without_flops(monkeypatch):
    monkeypatch.setattr("bench.trial.training.flops_of_outer_step", lambda *arguments: 0.0)
    monkeypatch.setattr("bench.trial.training.CHECKPOINT_SECONDS", 0.0)


def test_training_ends_with_the_best_validation_of_several_equal_ones_the_first(without_flops):
    engine = Counting()
    training = counted(engine)  # validated after 0, 2, 4, 6, 8 and 10 steps: 4 and 6 are equally good
    assert (training.meta["steps"].item(), training.meta_step, training.step) == (4, 4, 10)
    assert engine.carried["state"]["steps"].item() == 4


def test_without_a_judge_training_ends_with_its_last_parameters(without_flops):
    training = counted(Counting(), judge=False)
    assert (training.meta["steps"].item(), training.meta_step) == (10, 10)


def test_without_a_finite_validation_training_ends_with_its_last_parameters(without_flops):
    training = counted(Counting(), losses=lambda step: math.nan)
    assert (training.meta["steps"].item(), training.meta_step) == (10, 10)


@pytest.mark.parametrize("breaks_at", [3, 5, 9])
def test_the_best_validation_survives_an_interruption(without_flops, tmp_path, breaks_at):
    engine, checkpoint = Counting(), tmp_path / "checkpoint.safetensors"
    engine.breaks_at = breaks_at
    with pytest.raises(KeyboardInterrupt):
        counted(engine, checkpoint)
    again = Counting()
    training = counted(again, checkpoint)
    assert (training.meta["steps"].item(), training.meta_step, training.step) == (4, 4, 10)
    assert again.carried["state"]["steps"].item() == 4
    finished = counted(Counting(), checkpoint)
    assert (finished.meta["steps"].item(), finished.meta_step, finished.step) == (4, 4, 10)


# ------------------------------------------------------------------ end to end
def arguments(results, *more):
    return ["run", str(SUITE), "--output", str(results), "--executor", "inline", "--device", "cpu", *more]


@pytest.fixture(scope="module")
def asked():
    """(meta-test tasks of the protocol, split) of every look at held-out tasks."""
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory, asked):
    results = tmp_path_factory.mktemp("tuned") / "results"
    held_out = TaskStream.held_out

    def watched(self, split):
        asked.append((self.protocol["tasks"]["meta_test"], split))
        return held_out(self, split)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskStream, "held_out", watched)
        assert main(arguments(results)) == ExitCode.OK
    return results


def records(results):
    return {record["cell"]["arm"]: record for record in read_record(results / "tuning.json")}


def values(results, *, tuning=False):
    """What was measured and the bits of it, in an order of its own."""
    frame = bench.load_results(results, tuning=tuning)
    names = ["trial_id", "split", "task_id", "outer_step", "adaptation_step", "metric"]
    keys = [tuple(map(str, row)) for row in frame[names].itertuples(index=False)]
    return dict(sorted(zip(keys, frame["value"].to_numpy(float).view(np.int64).tolist(), strict=True)))


def test_the_plainly_better_configuration_is_chosen(finished):
    record = records(finished)["scratch"]
    scores = [tried["score"] for tried in record["configurations"]]
    rates = [tried["settings"]["inner_lr"] for tried in record["configurations"]]
    assert rates[0] == 0.25
    assert scores[0] is None or scores[0] > 100  # a sinusoid's variance is below 12.5
    assert record["chosen"] == min((i for i, score in enumerate(scores) if score is not None), key=lambda i: scores[i])
    assert rates[record["chosen"]] < 0.15
    tested = bench.load_results(finished).query("arm == 'scratch' and split == 'meta-test' and metric == 'mse' and adaptation_step == 5")
    assert len(tested) == 2 * 6
    assert tested["value"].mean() < 12.5


def test_where_every_configuration_diverges_the_arm_keeps_its_own(finished):
    record = records(finished)["hopeless"]
    assert {tried["status"] for tried in record["configurations"]} == {"diverged"}
    assert record["chosen"] == 0
    assert set(ledger_frame(finished).query("arm == 'hopeless'")["status"]) == {"diverged"}


def test_tuning_looks_at_no_meta_test_task(finished, asked):
    assert {split for meta_test, split in asked if meta_test == 0} == {"meta-val"}
    assert "meta-test" in {split for meta_test, split in asked if meta_test}
    assert set(bench.load_results(finished, tuning=True)["split"].dropna()) <= {"meta-train", "meta-val"}


def test_what_was_tried_is_in_no_result(finished):
    frame, tried = bench.load_results(finished), bench.load_results(finished, tuning=True)
    assert TUNING_REPLICATE not in set(frame["replicate"])
    assert set(tried["configuration"]) == {0, 1, 2, 3}
    assert not set(frame["trial_id"]) & set(tried["trial_id"])
    assert "configuration" not in frame
    assert len(ledger_frame(finished)) == 4 * 2
    assert len(ledger_frame(finished, tuning=True)) == 3 * 4


def test_the_checkpoint_is_the_best_validation_of_its_own_cell(finished):
    frame = bench.load_results(finished).query("arm == 'maml' and metric == 'mse'")
    for _, cell in frame.groupby("trial_id", observed=True):
        validated = cell[cell["split"] == "meta-val"].groupby("outer_step")["value"].mean()
        assert set(validated.index) == {0, 16, 20}  # at the start, at a multiple of the power of two that leaves two of them, at the end
        assert set(cell.loc[cell["split"] == "meta-test", "outer_step"]) == {validated.idxmin()}


def test_rows_carry_what_tuning_cost_beside_their_own_cost(finished):
    final, tried = ledger_frame(finished), ledger_frame(finished, tuning=True)
    for name in ("gradient_evaluations", "samples_seen", "flops", "seconds"):
        total = tried[tried["arm"] == "maml"][name].sum()
        assert total > 0
        carried = final.loc[final["meta_learner"] == "maml", f"tuning_{name}"]  # the control's, too
        assert carried.to_numpy() == pytest.approx(total)
    assert tried[f"tuning_{name}"].isna().all()


def test_a_second_run_does_nothing_and_keeps_the_record(finished, capsys):
    before = (finished / "tuning.json").read_bytes()
    assert main(arguments(finished)) == ExitCode.OK
    assert "0 to run" in capsys.readouterr().out
    assert (finished / "tuning.json").read_bytes() == before


def test_a_run_cut_between_tuning_and_results_goes_on_with_the_same_choice(finished, tmp_path, monkeypatch):
    results = tmp_path / "results"

    def cut(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "_choices", cut)
    with pytest.raises(KeyboardInterrupt):
        driver.run(SUITE, RunOptions(output=results, executor="inline", device="cpu"))
    monkeypatch.undo()
    assert set(ledger_frame(results)["status"]) == {"planned"}
    assert set(ledger_frame(results, tuning=True)["status"]) == {"ok", "diverged"}
    assert main(arguments(results)) == ExitCode.OK
    assert values(results) == values(finished)
    assert values(results, tuning=True) == values(finished, tuning=True)
    without_times = [{**one, "costs": None} for one in records(results).values()]
    assert without_times == [{**one, "costs": None} for one in records(finished).values()]


# ------------------------------------------------------------------ what became of tuning trials
@pytest.fixture(scope="module")
def chosen(finished):
    """The choice for scratch if its tuning trials had ended as told: ``c3="failed"`` for configuration 3."""
    planned = prepare(SUITE, RunOptions(output=finished, device="cpu"))
    group = next(trial.tuning for trial in planned.plan.trials if trial.arm == "scratch" and trial.tuning)

    def choosing(**statuses):
        changes = {group[int(name[1:])]: status for name, status in statuses.items()}
        rows = {key: replace(row, status=changes.get(key, row.status)) for key, row in known_rows(finished).items()}
        return choices(planned.plan.trials, rows, finished, planned.registry).get(group)

    return choosing


@pytest.mark.parametrize("status", ["failed", "oom", "timeout", "diverged"])
def test_a_tuning_trial_without_its_numbers_counts_as_worst(chosen, status):
    best = chosen().record["chosen"]
    assert chosen(**{f"c{best}": status}).record["chosen"] not in (0, best)


@pytest.mark.parametrize("status", ["infra", "planned", "running"])
def test_nothing_is_chosen_while_a_tuning_trial_is_still_to_come(chosen, status):
    assert chosen(c3=status) is None


def test_a_failed_tuning_trial_is_reported_and_makes_the_run_fail(finished, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    tried = ledger_frame(results, tuning=True).query("arm == 'maml' and configuration == 2")["trial_id"].item()
    lost = {"event": "finished", "trial_id": tried, "status": "failed", "reason": "it broke on purpose", "attempts": 1}
    with (results / "ledger.jsonl").open("a") as ledger:
        ledger.write(json.dumps(lost) + "\n")
    assert main(arguments(results)) == ExitCode.CELL_FAILED
    text = (results / "report" / "tuning-not-ok.md").read_text()
    assert "it broke on purpose" in text
    assert "2" in text


def test_a_damaged_record_is_none_and_a_partial_one_keeps_the_other_arms(tmp_path):
    path = tmp_path / "tuning.json"
    for text in ("", "[]", "{}", '{"arms": [1, {}]}'):
        path.write_text(text)
        assert read_record(path) == []
    a, b, again = (
        {"cell": {"arm": arm}, "configurations": [], "chosen": number, "edges": {}} for arm, number in (("a", 0), ("b", 0), ("a", 1))
    )
    write_record(path, [a, b], whole=True)
    write_record(path, [again], whole=False)
    assert read_record(path) == [again, b]
    write_record(path, [b], whole=True)
    assert read_record(path) == [b]


# ------------------------------------------------------------------ plan and report
def test_a_plan_shows_tuning_and_its_time(tmp_path):
    text = plan_text(prepare(SUITE, RunOptions(output=tmp_path / "none", device="cpu")), jobs=1)
    assert "sinusoids: tuning maml x 4" in text
    assert "sinusoids: maml x 2" in text
    assert "of them to tune 3 arms: 12 cells" in text


def test_a_quick_pass_tries_two_configurations(tmp_path):
    planned = prepare(SUITE, RunOptions(output=tmp_path / "none", device="cpu", quick=True))
    assert {len(trial.tuning) for trial in planned.plan.trials if trial.configuration is None} == {2}


def test_times_of_tuning_trials_are_no_times_of_cells(finished, tmp_path):
    planned = prepare(SUITE, RunOptions(output=tmp_path / "none", device="cpu"))
    tuning, _ = split(planned.plan.trials)
    from bench.driver.planning import make_plan

    rows = {trial.trial_id: TrialRow(trial.trial_id, cell=trial.cell(), status="ok", seconds=77.0) for trial in tuning[:1]}
    seconds = make_plan(planned.plan.trials, rows, {"sinusoids": "regression"}).seconds
    same_arm = [trial for trial in planned.plan.trials if trial.arm == tuning[0].arm and trial.trial_id in seconds]
    assert {trial.configuration is not None for trial in same_arm if seconds[trial.trial_id] == 77.0} == {True}


def test_the_report_tells_how_settings_were_chosen(finished):
    page = (finished / "report" / "report.md").read_text()
    section = page[page.index("## Tuning") : page.index("## Costs")]
    assert "with 4 configurations per arm" in page[: page.index("## Protocol")]
    assert "4 configurations per arm on meta-val" in page
    chosen = [line for line in section.splitlines() if line.endswith("| chosen |")]
    assert [line.split(" | ")[0] for line in chosen] == ["| scratch", "| maml", "| hopeless"]
    assert "No configuration of hopeless on sinusoids has a finite score" in section
    assert "maml (shuffled tasks)" in section[section.index("Checkpoints measured") :]
    costs = (finished / "report" / "costs-sinusoids.csv").read_text()
    assert "tuning_gradient_evaluations" in costs
    assert "untuned" not in page


def test_statuses_and_tables_count_cells_of_the_question_only(finished):
    statuses = (finished / "report" / "statuses.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in statuses[1:]] == ["scratch", "maml", "maml (shuffled tasks)", "hopeless"]
    assert all(sum(map(int, line.split(",")[1:])) == 2 for line in statuses[1:])
