"""What is known of plugins and of their components without importing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, Literal

from bench.registry.local import LocalFile
from bench.registry.sources import Roots
from bench.suite.constraints import Schema

GROUP = "bench"
OWN_DISTRIBUTION = "metagan-bench"  # its components keep their names whatever else is installed

NOUNS = {
    "games": "game",
    "networks": "network",
    "gan_losses": "GAN loss",
    "regularisers": "regulariser",
    "augmentations": "augmentation",
    "inner_optimisers": "inner optimiser",
    "meta_learners": "meta-learner",
    "task_distributions": "task distribution",
    "metrics": "metric",
    "feature_extractors": "feature extractor",
    "reporters": "reporter",
}
"""Family -> what messages call one of its components."""

Status = Literal["ok", "quarantined", "unavailable", "disabled"]


@dataclass(frozen=True)
class ComponentInfo:
    """What is known of a component without importing it.

    Attributes:
        schema: JSON Schema of its hyperparameters (``properties``, ``required``).
        defaults: their defaults as JSON, or ``repr`` where JSON cannot hold them.
        attributes: class attributes of its contract (``kinds``, ``trains``, ``outputs``, ...), present where the class has them.
        source_hash: of its module and what that imports inside its distribution, AST-normalised.
    """

    family: str
    name: str
    plugin: str
    distribution: str
    version: str
    module: str
    qualname: str
    doc: str
    schema: Schema
    defaults: Mapping[str, Any]
    attributes: Mapping[str, Any]
    source_hash: str

    @property
    def origin(self) -> str:
        """Where it comes from, for messages: ``builtin`` or ``bench-foo 0.1``."""
        return self.plugin if self.distribution == OWN_DISTRIBUTION else f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Plugin:
    """One entry point, or one local file.

    Attributes:
        status: quarantined: broken; unavailable: needs something that is not installed; disabled: the user does not want it.
        broken: single components that are unusable: (family, name) -> reason.
        lacking: single components that need something that is not installed: (family, name) -> what, and how to install it.
        file: of a local plugin; None for an installed one.
    """

    name: str
    distribution: str
    version: str
    entry_point: str
    status: Status
    reason: str
    editable: bool
    content_hash: str
    components: tuple[ComponentInfo, ...] = ()
    broken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    lacking: Mapping[tuple[str, str], str] = field(default_factory=dict)
    observers: tuple[str, ...] = ()
    roots: Roots = field(default_factory=dict, repr=False)
    file: LocalFile | None = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        """``name (distribution version)``."""
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def point(self) -> EntryPoint | LocalFile:
        """What imports it."""
        return self.file or EntryPoint(self.name, self.entry_point, GROUP)
