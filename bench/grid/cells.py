"""Suite -> Trials: the grid of cells, each with an identity that covers everything that can change its numbers.

Two cells of equal identity have bit-equal numbers, so a finished one is never run again. A longer one goes on from where a shorter one of
its lineage ended, see :mod:`bench.trial.lineage`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.errors import NothingSelectedError, SuiteError
from bench.grid.fitting import default_extractor, fitting_metrics, misfit
from bench.grid.identity import Identities
from bench.grid.tuning import configurations
from bench.registry.registry import Registry
from bench.suite.components import set_label
from bench.suite.locations import with_absolute_locations
from bench.suite.model import CONTROLS, PRIVILEGED, Combination, Component, Suite, arm_name, control_mark, transfer_name

(SHUFFLED,) = CONTROLS
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
        trial_id, lineage_id: content hashes with and without the amount of the budget.
        identity: digests of what they are hashes of, by part, see :mod:`bench.grid.identity`; it does not travel to workers.
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
    identity: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

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
    identities = Identities(registry)
    trials: dict[str, Trial] = {}
    for distribution in suite.task_distributions:
        effective = suite.for_distribution(distribution.label)
        located = with_absolute_locations(distribution, registry)
        for trial in _cells(effective, located, registry, device):
            alone = _tuning_trials(trial, effective, registry)
            tuning = [one for each in alone for one in identities.of(each, [each.replicate])]
            chosen_by = tuple(one.trial_id for one in tuning) if suite.tuning and not trial.skip else None
            for finished in (*tuning, *identities.of(replace(trial, tuning=chosen_by), range(suite.replicates))):
                first = trials.setdefault(finished.trial_id, finished)
                if first is not finished and first.cell() != finished.cell():
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
    extractor = {
        game.label: with_absolute_locations(suite.feature_extractor or default_extractor(game, distribution, registry), registry)
        for game in suite.games
    }
    metrics = {game.label: fitting_metrics(suite, game, distribution, registry) for game in suite.games}
    budgets = {learner.label: _budget(suite, learner, registry) for learner in suite.meta_learners}
    for elsewhere, protocol, one in itertools.product(_everywhere(suite, registry), suite.protocol.by_shots(), suite.combinations()):
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
                metrics=metrics[one.game.label],
                feature_extractor=extractor[one.game.label],
                primary_metric=suite.primary.metric,
                primary_step=suite.primary.adaptation_step,
                budget=budgets[one.meta_learner.label],
                protocol=_validated(protocol) if suite.tuning else protocol,
                device=device,
                transfer=elsewhere[one.game.label] if elsewhere else None,
                arm=_arm(one, control, registry),
            )
            yield replace(trial, skip=_excluded(suite, trial) or misfit(trial, registry))


def _everywhere(suite: Suite, registry: Registry) -> Sequence[dict[str, Transfer] | None]:
    """For each place of ``test_on``, where cells are measured, by the label of their game; None where they have no place but their own."""
    places = [with_absolute_locations(there, registry) for there in suite.test_on]
    return [{game.label: Transfer(place, fitting_metrics(suite, game, place, registry)) for game in suite.games} for place in places] or [
        None
    ]


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
