"""The grid: which cells there are, what is skipped and why, and which work they share. Of their identity: test_identity.py."""

import itertools
import json
from dataclasses import replace

import pytest
from grid_fixture import SUITE, ids, one, suite_of

from bench.errors import NothingSelectedError, SuiteError, UsageError
from bench.grid.cells import Trial, expand
from bench.grid.selection import select
from bench.registry.registry import Registry, discover
from bench.suite.model import Budget

REGRESSION = {
    "task_distributions": ["sinusoids"],
    "games": ["regression"],
    "metrics": ["mse"],
    "primary": {**SUITE["primary"], "metric": "mse"},
    "regularisers": [[]],
}


@pytest.fixture
def registry(monkeypatch):
    """The built-in components; reading data is not what this is about."""
    monkeypatch.setattr(Registry, "data_hash", lambda self, family, name, parameters: f"data of {name}")
    return discover("builtin")


@pytest.fixture
def load(registry, tmp_path):
    """Suite from changes to the one of the fixture."""
    return lambda changes=None: suite_of(tmp_path, registry, changes)


@pytest.fixture
def cells(load, registry):
    """Cells of the suite with some keys changed."""
    return lambda **changes: expand(load(changes), registry)


# ------------------------------------------------------------------ cells
def test_cells_are_the_product_with_controls_beside_the_first_set_only(cells):
    trials = cells()
    learners, losses, sets, replicates = 5, 2, 3, 2
    assert len(trials) == replicates * losses * (learners * sets + 1)
    assert {trial.arm for trial in trials if trial.control} == {"reptile (shuffled tasks)"}
    assert len(ids(trials)) == len(trials)


def test_controls_follow_the_first_set_wherever_it_is(cells):
    trials = cells(regularisers=[["outer-clip"], []])
    assert {trial.arm for trial in trials if trial.control} == {"reptile + outer-clip (shuffled tasks)"}


ABLATION = {
    "networks": [{"mlp": {"label": "narrow"}}, {"mlp": {"width": 128, "label": "wide"}}],
    "meta_learners": ["finetune", "reptile"],
    "controls": {},
}
ALONE = {
    "finetune",
    "finetune + wide",
    "finetune + wasserstein",
    "finetune + gradient-penalty",
    "finetune + outer-clip",
    "reptile",
}


@pytest.mark.parametrize(
    ("design", "arms"), [("one-at-a-time", ALONE), ("ablation", ALONE | {"reptile + wide + wasserstein + outer-clip"})]
)
def test_a_design_changes_one_thing_at_a_time_or_all(cells, load, design, arms):
    changes = {**ABLATION, "design": design, "primary": {**SUITE["primary"], "compare": ["finetune + wide", "finetune"]}}
    trials = [trial for trial in cells(**changes) if trial.replicate == 0]
    assert {trial.arm for trial in trials} == arms == set(load(changes).arms())
    assert len(trials) == len(arms)


def test_the_full_design_keeps_networks_and_losses_out_of_names(cells):
    trials = [trial for trial in cells(**ABLATION) if trial.replicate == 0]
    assert len(trials) == 2 * 2 * 2 * 3
    assert {trial.arm for trial in trials} == {
        learner + extra for learner in ("finetune", "reptile") for extra in ("", " + gradient-penalty", " + outer-clip")
    }


def test_whole_replicates_come_first(cells):
    replicates = [trial.replicate for trial in cells()]
    assert replicates == sorted(replicates)


def test_a_game_without_a_gan_loss_is_not_multiplied_by_them(cells):
    trials = cells(**REGRESSION)
    assert len(trials) == 2 * (5 + 1)
    assert {trial.gan_loss for trial in trials} == {None}


def test_only_metrics_that_are_defined_are_measured(cells):
    trials = cells(task_distributions=["gaussian-rings", "digits"])
    measured = {trial.task_distribution.name: [metric.name for metric in trial.metrics] for trial in trials}
    assert measured == {"gaussian-rings": ["energy", "modes"], "digits": ["energy"]}


def test_the_feature_extractor_follows_the_kind_of_samples(cells):
    trials = cells(task_distributions=["gaussian-rings", "digits"])
    chosen = {trial.task_distribution.name: trial.feature_extractor.name for trial in trials}
    assert chosen == {"gaussian-rings": "identity", "digits": "protonet-conv4"}


def test_overrides_hold_for_their_distribution_only(cells):
    changes = {"digits": {"gan_losses": ["hinge"], "budget": {"outer_steps": 7}, "protocol": {"shots": 3}}}
    trials = cells(task_distributions=["gaussian-rings", "digits"], per_task_distribution=changes)
    digits = [trial for trial in trials if trial.task_distribution.name == "digits"]
    rings = [trial for trial in trials if trial.task_distribution.name != "digits"]
    assert {trial.gan_loss.name for trial in digits} == {"hinge"}
    assert {(trial.budget["axis"], trial.protocol["shots"]) for trial in digits} == {("outer_steps", 3)}
    assert {(trial.budget["axis"], trial.protocol["shots"]) for trial in rings} == {("gradient_evaluations", 6)}


def test_a_trial_travels_as_json(cells):
    for trial in cells(regularisers=[["gradient-penalty", "outer-clip"]]) + cells(**REGRESSION):
        assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == replace(trial, budget=dict(trial.budget))


def test_cells_that_differ_in_labels_only_are_refused(cells):
    with pytest.raises(SuiteError, match=r"differ in nothing but labels: reptile on .*; twin on "):
        cells(meta_learners=["finetune", "reptile", {"reptile": {"label": "twin"}}])


# ------------------------------------------------------------------ skipped cells
@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"networks": ["dcgan"]}, {"dcgan takes samples of kind image, but gaussian-rings has points"}),
        ({"networks": [{"pac": {"network": "dcgan"}}]}, {"dcgan takes samples of kind image, but gaussian-rings has points"}),
        ({"feature_extractor": "pixels"}, {"pixels takes samples of kind image, but gaussian-rings has points"}),
        (
            {"task_distributions": ["sinusoids"], "metrics": ["mse"], "primary": REGRESSION["primary"]},
            {"gan takes samples of kind image, points, signal, but sinusoids has regression"},
        ),
        (
            {**REGRESSION, "regularisers": [["gradient-penalty"]]},
            {"gradient-penalty acts on the discriminator, which the game regression has not"},
        ),
        (
            {**REGRESSION, "games": ["classifier"], "task_distributions": ["gaussian-rings"], "metrics": ["energy", "mse"]},
            {"classifier needs tasks of several classes, and gaussian-rings has no labels; wrap it in n-way where its tasks are classes"},
        ),
        ({**REGRESSION, "metrics": ["energy", "mse"]}, {""}),
        ({"task_distributions": ["digits"], "regularisers": [[]], "metrics": ["modes"], "primary": {**SUITE["primary"], "metric": "modes"}},
         {"none of the suite's metrics is defined on digits (image)"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_skipped_with_its_reason(cells, changes, reasons):
    assert {trial.skip for trial in cells(**changes)} == reasons


def test_predictions_and_samples_have_metrics_of_their_own(cells):
    both = {"metrics": ["energy", "mse", "inception-score", "accuracy", "augmented-accuracy"]}
    predicted, generated = cells(**{**REGRESSION, **both})[0], cells(games=["vae"], **both, regularisers=[[]])[0]
    assert [metric.name for metric in predicted.metrics] == ["mse"]
    assert [metric.name for metric in generated.metrics] == ["energy", "inception-score"]  # the others need labels


def test_a_penalty_on_slopes_needs_logits_of_single_samples(cells):
    skipped = {trial.skip for trial in cells(networks=[{"pac": {"network": "mlp"}}], regularisers=[["gradient-penalty"], ["lecam"]])}
    assert skipped == {"", "gradient-penalty needs the gradient of each sample's logit, and pac judges samples together"}


@pytest.mark.parametrize(
    ("fused", "norm", "refused"),
    [(("group",), "group", True), (("group",), "rms", False), (("group", "rms"), "rms", True), ((), "group", False)],
)
def test_third_derivatives_that_are_wrong_are_refused_at_planning(cells, registry, monkeypatch, fused, norm, refused):
    """The built-in networks have no fused norm, so one is said to be; first order and other penalties do not mind."""
    monkeypatch.setitem(registry.component("networks", "mlp").attributes, "fused_norms", list(fused))
    trials = cells(networks=[{"mlp": {"norm": norm}}], regularisers=[["r1"], ["orthogonal"]])
    found = {
        (trial.meta_learner.parameters.get("order"), trial.regularisers[0].name) for trial in trials if "third derivatives" in trial.skip
    }
    assert found == ({(2, "r1")} if refused else set())


@pytest.mark.parametrize(("players", "refused"), [(["vae"], False), (["generator"], True)])
def test_a_rule_of_weights_acts_on_the_players_that_its_hyperparameter_names(cells, players, refused):
    trials = cells(
        games=["vae"], regularisers=[[{"weight-clip": {"players": players}}]], meta_learners=["finetune", "reptile"], controls={}
    )
    assert {"acts on the generator, which the game vae has not" in trial.skip for trial in trials} == {refused}


def test_a_rule_of_weights_that_names_no_player_is_refused(cells):
    reasons = {trial.skip for trial in cells(regularisers=[[{"weight-clip": {"players": []}}]], controls={})}
    assert reasons == {"weight-clip names no player, so it changes nothing"}


def test_a_network_must_build_what_the_game_needs(cells, registry, monkeypatch):
    monkeypatch.setitem(registry.component("networks", "mlp").attributes, "roles", ["classifier"])
    assert {trial.skip for trial in cells()} == {"mlp builds no generator, which the game gan needs; it builds classifier"}


def test_an_outer_regulariser_needs_an_outer_loop(cells):
    skipped = {(trial.arm, trial.skip) for trial in cells() if trial.skip}
    assert skipped == {("scratch + outer-clip", "outer-clip acts on the outer loop, which scratch has not")}


def test_a_regulariser_that_is_learned_needs_a_meta_gradient(cells):
    skipped = {(trial.meta_learner.name, trial.skip) for trial in cells(regularisers=[["meta-dropout"]]) if trial.skip}
    assert skipped == {(name, f"meta-dropout is learned by a meta-gradient, and {name} takes none") for name in ("scratch", "reptile")}


def test_an_augmentation_that_would_change_nothing_is_not_run(cells):
    skipped = {(trial.meta_learner.name, trial.skip) for trial in cells(augmentations=[["metamix"]], regularisers=[[]]) if trial.skip}
    assert skipped == {("scratch", "metamix acts on meta-training tasks, which scratch has not")}


def test_an_augmentation_fits_kinds_of_samples(cells):
    regression = cells(augmentations=[["task-augmentation"]], **REGRESSION)
    reason = "task-augmentation transforms samples of kind image, points, but sinusoids has regression"
    assert {trial.skip for trial in regression} == {reason}


def test_an_exclusion_gives_its_reason_and_needs_all_its_families(cells):
    rule = {"meta_learners": "maml", "regularisers": ["gradient-penalty", "outer-clip"], "gan_losses": "wasserstein", "reason": "too dear"}
    excluded = [trial for trial in cells(exclude=[rule]) if trial.skip == "excluded by the suite: too dear"]
    expected = itertools.product(("maml(order=1)", "maml(order=2)"), ("gradient-penalty", "outer-clip"), (0, 1))
    assert {(t.meta_learner.label, t.regularisers[0].label, t.replicate) for t in excluded} == set(expected)
    assert {trial.gan_loss.label for trial in excluded} == {"wasserstein"}


def test_an_excluded_cell_keeps_its_identity(cells):
    rule = {"meta_learners": "maml", "reason": "too dear"}
    assert ids(cells(exclude=[rule])) == ids(cells())


# ------------------------------------------------------------------ lineage and shared work
def test_lineage_is_the_identity_without_the_budget(load, registry):
    suite = load()
    short, long = (
        one(expand(suite.model_copy(update={"budget": Budget(gradient_evaluations=n, warm_start={"finetune": 100})}), registry))
        for n in (500, 5000)
    )
    assert short.trial_id != long.trial_id
    assert short.lineage_id == long.lineage_id
    lineages = [trial.lineage_id for trial in expand(suite, registry)]
    assert len(set(lineages)) == len(lineages)


# ------------------------------------------------------------------ several numbers of shots
def test_a_number_of_shots_is_a_cell_and_the_largest_is_what_it_is_alone(cells, load):
    protocol = {**SUITE["protocol"], "shots": [1, 3, 6]}
    several, alone = cells(protocol=protocol), cells()
    assert len(several) == 3 * len(alone)
    assert {trial.cell()["shots"] for trial in several} == {1, 3, 6}
    assert len(ids(several)) == len(several)
    assert {trial.trial_id for trial in several if trial.protocol["shots"] == 6} == ids(alone)
    # With another largest support, the smaller ones are other samples.
    fewer = cells(protocol={**protocol, "shots": [1, 3]})
    assert ids(fewer).isdisjoint(ids(several))
    assert ({trial.warm_key for trial in fewer} - {""}).isdisjoint(trial.warm_key for trial in several)


def test_shots_are_selected_by_their_number(cells):
    trials = cells(protocol={**SUITE["protocol"], "shots": [1, 10]})
    assert {trial.protocol["shots"] for trial in select(trials, "reptile and shots=1")} == {1}
    assert {trial.replicate for trial in select(trials, "replicate=1 and not shots=1")} == {1}


# ------------------------------------------------------------------ measuring elsewhere
RINGS = {"task_distributions": [{"gaussian-rings": {"label": "rings"}}]}
ELSEWHERE = {**RINGS, "test_on": [{"gaussian-rings": {"label": "own"}}, {"gaussian-rings": {"modes": 8, "label": "eight"}}]}


def test_a_cell_per_place_that_is_measured_on(cells):
    trials = cells(**ELSEWHERE)
    assert len(trials) == 2 * len(cells(**RINGS))
    assert {trial.cell()["task_distribution"] for trial in trials} == {"rings -> own", "rings -> eight"}
    assert all(Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial for trial in trials)
    assert {trial.place for trial in select(trials, "eight")} == {"rings -> eight"}


def test_measured_on_its_own_task_distribution_a_cell_is_what_it_is_alone(cells):
    trials = cells(**ELSEWHERE)
    own, elsewhere = ({t.trial_id for t in trials if t.place == f"rings -> {label}"} for label in ("own", "eight"))
    assert own == ids(cells(**RINGS))
    assert own.isdisjoint(elsewhere)
    assert {t.trial_id for t in cells(**{**ELSEWHERE, "test_on": ELSEWHERE["test_on"][1:]})} == elsewhere


def test_cells_that_are_measured_elsewhere_share_their_training_and_nothing_else_does(cells):
    trials = cells(**ELSEWHERE)
    places = {}
    for trial in trials:
        places.setdefault(trial.transfer.training_key, []).append(trial.place)
        assert {trial.transfer.training_key, trial.transfer.features_key} <= set(trial.needs)
    assert {tuple(sorted(found)) for found in places.values()} == {("rings -> eight", "rings -> own")}


def test_what_is_measured_by_depends_on_the_place_that_is_measured_on_only(cells):
    (there,) = {t.transfer.features_key for t in cells(**ELSEWHERE) if t.place == "rings -> eight"}
    (alone,) = {t.features_key for t in cells(task_distributions=[{"gaussian-rings": {"modes": 8}}])}
    (other,) = {t.transfer.features_key for t in cells(**{**ELSEWHERE, "task_distributions": [{"gaussian-rings": {"modes": 3}}]})
                if t.transfer.task_distribution.label == "eight"}  # fmt: skip
    assert there == alone == other


def test_data_and_code_of_the_place_that_is_measured_on_are_part_of_the_identity(load, registry, monkeypatch):
    images = {"task_distributions": ["digits"], "test_on": [{"omniglot": {"size": 8}}], "metrics": ["energy"]}
    suite = load({**images, "regularisers": [[]]})
    before = one(expand(suite, registry))
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "data_hash", lambda self, family, name, parameters: f"{'other ' * (name == 'omniglot')}data of {name}")
        data = one(expand(suite, registry))
    original = Registry.source_hash
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "source_hash", lambda self, family, name: "other" if name == "omniglot" else original(self, family, name))
        code = one(expand(suite, registry))
    assert len({before.trial_id, data.trial_id, code.trial_id}) == 3
    assert {data.transfer.training_key, code.transfer.training_key} == {before.transfer.training_key}


def test_the_metrics_are_those_of_the_place_that_is_measured_on(cells):
    trials = cells(task_distributions=["digits"], test_on=[{"digits": {"meta_test": "all", "label": "ten"}}], regularisers=[[]])
    assert {tuple(metric.name for metric in trial.transfer.metrics) for trial in trials} == {("energy",)}


def test_samples_that_do_not_agree_are_skipped_with_a_cure(cells):
    there = [{"glyphs": {"size": 8, "label": "small"}}, {"glyphs": {"size": 16, "label": "large"}}, "gaussian-rings"]
    trials = cells(task_distributions=["digits"], test_on=there, regularisers=[[]])
    here = "meta-trained on digits (image 1 x 8 x 8 in [-1, 1])"
    why = here + ", it cannot be measured on {}; choose hyperparameters with which their samples agree"
    assert {(trial.place, trial.skip.partition(", such")[0]) for trial in trials} == {
        ("digits -> small", ""),
        ("digits -> large", why.format("large (image 1 x 16 x 16 in [-1, 1])")),
        ("digits -> gaussian-rings", why.format("gaussian-rings (points 2 unbounded)")),
    }


def test_a_baseline_that_does_not_train_has_no_budget(load, registry):
    suite = load()
    short, long = (
        one(expand(suite.model_copy(update={"budget": Budget(gradient_evaluations=n)}), registry), arm="scratch").trial_id
        for n in (500, 5000)
    )
    assert short == long


def test_arms_share_a_warm_start_but_replicates_losses_and_penalties_do_not(cells):
    keys = {}
    for trial in cells():
        if trial.meta_learner.name == "scratch":
            assert trial.warm_key == ""
            continue
        penalty = any(component.name == "gradient-penalty" for component in trial.regularisers)
        keys.setdefault((trial.replicate, trial.gan_loss.label, penalty), set()).add(trial.warm_key)
    assert {len(found) for found in keys.values()} == {1}
    assert len(set.union(*keys.values())) == len(keys) == 2 * 2 * 2


def test_a_warm_start_depends_on_what_its_training_sees(load, registry):
    suite = load()

    def key(**update):
        return one(expand(suite.model_copy(update=update), registry)).warm_key

    before = key()
    steps = suite.protocol.adaptation_steps
    apart = {
        "more adaptation steps": suite.protocol.model_copy(update={"adaptation_steps": steps.model_copy(update={"train": 3})}),
        "more shots": suite.protocol.model_copy(update={"shots": 7}),
    }
    assert before not in {key(protocol=protocol) for protocol in apart.values()}
    assert key(seed=2) != before
    assert key(budget=Budget(gradient_evaluations=500, warm_start={"finetune": 101})) != before
    shared = {
        "protocol": suite.protocol.model_copy(update={"samples": 7, "validations": 0, "reference": 9}),
        "metrics": suite.metrics[:1],
        "budget": Budget(gradient_evaluations=5000, warm_start={"finetune": 100}),
    }
    assert {key(**{name: value}) for name, value in shared.items()} == {before}


def test_the_test_time_settings_of_a_learner_do_not_touch_its_warm_start(cells):
    learners = [{"finetune": {"test": {"inner_lr": 0.1}, "label": "tuned"}}, "reptile"]
    primary = {**SUITE["primary"], "compare": ["reptile", "tuned"]}
    assert one(cells(meta_learners=learners, primary=primary)).warm_key == one(cells()).warm_key


def test_a_feature_extractor_is_shared_by_everything_on_the_same_data(cells):
    trials = cells(task_distributions=["gaussian-rings", "digits"])
    assert len({(trial.task_distribution.name, trial.features_key) for trial in trials}) == 2


# ------------------------------------------------------------------ -k
@pytest.mark.parametrize(
    ("expression", "arms"),
    [
        ("scratch", {"scratch", "scratch + gradient-penalty", "scratch + outer-clip"}),
        ("maml(order=2) and not (gradient-penalty or outer-clip)", {"maml(order=2)"}),
        ("not maml and not scratch and not finetune and not outer-clip and not gradient-penalty", {"reptile", "reptile (shuffled tasks)"}),
        ("shuffled-tasks", {"reptile (shuffled tasks)"}),
        ("arm=reptile", {"reptile"}),
        ("meta_learner=Reptile and not arm=reptile", {"reptile (shuffled tasks)", "reptile + gradient-penalty", "reptile + outer-clip"}),
        ("Reptile AND outer-clip", {"reptile + outer-clip"}),
        ("finetune and outer-clip or shuffled", {"finetune + outer-clip", "reptile (shuffled tasks)"}),
        ("not(maml or scratch)and outer-clip", {"finetune + outer-clip", "reptile + outer-clip"}),
    ],
)
def test_expressions_select_by_labels(cells, expression, arms):
    assert {trial.arm for trial in select(cells(), expression)} == arms


def test_a_selection_keeps_identities(cells):
    trials = cells()
    assert ids(select(trials, "wasserstein")) == {trial.trial_id for trial in trials if trial.gan_loss.label == "wasserstein"}


def test_an_expression_that_selects_nothing_says_what_there_is(cells):
    with pytest.raises(NothingSelectedError, match="selects none of 64 cells; arms: finetune, "):
        select(cells(), "nobody")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "cannot be read; write words joined by and, or, not"),
        ("reptile and", "cannot be read"),
        ("(reptile", "a bracket is not closed"),
        ("reptile wasserstein", "cannot be read after 'wasserstein'"),
        ("or reptile", "cannot be read"),
    ],
)
def test_an_expression_that_cannot_be_read_is_a_usage_error(cells, expression, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        select(cells(), expression)
