"""What can change the numbers of a cell, part by part, and the hashes of it.

A part is a component's settings, its code, a setting of the protocol, the seed, the data, bench's numeric modules and so on: each has
a digest, and the identity of a trial is the digest of them all. What replicates or cells share is spelled and hashed once.
"""

from __future__ import annotations

import hashlib
import json
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from bench.grid.judging import judge_trial
from bench.registry.registry import Registry
from bench.suite.locations import without_locations
from bench.suite.model import Component

if TYPE_CHECKING:
    from bench.grid.cells import Transfer, Trial

TRAINED_ON = ("shots", "train_shots", "drawn", "query", "task_batch", "task_chunk")  # the part of a protocol that warm starts depend on
_spell = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode  # made once: it is called for every part
SHOWN = 8  # hexadecimal digits of a part's digest, for people

T = TypeVar("T")
Parts = Mapping[str, str]
"""Name of a part -> digest, or what is as short."""


class Identities:
    """Identifies cells of one registry's components; what is computed of an object that cells share is computed once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[tuple[str, int], tuple[object, Any]] = {}

    def of(self, cell: Trial, replicates: Iterable[int]) -> list[Trial]:
        """``cell`` once for each of ``replicates``, with its hashes and the keys of the work that it shares with others.

        Raises:
            DataError: the data of a task distribution are missing.
        """
        training = self._training(cell)
        features_key, judge_key = self._features(cell, cell.task_distribution), self._judge(cell, cell)
        shared = {
            **training,
            **self._part("meta_learner", cell.meta_learner),
            **self._parts("regularisers", cell.regularisers),
            **self._parts("augmentations", cell.augmentations),
            **self._parts("metrics", cell.metrics, ordered=False),
            **self._once("protocol", cell.protocol, lambda: {f"protocol.{name}": digest(value) for name, value in cell.protocol.items()}),
            "control": digest(cell.control),
            "features": digest(features_key),
            "judge": digest(judge_key),
            "primary": digest([cell.primary_metric, cell.primary_step]),
            "configuration": digest(cell.configuration),
            "axis": digest(cell.budget["axis"]),
        }
        elsewhere: Parts = {}
        if cell.transfer and self._digest(cell.transfer.task_distribution) != self._digest(cell.task_distribution):
            there = cell.transfer.task_distribution
            measured_on = [self._digest(there), self._data(there), sorted(map(self._digest, cell.transfer.metrics))]
            elsewhere = {"measured_on": digest(measured_on)}
        if cell.transfer:
            features, judge = self._features(cell, cell.transfer.task_distribution), self._judge(cell, cell.transfer)
            cell = replace(cell, transfer=replace(cell.transfer, features_key=features, judge_key=judge))
        # The ids of the tuning trials stand for everything that can change what they choose.
        budget = digest([cell.budget["amount"], cell.tuning])
        return self._replicated(
            replace(cell, features_key=features_key, judge_key=judge_key),
            replicates,
            shared,
            elsewhere,
            warm=self._warm(cell, training),
            budget=budget,
        )

    def _replicated(
        self, cell: Trial, replicates: Iterable[int], shared: dict[str, str], elsewhere: Parts, *, warm: str, budget: str
    ) -> list[Trial]:
        common, found = digest(shared), []
        for number in replicates:
            phase = digest([warm, number]) if warm else ""
            own = {"replicate": str(number), "warm": phase}
            lineage = digest([common, own])
            transfer = cell.transfer
            if transfer:  # the cell without a transfer; measured on its own distribution, it is that cell
                transfer = replace(transfer, training_key=f"training-{digest([lineage, budget])}")
            if elsewhere:
                lineage = digest([lineage, elsewhere])
            found.append(
                replace(
                    cell,
                    replicate=number,
                    transfer=transfer,
                    warm_key=f"warm-{phase}" if phase else "",
                    trial_id=digest([lineage, budget]),
                    lineage_id=lineage,
                    identity=ChainMap({**own, **elsewhere, "budget": budget}, shared),
                )
            )
        return found

    # ------------------------------------------------------------------ parts
    def _ground(self, cell: Trial) -> dict[str, str]:
        """Constants of the machine and of the harness: what can change a number beside the components."""
        ground = {"bench": self._registry.numeric_hash, "torch": _torch_minor(), "device": cell.device, "dtype": "float32"}
        return self._once("ground", cell.device, lambda: {name: digest(value) for name, value in ground.items()})

    def _training(self, cell: Trial) -> dict[str, str]:
        """What meta-training depends on, whatever is trained."""
        return {
            **self._ground(cell),
            "data": digest(self._data(cell.task_distribution)),
            "seed": digest(cell.seed),
            **self._part("game", cell.game),
            **self._part("task_distribution", cell.task_distribution),
            **self._part("network", cell.network),
            **(self._part("gan_loss", cell.gan_loss) if cell.gan_loss else {}),
        }

    def _warm(self, cell: Trial, training: Parts) -> str:
        """Digest of the joint phase, without its replicate; empty where there is none."""
        plan = cell.budget["warm_start"]
        if plan is None:
            return ""
        about = [(one, self._registry.component("regularisers", one.name).attributes) for one in cell.regularisers]
        penalties = [one for one, attributes in about if attributes.get("acts_on") == "player"]
        learner = self._once("warm start", plan, lambda: Component(**plan["learner"]))
        beside = [self._digest(component) for component in (*penalties, *cell.augmentations, learner)]
        seen = {name: cell.protocol[name] for name in TRAINED_ON if name in cell.protocol}
        return digest([training, beside, seen, cell.protocol["adaptation_steps"]["train"], cell.budget["axis"], plan["amount"]])

    def _features(self, cell: Trial, distribution: Component) -> str:
        prepared = [self._digest(cell.feature_extractor), self._digest(distribution), self._data(distribution), self._ground(cell)]
        return f"features-{digest(prepared)}"

    def _judge(self, cell: Trial, place: Trial | Transfer) -> str:
        judge = judge_trial(cell, place, self._registry)
        return f"judge-{self.of(judge, [judge.replicate])[0].trial_id}" if judge else ""

    def _data(self, distribution: Component) -> str:
        return self._registry.data_hash("task_distributions", distribution.name, distribution.parameters)

    # ------------------------------------------------------------------ components
    def _part(self, name: str, component: Component) -> dict[str, str]:
        """Of a component: its settings, and its code."""
        return self._once(name, component, lambda: _digests(name, [self._spelled(component)]))

    def _parts(self, name: str, components: tuple[Component, ...], *, ordered: bool = True) -> dict[str, str]:
        """Of several components; where they are not ``ordered``, the order of the suite does not count."""

        def make() -> dict[str, str]:
            return _digests(name, [self._spelled(one) for one in (components if ordered else sorted(components, key=self._digest))])

        return self._once(name, components, make)

    def _digest(self, component: Component) -> str:
        return self._once("digest", component, lambda: digest(self._spelled(component)))

    def _spelled(self, component: Component) -> tuple[list[Any], list[str]]:
        """Family, name and hyperparameters; and hashes of the code."""
        settings = [component.family, component.name, without_locations(component, self._registry), component.test or {}]
        return settings, self._once("sources", component, lambda: self._sources(component))

    def _once(self, what: str, of: object, make: Callable[[], T]) -> T:
        """``make()``, remembered for the object that it is made of, which is kept so that its id stays its own."""
        key = what, id(of)
        if key not in self._made:
            self._made[key] = of, make()
        made: T = self._made[key][1]
        return made

    def _sources(self, component: Component) -> list[str]:
        """Hashes of the component's code, and of the components that its hyperparameters name (an inner optimiser, say)."""
        info = self._registry.component(component.family, component.name)
        named: set[str] = set()
        for values in ({**info.defaults, **component.parameters}, component.test):
            for inner in self._registry.nested(info, values):
                named |= set(self._sources(Component(inner.family, inner.name)))
        return [self._registry.source_hash(component.family, component.name), *sorted(named)]


def _digests(name: str, spelled: Sequence[tuple[list[Any], list[str]]]) -> dict[str, str]:
    code = {f"code of {name}": digest([hashes for _, hashes in spelled])} if spelled else {}
    return {name: digest([settings for settings, _ in spelled]), **code}


def identity_parts(trial: Trial) -> dict[str, str]:
    """Short digests of what the trial's identity is made of."""
    return {name: whole[:SHOWN] for name, whole in trial.identity.items()}


@cache
def _torch_minor() -> str:
    """``2.15``: patch releases and builds may not change numbers; what they do to them, the environment record shows."""
    return ".".join(metadata.version("torch").split("+")[0].split(".")[:2])


def digest(content: Any) -> str:
    """Twenty hexadecimal digits that plain JSON content has and no other has."""
    return hashlib.blake2b(_spell(content).encode(), digest_size=10).hexdigest()
