"""Modules that a plugin needs and that are not installed: which distribution has them, and how pip mends it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

from bench.errors import PluginError

ELSEWHERE = {"PIL": "pillow", "cv2": "opencv-python", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "PyYAML"}
"""Modules whose distribution on PyPI has another name; for one that is not installed, nothing on this machine knows it."""

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


class MissingModule(PluginError):  # noqa: N818 - reads as what is the matter
    """A module of somebody else's is not installed; the text has the command that mends it."""


def absent(modules: Iterable[str]) -> list[str]:
    """Those that are not installed; nothing but the packages that contain them is imported."""

    def found(module: str) -> bool:
        try:
            return importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            return False

    return [module for module in modules if not found(module)]


def needs(module: str, owner: Distribution | str | None) -> str:
    """``needs the module 'lpips', which is not installed: pip install 'bench-soft[lpips]'``.

    Args:
        module: dotted name, as an import spells it.
        owner: distribution of the plugin, or its name, whose extras are looked through; None: it has none.
    """
    return f"needs the module {module!r}, which is not installed: pip install {_what(module, _known(owner))}"


def _known(owner: Distribution | str | None) -> Distribution | None:
    try:
        return distribution(owner) if isinstance(owner, str) else owner
    except (PackageNotFoundError, ValueError):
        return None


def _what(module: str, owner: Distribution | None) -> str:
    """What pip is told to install: the plugin with the extra that has the module, or else the module's distribution."""
    top = module.partition(".")[0]
    # A namespace package may be there without the part that is missing: then its own distribution is known.
    named = packages_distributions().get(top, [ELSEWHERE.get(top, top)])
    for requirement in (owner.requires or []) if owner else []:
        name, extra = _REQUIREMENT.match(requirement), _EXTRA.search(requirement)
        if owner and name and extra and _normal(name[1]) in map(_normal, (*named, top)):
            return f"'{owner.name}[{extra[1]}]'"
    return named[0]


def _normal(name: str) -> str:
    """Of a distribution, as PyPI compares them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
