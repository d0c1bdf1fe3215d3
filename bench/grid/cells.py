"""Suite -> Trials: the grid of cells, each with an identity that covers everything that can change its numbers.

``trial_id`` hashes components with their sources, protocol, budget, seed, replicate, data, bench's numeric modules, torch,
device class and dtype. Two cells of equal identity have bit-equal numbers, so a finished one is never run again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from typing import Any

from bench.errors import SuiteError
from bench.registry.registry import Registry
from bench.suite.components import set_label
from bench.suite.locations import with_absolute_locations, without_locations
from bench.suite.model import CONTROLS, Component, Suite, arm_name

(SHUFFLED,) = CONTROLS


@dataclass(frozen=True)
class Trial:
    """One cell: a component per family, a replicate, a budget, and the protocol that all arms share.

    Attributes:
        arm: name of the line in tables and figures.
        skip: why the cell cannot be run; empty where it can.
        warm_key: names the joint phase that this cell shares with others; empty where it has none.
        features_key: names the feature extractor that this cell shares with others.
        trial_id, lineage_id: content hashes with and without the budget.
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
    arm: str = ""
    skip: str = ""
    warm_key: str = ""
    features_key: str = ""
    trial_id: str = ""
    lineage_id: str = ""

    def cell(self) -> dict[str, Any]:
        """The columns by which tables tell cells apart."""
        return {
            "suite": self.suite,
            "arm": self.arm,
            "game": self.game.label,
            "task_distribution": self.task_distribution.label,
            "network": self.network.label,
            "gan_loss": self.gan_loss.label if self.gan_loss else "",
            "meta_learner": self.meta_learner.label,
            "regularisers": set_label(self.regularisers),
            "augmentations": set_label(self.augmentations),
            "control": self.control,
            "replicate": self.replicate,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as it travels to a worker."""
        return asdict(self)

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
        return cls(**fields)


def expand(suite: Suite, registry: Registry, *, device: str = "cpu") -> list[Trial]:
    """Every cell of the suite, the ones that cannot be run included with their reason.

    Order: replicates outermost, so that an interrupted run has whole replicates of everything first.

    Raises:
        SuiteError: two cells would have the same numbers under different labels.
        DataError: a task distribution's data are missing.
    """
    trials: dict[str, Trial] = {}
    for distribution in suite.task_distributions:
        effective = suite.for_distribution(distribution.label)
        located = with_absolute_locations(distribution, registry)
        for replicate in range(suite.replicates):
            for trial in _cells(effective, located, replicate, registry, device):
                finished = _identified(trial, registry)
                first = trials.setdefault(finished.trial_id, finished)
                if first.cell() != finished.cell():
                    told = [f"{one.arm} on {one.task_distribution.label}, {one.network.label}" for one in (first, finished)]
                    raise SuiteError(f"two cells of this suite differ in nothing but labels: {told[0]}; {told[1]}; remove one of them")
    return sorted(trials.values(), key=lambda trial: trial.replicate)


def _cells(suite: Suite, distribution: Component, replicate: int, registry: Registry, device: str) -> Iterator[Trial]:
    """Controls stand beside the first set of regularisers and augmentations only, the one that the others vary."""
    learners = [(learner, "") for learner in suite.meta_learners]
    learners += [
        (learner, control) for control, labels in suite.controls.items() for learner in suite.meta_learners if learner.label in labels
    ]
    plain = (suite.regularisers or ((),))[0], (suite.augmentations or ((),))[0]
    for game, network, loss, regularisers, augmentations, (learner, control) in itertools.product(
        suite.games, suite.networks, suite.gan_losses or (None,), suite.regularisers or ((),), suite.augmentations or ((),), learners
    ):
        needs_loss = registry.component("games", game.name).attributes.get("needs_loss", True)
        if (loss is None and needs_loss) or (control and (regularisers, augmentations) != plain):
            continue
        trial = Trial(
            suite=suite.name,
            seed=suite.seed,
            replicate=replicate,
            game=game,
            task_distribution=distribution,
            network=network,
            gan_loss=loss if needs_loss else None,
            meta_learner=learner,
            regularisers=regularisers,
            augmentations=augmentations,
            control=control,
            metrics=_fitting_metrics(suite, distribution, registry),
            feature_extractor=suite.feature_extractor or _default_extractor(distribution, registry),
            primary_metric=suite.primary.metric,
            primary_step=suite.primary.adaptation_step,
            budget=_budget(suite, learner, registry),
            protocol=suite.protocol.model_dump(mode="json"),
            device=device,
        )
        trial = replace(trial, arm=arm_name(learner, (*regularisers, *augmentations), control))
        yield replace(trial, skip=_excluded(suite, trial) or _misfit(trial, registry))


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


def _fitting_metrics(suite: Suite, distribution: Component, registry: Registry) -> tuple[Component, ...]:
    """Metrics that are defined on this distribution; a measure of known modes has nothing to say where none are known."""
    about = registry.component("task_distributions", distribution.name).attributes
    fitting = []
    for metric in suite.metrics:
        wants = registry.component("metrics", metric.name).attributes
        if about.get("kind") in wants.get("kinds", ()) and (not wants.get("needs_modes") or about.get("has_modes", False)):
            fitting.append(metric)
    return tuple(fitting)


def _default_extractor(distribution: Component, registry: Registry) -> Component:
    kind = registry.component("task_distributions", distribution.name).attributes.get("kind")
    name = "protonet-conv4" if kind == "image" else "identity"
    return Component(family="feature_extractors", name=name, parameters={}, test={}, label=name)


def _misfit(trial: Trial, registry: Registry) -> str:
    """Why the components do not fit together, from what their classes declare; empty where they do."""
    kind = registry.component("task_distributions", trial.task_distribution.name).attributes.get("kind")
    for family, component in (("games", trial.game), ("networks", trial.network), ("feature_extractors", trial.feature_extractor)):
        kinds = registry.component(family, component.name).attributes.get("kinds", ())
        if kind not in kinds:
            return f"{component.name} takes samples of kind {', '.join(kinds)}, but {trial.task_distribution.name} has {kind}"
    players = registry.component("games", trial.game.name).attributes.get("roles", {})
    trains = registry.component("meta_learners", trial.meta_learner.name).attributes.get("trains", True)
    for component in trial.regularisers:
        about = registry.component("regularisers", component.name).attributes
        if about.get("acts_on") == "outer" and not trains:
            return f"{component.name} acts on the outer loop, which {trial.meta_learner.name} has not"
        if about.get("acts_on") == "player" and about.get("player") not in players:
            return f"{component.name} acts on the {about.get('player')}, which the game {trial.game.name} has not"
    if trial.augmentations:  # rather than numbers without it under its name
        return f"{trial.augmentations[0].name} is an augmentation, which no game applies"
    if trial.control and not trains:
        return f"{trial.meta_learner.name} does not train across tasks, so shuffled tasks change nothing"
    if not trial.metrics:
        return f"none of the suite's metrics is defined on {trial.task_distribution.name} ({kind})"
    return ""


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

    # Constants of the machine and of the harness: what else can change a number.
    ground = {
        "bench": registry.numeric_hash,
        "torch": _torch_minor(),
        "device": trial.device,
        "dtype": "float32",
        "data": registry.data_hash("task_distributions", trial.task_distribution.name, trial.task_distribution.parameters),
    }
    training = {
        **ground,
        "seed": trial.seed,
        "game": of(trial.game),
        "task_distribution": of(trial.task_distribution),
        "network": of(trial.network),
        "gan_loss": of(trial.gan_loss),
        "protocol": {key: trial.protocol[key] for key in ("shots", "query", "task_batch", "task_chunk")},
    }
    penalties = [c for c in trial.regularisers if registry.component("regularisers", c.name).attributes.get("acts_on") == "player"]
    features_key = "features-" + _hash([of(trial.feature_extractor), of(trial.task_distribution), ground])
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
        "metrics": sorted((of(component) for component in trial.metrics), key=_hash),
        "features": features_key,
        "protocol": dict(trial.protocol),
        "primary": [trial.primary_metric, trial.primary_step],
        "warm": warm_key,
    }
    amount = {"axis": trial.budget["axis"], "amount": trial.budget["amount"]}
    return replace(trial, trial_id=_hash([lineage, amount]), lineage_id=_hash(lineage), warm_key=warm_key, features_key=features_key)


@cache
def _torch_minor() -> str:
    """``2.15``: patch releases and builds may not change numbers; what they do to them, the environment record shows."""
    return ".".join(metadata.version("torch").split("+")[0].split(".")[:2])


def _sources(component: Component, registry: Registry) -> list[str]:
    """Hashes of the component's code, and of the components that its hyperparameters name (an inner optimiser, say)."""
    info = registry.component(component.family, component.name)
    values = {**info.defaults, **component.parameters}
    named: set[str] = set()
    for hyperparameter, schema in info.schema.get("properties", {}).items():
        words = {*_words(values.get(hyperparameter)), *_words(component.test.get(hyperparameter))}
        for family in _families(schema):
            for name in words & set(registry.names(family)):
                named |= set(_sources(Component(family, name), registry))
    return [registry.source_hash(component.family, component.name), *sorted(named)]


def _families(schema: Any) -> Iterator[str]:
    """Families whose components a hyperparameter may name, at any depth of its schema."""
    if isinstance(schema, Mapping):
        if "x-family" in schema:
            yield schema["x-family"]
        for part in schema.values():
            yield from _families(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _families(part)


def _words(value: Any) -> Iterator[str]:
    """Every text in nested mappings and lists, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value:
            yield from _words(part)
        if isinstance(value, Mapping):
            yield from _words(list(value.values()))


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
