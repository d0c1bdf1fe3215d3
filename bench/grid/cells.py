"""Suite -> Trials: the grid of cells, each with an identity that covers everything that can change its numbers.

``trial_id`` hashes components with their sources, protocol, budget, seed, replicate, data, bench's numeric modules, torch,
device class and dtype. Two cells of equal identity have bit-equal numbers, so a finished one is never run again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import metadata
from typing import Any

from bench.errors import NothingSelectedError, SuiteError
from bench.grid.judging import judge_trial
from bench.grid.tuning import configurations
from bench.registry.registry import Registry
from bench.suite.components import set_label
from bench.suite.locations import with_absolute_locations, without_locations
from bench.suite.model import CONTROLS, PRIVILEGED, Combination, Component, Suite, arm_name, control_mark, transfer_name

(SHUFFLED,) = CONTROLS
TRAINED_ON = ("shots", "train_shots", "drawn", "query", "task_batch", "task_chunk")  # the part of a protocol that warm starts depend on
TUNING_REPLICATE = -1  # of every tuning trial: meta-train tasks, initialisation and warm start that no other cell has


@dataclass(frozen=True)
class Transfer:
    """Where a cell is measured, if not on the task distribution that it is meta-trained and validated on.

    Attributes:
        metrics: those that are defined there.
        features_key, judge_key: as of the trial: what is measured by does not depend on what was trained on.
        training_key: names the meta-training, which cells that differ in nothing but this share.
    """

    task_distribution: Component
    metrics: tuple[Component, ...]
    features_key: str = ""
    judge_key: str = ""
    training_key: str = ""


@dataclass(frozen=True)
class Trial:
    """One cell: a component per family, a replicate, a budget, and the protocol that all arms share.

    Attributes:
        arm: name of the line in tables and figures.
        skip: why the cell cannot be run; empty where it can.
        configuration: number of the configuration that a tuning trial tries; None for the cells that the question is about.
        tuning: ids of the tuning trials that choose the cell's settings, in the order of their configurations; empty where there is
            nothing to choose but the checkpoint; None where the suite does not tune, and in tuning trials.
        transfer: where it is measured; None for meta-test tasks of its own task distribution.
        warm_key: names the joint phase that this cell shares with others; empty where it has none.
        features_key: names the feature extractor that this cell shares with others.
        judge_key: names the classifier that its metrics judge samples with, see :mod:`bench.grid.judging`; empty where none does.
        trial_id, lineage_id: content hashes with and without the budget.
        identity: what they are hashes of, by part; it does not travel to workers.
    """

    suite: str
    seed: int
    replicate: int
    game: Component
    task_distribution: Component
    network: Component
    gan_loss: Component | None
    meta_learner: Component
    regularisers: tuple[Component, ...]
    augmentations: tuple[Component, ...]
    control: str
    metrics: tuple[Component, ...]
    feature_extractor: Component
    primary_metric: str
    primary_step: int
    budget: Mapping[str, Any]  # {"axis", "amount", "warm_start": {"learner": component, "amount"} | None}
    protocol: Mapping[str, Any]
    device: str
    transfer: Transfer | None = None
    arm: str = ""
    skip: str = ""
    configuration: int | None = None
    tuning: tuple[str, ...] | None = None
    warm_key: str = ""
    features_key: str = ""
    judge_key: str = ""
    trial_id: str = ""
    lineage_id: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def place(self) -> str:
        """Display name of where it learns and is measured: ``glyphs``, or ``glyphs -> omniglot``."""
        own = self.task_distribution.label
        return own if self.transfer is None else transfer_name(own, self.transfer.task_distribution.label)

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the artefacts that it shares with other cells."""
        there = self.transfer
        elsewhere = (there.features_key, there.judge_key, there.training_key) if there else ()
        return tuple(dict.fromkeys(key for key in (self.features_key, self.judge_key, self.warm_key, *elsewhere) if key))

    @property
    def tunes(self) -> bool:
        """Whether it belongs to a suite that tunes, so that its checkpoint is chosen on meta-val."""
        return self.tuning is not None or self.configuration is not None

    def cell(self) -> dict[str, Any]:
        """The columns by which tables tell cells apart."""
        return {
            "suite": self.suite,
            "arm": self.arm,
            "game": self.game.label,
            "task_distribution": self.place,
            "network": self.network.label,
            "gan_loss": self.gan_loss.label if self.gan_loss else "",
            "meta_learner": self.meta_learner.label,
            "regularisers": set_label(self.regularisers),
            "augmentations": set_label(self.augmentations),
            "control": self.control,
            "replicate": self.replicate,
            "shots": self.protocol["shots"],
            **({} if self.configuration is None else {"configuration": self.configuration}),
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as it travels to a worker."""
        return {name: value for name, value in asdict(replace(self, identity={})).items() if name != "identity"}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        """Inverse of :meth:`to_dict`."""

        def component(value: Any) -> Any:
            return Component(**value) if value is not None else None

        single = ("game", "task_distribution", "network", "gan_loss", "meta_learner", "feature_extractor")
        several = ("regularisers", "augmentations", "metrics")
        fields: dict[str, Any] = {key: value for key, value in data.items() if key not in (*single, *several)}
        fields |= {key: component(data[key]) for key in single}
        fields |= {key: tuple(component(value) for value in data[key]) for key in several}
        fields["tuning"] = None if data["tuning"] is None else tuple(data["tuning"])
        if transfer := data.get("transfer"):
            there = {**transfer, "task_distribution": component(transfer["task_distribution"])}
            fields["transfer"] = Transfer(**{**there, "metrics": tuple(component(value) for value in transfer["metrics"])})
        return cls(**fields)


def expand(suite: Suite, registry: Registry, *, device: str = "cpu") -> list[Trial]:
    """Every cell of the suite, the ones that cannot be run included with their reason.

    Order: tuning trials, which the others need, then replicates outermost, so that an interrupted run has whole replicates of
    everything first.

    Raises:
        SuiteError: two cells would have the same numbers under different labels, or an arm cannot be tuned.
        DataError: a task distribution's data are missing.
    """
    trials: dict[str, Trial] = {}
    for distribution in suite.task_distributions:
        effective = suite.for_distribution(distribution.label)
        located = with_absolute_locations(distribution, registry)
        for trial in _cells(effective, located, registry, device):
            tuning = [_identified(one, registry) for one in _tuning_trials(trial, effective, registry)]
            chosen_by = tuple(one.trial_id for one in tuning) if suite.tuning and not trial.skip else None
            final = (replace(trial, replicate=number, tuning=chosen_by) for number in range(suite.replicates))
            for finished in (*tuning, *(_identified(one, registry) for one in final)):
                first = trials.setdefault(finished.trial_id, finished)
                if first.cell() != finished.cell():
                    told = [f"{one.arm} on {one.place}, {one.network.label}" for one in (first, finished)]
                    raise SuiteError(f"two cells of this suite differ in nothing but labels: {told[0]}; {told[1]}; remove one of them")
    return sorted(trials.values(), key=lambda trial: trial.replicate)


def refuse_nothing(trials: Sequence[Trial]) -> None:
    """Refuse a grid in which no cell can run.

    Raises:
        NothingSelectedError: every cell is skipped; the text has the reasons.
    """
    if trials and all(trial.skip for trial in trials):
        reasons = dict.fromkeys(trial.skip for trial in trials)
        raise NothingSelectedError("\n  ".join([f"none of the {len(trials)} cells can run, they are all skipped:", *reasons]))


def cells_of_one_replicate(suite: Suite, registry: Registry, *, device: str = "cpu") -> list[Trial]:
    """Every cell of the first replicate as planned, without its identity, for which the data would have to be there.

    Raises:
        DataError: a task distribution that tells the kind of its samples only when it is made cannot be made.
    """
    effective = ((suite.for_distribution(one.label), with_absolute_locations(one, registry)) for one in suite.task_distributions)
    return [trial for own, located in effective for trial in _cells(own, located, registry, device)]


def _cells(suite: Suite, distribution: Component, registry: Registry, device: str) -> Iterator[Trial]:
    """The cells of one replicate; controls stand beside the first set of regularisers and augmentations only, which the others vary."""
    plain = (suite.regularisers or ((),))[0], (suite.augmentations or ((),))[0]
    everywhere: list[Component | None] = [with_absolute_locations(there, registry) for there in suite.test_on]
    for elsewhere, protocol, one in itertools.product(everywhere or [None], suite.protocol.by_shots(), suite.combinations()):
        needs_loss = registry.component("games", one.game.name).attributes.get("needs_loss", True)
        controlled = [control for control, labels in suite.controls.items() if one.meta_learner.label in labels]
        if one.gan_loss is None and needs_loss:
            continue
        for control in ("", *(controlled if (one.regularisers, one.augmentations) == plain else ())):
            trial = Trial(
                suite=suite.name,
                seed=suite.seed,
                replicate=0,
                game=one.game,
                task_distribution=distribution,
                network=one.network,
                gan_loss=one.gan_loss if needs_loss else None,
                meta_learner=one.meta_learner,
                regularisers=one.regularisers,
                augmentations=one.augmentations,
                control=control,
                metrics=_fitting_metrics(suite, one.game, distribution, registry),
                feature_extractor=with_absolute_locations(
                    suite.feature_extractor or _default_extractor(one.game, distribution, registry), registry
                ),
                primary_metric=suite.primary.metric,
                primary_step=suite.primary.adaptation_step,
                budget=_budget(suite, one.meta_learner, registry),
                protocol=_validated(protocol) if suite.tuning else protocol,
                device=device,
                transfer=Transfer(elsewhere, _fitting_metrics(suite, one.game, elsewhere, registry)) if elsewhere else None,
                arm=_arm(one, control, registry),
            )
            yield replace(trial, skip=_excluded(suite, trial) or _misfit(trial, registry))


def _arm(one: Combination, control: str, registry: Registry) -> str:
    """Display name of the arm, with the mark of one that adapts to the samples that it is judged by."""
    name = arm_name(one.meta_learner, one.beside, control)
    privileged = registry.component("meta_learners", one.meta_learner.name).attributes.get("privileged", False)
    return name + PRIVILEGED if privileged else name


def _validated(protocol: dict[str, Any]) -> dict[str, Any]:
    """``protocol`` with at least one validation during meta-training, to choose the checkpoint by."""
    return {**protocol, "validations": max(1, protocol["validations"])}


def _tuning_trials(trial: Trial, suite: Suite, registry: Registry) -> list[Trial]:
    """One trial per configuration of an arm; none where the suite does not tune or there is nothing to choose.

    They see no meta-test task and measure the primary metric only. A control has those of the arm that it stands beside.

    Raises:
        SuiteError: the arm cannot be tuned.
    """
    if suite.tuning is None or trial.skip:
        return []
    where = f"{trial.arm} on {trial.task_distribution.label}"
    info = registry.component("meta_learners", trial.meta_learner.name)
    judges = [one for one in trial.metrics if trial.primary_metric in registry.component("metrics", one.name).attributes["outputs"]]
    if not judges:
        raise SuiteError(
            f"tuning: {where} cannot be tuned: its primary metric {trial.primary_metric!r} is not defined there; remove tuning, or the cell"
        )
    try:
        space = info.attributes.get("space", {})
        tried = configurations(trial.meta_learner, space, info.defaults, trials=suite.tuning.trials, seed=trial.seed)
    except ValueError as error:
        raise SuiteError(f"tuning: {where}: {error}") from error
    for number, component in enumerate(tried):
        for problem in registry.validate_parameters("meta_learners", component.name, component.parameters):
            name = ".".join(map(str, problem.place))
            raise SuiteError(f"tuning: {where}: configuration {number}: {name} {problem.message}; narrow the space")
    steps = {"train": trial.protocol["adaptation_steps"]["train"], "test": [trial.primary_step]}
    alone = replace(
        trial,
        replicate=TUNING_REPLICATE,
        control="",
        transfer=None,
        metrics=tuple(judges[:1]),
        protocol={**trial.protocol, "adaptation_steps": steps, "tasks": {**trial.protocol["tasks"], "meta_test": 0}},
    )
    alone = replace(alone, arm=trial.arm.removesuffix(control_mark(trial.control)))
    return [replace(alone, meta_learner=component, configuration=number) for number, component in enumerate(tried)] if tried[1:] else []


def _budget(suite: Suite, learner: Component, registry: Registry) -> dict[str, Any]:
    """The budget of an arm: none for a baseline that does not train, the warm start's component resolved."""
    trains = registry.component("meta_learners", learner.name).attributes.get("trains", True)
    warm = None
    if trains and suite.budget.warm_start:
        name, amount = next(iter(suite.budget.warm_start.items()))
        known = next((other for word in ("label", "name") for other in suite.meta_learners if getattr(other, word) == name), None)
        component = known or Component(family="meta_learners", name=name, parameters={}, test={}, label=name)
        # Test-time settings and the label do not touch the joint phase, so arms share it whatever they say.
        warm = {"learner": asdict(replace(component, test={}, label=component.name)), "amount": amount}
    return {"axis": suite.budget.axis, "amount": suite.budget.amount if trains else 0, "warm_start": warm}


def _fitting_metrics(suite: Suite, game: Component, distribution: Component, registry: Registry) -> tuple[Component, ...]:
    """Metrics that are defined here; a measure of known modes has nothing to say where none are known."""
    about = registry.component("task_distributions", distribution.name).attributes
    kind, predicts = registry.kind(distribution.name, distribution.parameters), _predicts(game, registry)
    fitting = []
    for metric in suite.metrics:
        wants = registry.component("metrics", metric.name).attributes
        defined = kind in wants.get("kinds", ()) and predicts == wants.get("needs_predictions", False)
        known = {"needs_modes": about.get("has_modes", False), "needs_labels": about.get("labelled", False)}
        if defined and all(given for need, given in known.items() if wants.get(need)):
            fitting.append(metric)
    return tuple(fitting)


def unmeasured(suite: Suite, trials: Sequence[Trial], registry: Registry) -> list[str]:
    """A sentence for each place where metrics of the suite are not defined, so that nobody waits for their columns."""
    left_out: dict[str, dict[str, None]] = {}
    for trial in trials:
        measured = {metric.label for metric in (trial.transfer or trial).metrics}
        for metric in suite.for_distribution(trial.task_distribution.label).metrics:
            if not trial.skip and metric.label not in measured:
                wants = registry.component("metrics", metric.name).attributes
                needs = {"needs_labels": "labelled tasks, such as n-way", "needs_modes": "known modes", "needs_predictions": "predictions"}
                need = next((words for name, words in needs.items() if wants.get(name)), f"samples of kind {', '.join(wants['kinds'])}")
                left_out.setdefault(trial.place, {})[f"{metric.label} (needs {need})"] = None
    return [f"not measured on {place}: {', '.join(metrics)}" for place, metrics in left_out.items()]


def _default_extractor(game: Component, distribution: Component, registry: Registry) -> Component:
    """By the kind of samples; predictions are judged as they are, so nothing is trained for them."""
    images = registry.kind(distribution.name, distribution.parameters) == "image"
    name = "identity" if not images else "pixels" if _predicts(game, registry) else "protonet-conv4"
    return Component(family="feature_extractors", name=name, parameters={}, test={}, label=name)


def _predicts(game: Component, registry: Registry) -> bool:
    return bool(registry.component("games", game.name).attributes.get("predicts", False))


def _misfit(trial: Trial, registry: Registry) -> str:
    """Why the components do not fit together, from what their classes declare; empty where they do."""
    kind = registry.kind(trial.task_distribution.name, trial.task_distribution.parameters)
    for family, component in (("games", trial.game), ("networks", trial.network), ("feature_extractors", trial.feature_extractor)):
        own = registry.component(family, component.name)
        for one in (own, *(inner for inner in registry.nested(own, component.parameters) if inner.family == family)):
            kinds = one.attributes.get("kinds", ())
            if kind not in kinds:
                return f"{one.name} takes samples of kind {', '.join(kinds)}, but {trial.task_distribution.name} has {kind}"
    if reason := _mislabelled(trial, registry):
        return reason
    players = registry.component("games", trial.game.name).attributes.get("roles", {})
    network = registry.component("networks", trial.network.name)
    for one in (network, *registry.nested(network, trial.network.parameters)):
        missing = [role for role in players.values() if role not in one.attributes.get("roles", (role,))]
        if missing:
            return (
                f"{one.name} builds no {missing[0]}, which the game {trial.game.name} needs; it builds {', '.join(one.attributes['roles'])}"
            )
    learner = registry.component("meta_learners", trial.meta_learner.name).attributes
    if kind not in learner.get("kinds", (kind,)):
        drawn = ", ".join(learner["kinds"])
        return f"{trial.meta_learner.name} draws samples of kind {drawn}, but {trial.task_distribution.name} has {kind}"
    if _predicts(trial.game, registry) and not learner.get("plays", True):
        return f"{trial.meta_learner.name} draws samples, and the game {trial.game.name} is about predictions"
    beside = (*trial.regularisers, *trial.augmentations)
    if beside and not learner.get("plays", True):
        return f"{trial.meta_learner.name} plays no game, so {beside[0].name} changes nothing"
    trains = learner.get("trains", True)
    for component in trial.regularisers:
        about = registry.component("regularisers", component.name).attributes
        if about.get("needs_objective") and not learner.get("has_objective"):
            return f"{component.name} is learned by a meta-gradient, and {trial.meta_learner.name} takes none"
        if about.get("acts_on") == "outer" and not trains:
            return f"{component.name} acts on the outer loop, which {trial.meta_learner.name} has not"
        acted_on = component.parameters.get("players", about.get("players", ["discriminator"]))
        strange = [player for player in acted_on if player not in players]
        if about.get("acts_on") == "player" and strange:
            return f"{component.name} acts on the {strange[0]}, which the game {trial.game.name} has not"
        if about.get("acts_on") == "player" and not acted_on:
            return f"{component.name} names no player, so it changes nothing"
        if about.get("uses_input_gradient") and (obstacle := _without_slope(trial, registry)):
            return f"{component.name} needs the gradient of each sample's logit, {obstacle}"
    for component in trial.augmentations:
        about = registry.component("augmentations", component.name).attributes
        if kind not in about.get("kinds", ()):
            fitting = ", ".join(about.get("kinds", ()))
            return f"{component.name} transforms samples of kind {fitting}, but {trial.task_distribution.name} has {kind}"
        if about["acts_on"] in ("view", "real") and "discriminator" not in players:
            return f"{component.name} acts on what a discriminator sees, which the game {trial.game.name} has not"
        if about["acts_on"] == "task" and not trains:
            return f"{component.name} acts on meta-training tasks, which {trial.meta_learner.name} has not"
    if trial.control and not trains:
        return f"{trial.meta_learner.name} does not train across tasks, so shuffled tasks change nothing"
    if trial.transfer and (reason := _untransferable(trial.task_distribution, trial.transfer.task_distribution, registry)):
        return reason
    measured = trial.transfer or trial
    if not measured.metrics:
        what = "for predictions on" if _predicts(trial.game, registry) else "on"
        return f"none of the suite's metrics is defined {what} {measured.task_distribution.name} ({kind})"
    return ""


def _without_slope(trial: Trial, registry: Registry) -> str:
    """Why a penalty on a discriminator's input gradient would be wrong with this network and learner; empty where it would not."""
    network, learner = (
        registry.component(family, one.name) for family, one in (("networks", trial.network), ("meta_learners", trial.meta_learner))
    )
    for one in (network, *registry.nested(network, trial.network.parameters)):
        if one.attributes.get("mixes_samples"):
            return f"and {one.name} judges samples together"
    settings = {**network.defaults, **trial.network.parameters}
    fused = network.attributes.get("fused_norms", ())
    has_fused = fused and settings.get("norm", fused[0]) in fused
    if has_fused and {**learner.defaults, **trial.meta_learner.parameters}.get("order", 1) == 2:
        name = f"norm {settings['norm']}" if "norm" in settings else "norms"
        return (
            f"whose third derivatives a second-order meta-gradient has, and PyTorch's of the {name} of {trial.network.name} are wrong; "
            "use another norm, or order 1"
        )
    return ""


def _mislabelled(trial: Trial, registry: Registry) -> str:
    """Why game and tasks disagree about labels; empty where they do not."""
    labelled = registry.component("task_distributions", trial.task_distribution.name).attributes.get("labelled", False)
    wish = registry.component("games", trial.game.name).attributes.get("labels", "none")
    if wish == "required" and not labelled:
        return (
            f"{trial.game.name} needs tasks of several classes, and {trial.task_distribution.name} has no labels; "
            "wrap it in n-way where its tasks are classes"
        )
    if wish == "none" and labelled:
        return f"{trial.game.name} has no use for the labels of {trial.task_distribution.name}"
    return ""


def _untransferable(trained_on: Component, measured_on: Component, registry: Registry) -> str:
    """Why what is meta-trained on one task distribution can't be measured on another; empty where it can."""
    here, there = (registry.sample_spec(one.name, one.parameters) for one in (trained_on, measured_on))
    if here == there:
        return ""
    return (
        f"meta-trained on {trained_on.label} ({_spelled(here)}), it cannot be measured on {measured_on.label} ({_spelled(there)}); "
        "choose hyperparameters with which their samples agree, such as an equal size"
    )


def _spelled(spec: Mapping[str, Any]) -> str:
    """``image 1 x 16 x 16 in [-1, 1]``."""
    shape = " x ".join(map(str, spec["shape"]))
    span = "unbounded" if spec["low"] is None and spec["high"] is None else f"in [{spec['low']:g}, {spec['high']:g}]"
    targets = f" with targets {' x '.join(map(str, spec['targets']))}" if spec["targets"] else ""
    classes = f" of {spec['classes']} classes" if spec["classes"] else ""
    return f"{spec['kind']} {shape} {span}{targets}{classes}"


def _excluded(suite: Suite, trial: Trial) -> str:
    """The reason of the first exclude rule that means this cell."""
    cell: dict[str, Component | tuple[Component, ...]] = {
        "games": (trial.game,),
        "task_distributions": (trial.task_distribution,),
        "networks": (trial.network,),
        "gan_losses": (trial.gan_loss,) if trial.gan_loss else (),
        "meta_learners": (trial.meta_learner,),
        "regularisers": trial.regularisers,
        "augmentations": trial.augmentations,
    }

    return next((f"excluded by the suite: {rule.reason}" for rule in suite.exclude if rule.matches(cell)), "")


def _identified(trial: Trial, registry: Registry) -> Trial:
    """``trial`` with its hashes, and the keys of the work that it shares with others."""

    def of(component: Component | None) -> Any:
        if component is None:
            return None
        test = {"test": component.test} if component.test else {}
        return [component.family, component.name, without_locations(component, registry), test, *_sources(component, registry)]

    def data(distribution: Component) -> str:
        return registry.data_hash("task_distributions", distribution.name, distribution.parameters)

    def features(distribution: Component) -> str:
        return "features-" + _hash([of(trial.feature_extractor), of(distribution), {**ground, "data": data(distribution)}])

    def judged(place: Trial | Transfer) -> str:
        judge = judge_trial(trial, place, registry)
        return f"judge-{_identified(judge, registry).trial_id}" if judge else ""

    # Constants of the machine and of the harness: what else can change a number.
    ground = {
        "bench": registry.numeric_hash,
        "torch": _torch_minor(),
        "device": trial.device,
        "dtype": "float32",
        "data": data(trial.task_distribution),
    }
    training = {
        **ground,
        "seed": trial.seed,
        "game": of(trial.game),
        "task_distribution": of(trial.task_distribution),
        "network": of(trial.network),
        "gan_loss": of(trial.gan_loss),
        "protocol": {key: trial.protocol[key] for key in TRAINED_ON if key in trial.protocol},
    }
    penalties = [c for c in trial.regularisers if registry.component("regularisers", c.name).attributes.get("acts_on") == "player"]
    features_key = features(trial.task_distribution)
    judge_key = judged(trial)
    warm_key = ""
    warm = trial.budget["warm_start"]
    if warm is not None:
        beside = [of(component) for component in (*penalties, *trial.augmentations)]
        shared = [training, trial.replicate, beside, trial.protocol["adaptation_steps"]["train"], trial.budget["axis"], warm["amount"]]
        warm_key = "warm-" + _hash([shared, of(Component(**warm["learner"]))])
    lineage = {
        **training,
        "replicate": trial.replicate,
        "meta_learner": of(trial.meta_learner),
        "regularisers": [of(component) for component in trial.regularisers],
        "augmentations": [of(component) for component in trial.augmentations],
        "control": trial.control,
        "metrics": _unordered(trial.metrics, of),
        "features": features_key,
        "judge": judge_key,
        "protocol": dict(trial.protocol),
        "primary": [trial.primary_metric, trial.primary_step],
        "warm": warm_key,
        "configuration": trial.configuration,
    }
    # The ids of the tuning trials stand for everything that can change what they choose.
    amount = {"axis": trial.budget["axis"], "amount": trial.budget["amount"], "tuning": trial.tuning}
    keys: dict[str, Any] = {"warm_key": warm_key, "features_key": features_key, "judge_key": judge_key}
    identity = {**lineage, "budget": amount}
    identified = replace(trial, trial_id=_hash([lineage, amount]), lineage_id=_hash(lineage), identity=identity, **keys)
    if trial.transfer is None:
        return identified
    elsewhere = trial.transfer.task_distribution
    training_key = "training-" + identified.trial_id  # the cell without a transfer; measured on its own distribution, it is that cell
    transfer = replace(trial.transfer, features_key=features(elsewhere), judge_key=judged(trial.transfer), training_key=training_key)
    if of(elsewhere) == of(trial.task_distribution):
        return replace(identified, transfer=transfer)
    lineage |= {"measured_on": [of(elsewhere), data(elsewhere), _unordered(transfer.metrics, of)]}
    identity = {**lineage, "budget": amount}
    return replace(identified, trial_id=_hash([lineage, amount]), lineage_id=_hash(lineage), identity=identity, transfer=transfer)


def identity_parts(trial: Trial) -> dict[str, str]:
    """Short hashes of what the trial's identity is made of: of each component its settings and its code, of a protocol each setting."""
    parts: dict[str, str] = {}
    for name, content in trial.identity.items():
        if name == "protocol":
            parts |= {f"protocol.{key}": _short_hash(value) for key, value in content.items()}
            continue
        components = [content] if _is_component(content) else content
        if isinstance(components, list) and all(map(_is_component, components)):
            parts |= {name: _short_hash([one[:4] for one in components])}
            parts |= {f"code of {name}": _short_hash([one[4:] for one in components])} if components else {}
        else:
            parts[name] = _short_hash(content)
    return parts


def _is_component(content: Any) -> bool:
    """Whether it is a component as :func:`_identified` spells it: family, name, hyperparameters, others at test, hashes of its code."""
    return isinstance(content, list) and len(content) > 4 and isinstance(content[2], Mapping)


def _short_hash(content: Any) -> str:
    return _hash(content)[:8]


def _unordered(metrics: tuple[Component, ...], of: Callable[[Component], Any]) -> list[Any]:
    """Their identities in an order that does not depend on the suite's."""
    return sorted((of(component) for component in metrics), key=_hash)


@cache
def _torch_minor() -> str:
    """``2.15``: patch releases and builds may not change numbers; what they do to them, the environment record shows."""
    return ".".join(metadata.version("torch").split("+")[0].split(".")[:2])


def _sources(component: Component, registry: Registry) -> list[str]:
    """Hashes of the component's code, and of the components that its hyperparameters name (an inner optimiser, say)."""
    info = registry.component(component.family, component.name)
    named: set[str] = set()
    for values in ({**info.defaults, **component.parameters}, component.test):
        for inner in registry.nested(info, values):
            named |= set(_sources(Component(inner.family, inner.name), registry))
    return [registry.source_hash(component.family, component.name), *sorted(named)]


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
