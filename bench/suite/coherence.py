"""What must fit together across the parts of a suite that are each valid on their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import did_you_mean
from bench.suite.components import Component, Reader
from bench.suite.document import Place
from bench.suite.model import LISTS, SETS, Suite

if TYPE_CHECKING:
    from bench.registry.registry import Registry


def check(suite: Suite, reader: Reader) -> None:
    """Complain to ``reader`` about names that mean nothing in this suite and values that contradict each other."""
    effective = {component.label: suite.for_distribution(component.label) for component in suite.task_distributions}
    everywhere = tuple(effective.values())
    check_primary(suite, reader)
    for label, one in effective.items():
        overrides = suite.per_task_distribution.get(label)
        where: Place = ("per_task_distribution", label) if overrides and "budget" in overrides.model_fields_set else ()
        for word in one.budget.warm_start:
            place: Place = (*where, "budget", "warm_start", word)
            # A joint phase may be that of a learner that is no arm.
            if word in reader.registry.names("meta_learners") or _known(word, one.meta_learners, place, "meta-learner", reader):
                name = next((component.name for component in one.meta_learners if component.label == word), word)
                if reader.registry.component("meta_learners", name).attributes.get("trains") is False:
                    reader.complain(place, f"{word!r} does not meta-train, so it can't be a warm start: use finetune, say")
        for position, game in enumerate(one.games):
            if reader.registry.component("games", game.name).attributes.get("needs_loss") and not one.gan_losses:
                example = next(iter(reader.registry.names("gan_losses")), "name")
                reader.complain(("games", position), f"game {game.label!r} needs a GAN loss on {label!r}: add gan_losses: [{example}]")
    learners = _all(everywhere, "meta_learners")
    for control, labels in suite.controls.items():
        for position, word in enumerate(labels):
            place = ("controls", control, position)
            if _known(word, learners, place, "meta-learner", reader, labels_only=True):
                name = next(component.name for component in learners if component.label == word)
                if reader.registry.component("meta_learners", name).attributes.get("trains") is False:
                    reader.complain(place, f"{word!r} does not meta-train, so shuffling its tasks changes nothing: remove it")
    for position, exclusion in enumerate(suite.exclude):
        for family, words in exclusion.where.items():
            for number, word in enumerate(words):
                place = ("exclude", position, family, number)
                _known(word, _all(everywhere, family), place, family.replace("_", " ").removesuffix("s"), reader)
    for label, one in effective.items():
        _players(one, label, reader)


def ignored(suite: Suite, registry: Registry) -> list[str]:
    """One sentence for each hyperparameter that the suite gives and that changes nothing beside another one's value.

    Components say so in the class attribute ``ignored_when``: ``{"unroll_lr": {"unroll": 0}}``.
    """
    families = (*LISTS, *SETS)
    sentences = []
    for component in (one for family in families for one in _all((suite, *map(suite.for_distribution, _labels(suite))), family)):
        info = registry.component(component.family, component.name)
        settings = {**info.defaults, **component.parameters}
        for name, others in info.attributes.get("ignored_when", {}).items():
            met = {other: value for other, value in others.items() if settings.get(other) == value}
            if name in component.parameters and len(met) == len(others):
                told = ", ".join(f"{other}: {value}" for other, value in met.items())
                sentences.append(f"{component.family}: {name} of {component.label!r} changes nothing with {told}")
    return list(dict.fromkeys(sentences))


def _labels(suite: Suite) -> list[str]:
    return [component.label for component in suite.task_distributions]


def _players(suite: Suite, label: str, reader: Reader) -> None:
    """Refuse players that no installed game has, where hyperparameters ``players`` and ``adapts`` name them without wildcards.

    Those that only the suite's games lack make cells that are skipped.
    """
    registry = reader.registry
    known = {player for game in registry.names("games") for player in registry.component("games", game).attributes.get("roles", {})}
    own = dict.fromkeys(player for game in suite.games for player in registry.component("games", game.name).attributes.get("roles", {}))
    for family in ("regularisers", "meta_learners"):
        for component in _all((suite,), family):
            named = [(name, word) for name in ("players", "adapts") for word in _texts(component.parameters.get(name))]
            for name, word in named:
                player, dot, _ = word.partition(".")
                if player in known or any(sign in player for sign in "*?[") or (name == "adapts" and not dot):
                    continue
                told = f"{component.label}: {name}: no game has a player {player!r}.{did_you_mean(player, known)}"
                reader.complain((family,), f"{told}\n  Players on {label}: {', '.join(own)}")


def _texts(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def check_primary(suite: Suite, reader: Reader, *, wrong: Collection[str] = ()) -> None:
    """Complain about the primary comparison, as far as what it refers to is read: the keys in ``wrong`` are not."""
    if "per_task_distribution" in wrong or "task_distributions" in wrong:
        return
    effective = {label: suite.for_distribution(label) for label in _labels(suite)}
    if "metrics" not in wrong:
        _primary_metric(suite, effective, reader)
    if "protocol" not in wrong:
        _primary_step(suite, effective, reader)
    if not {"games", "networks", "gan_losses", "meta_learners", "regularisers", "augmentations", "controls"} & set(wrong):
        _primary_arms(suite, effective, reader)


def _primary_metric(suite: Suite, effective: Mapping[str, Suite], reader: Reader) -> None:
    primary = suite.primary
    metrics = _all(tuple(effective.values()), "metrics")
    outputs = dict.fromkeys(
        name for metric in metrics for name in reader.registry.component("metrics", metric.name).attributes.get("outputs", {})
    )
    if primary.metric not in outputs:
        hint = did_you_mean(primary.metric, outputs)
        reader.complain(
            ("primary", "metric"), f"{primary.metric!r} is no output of the listed metrics.{hint}\n  Outputs: {', '.join(outputs)}"
        )


def _primary_step(suite: Suite, effective: Mapping[str, Suite], reader: Reader) -> None:
    primary = suite.primary
    for label, one in effective.items():
        steps = one.protocol.adaptation_steps.test
        if primary.adaptation_step not in steps:
            listed = ", ".join(map(str, steps))
            reader.complain(
                ("primary", "adaptation_step"),
                f"must be one of protocol.adaptation_steps.test on {label!r}: {listed} (value {primary.adaptation_step})",
            )


def _primary_arms(suite: Suite, effective: Mapping[str, Suite], reader: Reader) -> None:
    primary = suite.primary
    arms = suite.arms()
    learners = {component.label for component in _all(tuple(effective.values()), "meta_learners")}
    for position, word in enumerate(primary.compare):
        if word not in arms and word not in learners:
            reader.complain(
                ("primary", "compare", position), f"no arm is called {word!r}.{did_you_mean(word, arms)}\n  Arms: {', '.join(arms)}"
            )


def _all(suites: tuple[Suite, ...], family: str) -> tuple[Component, ...]:
    """Components of a family in any of the suites; sets are flattened."""
    found: dict[str, Component] = {}
    for suite in suites:
        for entry in getattr(suite, family):
            found |= {component.label: component for component in (entry if isinstance(entry, tuple) else (entry,))}
    return tuple(found.values())


def _known(word: str, components: Iterable[Component], place: Place, noun: str, reader: Reader, *, labels_only: bool = False) -> bool:
    words = dict.fromkeys(
        text for component in components for text in ((component.label,) if labels_only else (component.label, component.name))
    )
    if word in words:
        return True
    reader.complain(
        place, f"no {noun} of this suite is called {word!r}.{did_you_mean(word, words)}\n  It has: {', '.join(words) or 'none'}"
    )
    return False
