"""Which components fit together, from what their classes declare: reasons to skip a cell, metrics that are defined in it, its extractor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.registry.registry import Registry
from bench.suite.model import Component, Suite

if TYPE_CHECKING:
    from bench.grid.cells import Trial


def misfit(trial: Trial, registry: Registry) -> str:
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


def fitting_metrics(suite: Suite, game: Component, distribution: Component, registry: Registry) -> tuple[Component, ...]:
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


def default_extractor(game: Component, distribution: Component, registry: Registry) -> Component:
    """By the kind of samples; predictions are judged as they are, so nothing is trained for them."""
    images = registry.kind(distribution.name, distribution.parameters) == "image"
    name = "identity" if not images else "pixels" if _predicts(game, registry) else "protonet-conv4"
    return Component(family="feature_extractors", name=name, parameters={}, test={}, label=name)


def _predicts(game: Component, registry: Registry) -> bool:
    return bool(registry.component("games", game.name).attributes.get("predicts", False))


def _spelled(spec: Mapping[str, Any]) -> str:
    """``image 1 x 16 x 16 in [-1, 1]``."""
    shape = " x ".join(map(str, spec["shape"]))
    span = "unbounded" if spec["low"] is None and spec["high"] is None else f"in [{spec['low']:g}, {spec['high']:g}]"
    targets = f" with targets {' x '.join(map(str, spec['targets']))}" if spec["targets"] else ""
    classes = f" of {spec['classes']} classes" if spec["classes"] else ""
    return f"{spec['kind']} {shape} {span}{targets}{classes}"
