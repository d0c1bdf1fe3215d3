"""Tiny distributions on disk, so that importlib.metadata finds real entry points."""

import contextlib
import importlib
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

HEADER = """
from __future__ import annotations
from typing import Annotated, ClassVar, Literal
from pydantic import Field
from bench import hookimpl
from bench.contracts import Kind, Optimiser, Output, Rates
"""


def write_distribution(
    site: Path, name: str, modules: Mapping[str, str], *, version: str = "0.1", entry: str = "", module: str = "", metadata: str = ""
) -> None:
    """A distribution ``name`` with its modules (path -> source) and one entry point, named like it unless ``entry`` says otherwise.

    ``metadata`` is more lines of its METADATA.
    """
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
    first = next(iter(modules)).removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
    info.joinpath("entry_points.txt").write_text(f"[bench]\n{entry or name} = {module or first}\n")
    for path, source in modules.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(HEADER + dedent(source))
    importlib.invalidate_caches()


def put_in(site: Path, folder: Path) -> None:
    """What pip would make of a distribution's folder, from its pyproject.toml: modules, metadata, entry points."""
    about = tomllib.loads(folder.joinpath("pyproject.toml").read_text())
    project, sources = about["project"], about["tool"]["setuptools"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {target}" for name, target in project["entry-points"]["bench"].items()]
    info.joinpath("entry_points.txt").write_text("\n".join(["[bench]", *points, ""]))
    for package in sources.get("packages", []):
        shutil.copytree(folder / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    for module in sources.get("py-modules", []):
        shutil.copy(folder / f"{module}.py", site)
    own = [*sources.get("packages", []), *sources.get("py-modules", [])]
    files = [
        path
        for path in site.rglob("*")
        if path.is_file() and (path.is_relative_to(info) or path.relative_to(site).parts[0].removesuffix(".py") in own)
    ]
    info.joinpath("RECORD").write_text("".join(f"{path.relative_to(site)},,\n" for path in files))
    importlib.invalidate_caches()


def plugin(hook: str, **factories: str) -> str:
    """Source of a hook that returns the named factories."""
    names = ", ".join(f"{name.replace('_', '-')!r}: {factory}" for name, factory in factories.items())
    return f"\n@hookimpl\ndef {hook}():\n    return {{{names}}}\n"


BUILTIN = """
class Gan:
    "Two players."
    kinds: ClassVar = ("image", "points")
    roles: ClassVar = {"generator": "generator", "discriminator": "discriminator"}
    needs_loss: ClassVar = True
    def __init__(self, *, n_critic: Annotated[int, Field(ge=1)] = 1): self.n_critic = n_critic

class Regression:
    kinds: ClassVar = ("regression",)
    roles: ClassVar = {"model": "model"}
    needs_loss: ClassVar = False

class Mlp:
    kinds: ClassVar = ("image", "points")
    def __init__(self, *, width: Annotated[int, Field(ge=1)] = 64, activation: Literal["a", "b"] = "a", sizes: tuple[int, int] = (1, 2)):
        self.width, self.sizes = width, sizes

class Loss:
    pass

class Shifted:
    def __init__(self, *, target: float): self.target = target

class R1:
    players: ClassVar = ("discriminator",)
    def __init__(self, *, weight: Annotated[float, Field(gt=0)] = 1.0): self.weight = weight
    def penalty(self, player, play, state, draws): ...

class Clip:
    def adjust_gradient(self, meta, gradient): ...

class Sgd:
    def __init__(self, *, momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0): self.momentum = momentum

class Scratch:
    trains: ClassVar = False
    at_test: ClassVar = ("inner_lr",)
    def __init__(self, *, inner_lr: float = 0.1, strength: float = 1.0): ...

class Learner:
    "Learns."
    trains: ClassVar = True
    def __init__(self, *, order: Literal[1, 2] = 2, inner_lr: Rates = 0.005, steps: Annotated[int, Field(ge=1)] | None = None,
                 inner_optimiser: Optimiser = "sgd", outer_optimiser: Optimiser | None = None):
        self.order, self.inner_lr, self.inner_optimiser, self.outer_optimiser = order, inner_lr, inner_optimiser, outer_optimiser

class Digits:
    kind: ClassVar[Kind] = "image"
    def __init__(self, *, size: Annotated[int, Field(ge=1)] = 8): self.size = size
    def fingerprint(self): return ""

class Rings:
    kind: ClassVar[Kind] = "points"

class Files:
    kind: ClassVar[Kind] = "points"
    def __init__(self, *, path: str): self.path = path
    def fingerprint(self):
        from bench.errors import DataError
        if not self.path: raise DataError("no path given: set path")
        return __import__('pathlib').Path(self.path).read_text()

class Energy:
    kinds: ClassVar = ("image", "points")
    needs_modes: ClassVar = False
    version: ClassVar = 3
    outputs: ClassVar = {"energy": Output("lower", 0.0, "energy distance")}
    def __init__(self, *, scale: float = 1.0): pass

class ModeCount(Energy):
    needs_modes: ClassVar = True
    outputs: ClassVar = {"modes": Output("higher", 8.0, "modes"), "missed": Output("lower", 0.0, "missed modes")}

class Pixels:
    kinds: ClassVar = ("image",)
""" + "".join(
    (
        plugin("bench_games", gan="Gan", regression="Regression"),
        plugin("bench_networks", mlp="Mlp"),
        plugin("bench_gan_losses", hinge="Loss", least_squares="Loss", non_saturating="Loss", shifted="Shifted"),
        plugin("bench_regularisers", r1="R1", outer_clip="Clip"),
        plugin("bench_inner_optimisers", sgd="Sgd"),
        plugin("bench_meta_learners", scratch="Scratch", finetune="Learner", maml="Learner", reptile="Learner"),
        plugin("bench_task_distributions", digits="Digits", rings="Rings", files="Files"),
        plugin("bench_metrics", energy="Energy", modes="ModeCount"),
        plugin("bench_feature_extractors", pixels="Pixels"),
    )
)

GOOD = '''
from bench_good import shared

class Soft:
    """Soft labels.

    More.
    """

    def __init__(self, *, target: Annotated[float, Field(gt=0, le=1)] = 1.0, kind: Literal["a", "b"] = "a") -> None:
        self.target = shared.ZERO + target
''' + plugin("bench_gan_losses", soft="Soft")


def write_zoo(site: Path) -> None:
    """Stand-ins for the built-in components, and one distribution per way of being broken."""
    write_distribution(site, "metagan-bench", {"zoo_builtin.py": BUILTIN}, version="9.0", entry="builtin")
    write_distribution(site, "bench-good", {"bench_good/__init__.py": GOOD, "bench_good/shared.py": "ZERO = 0.0"}, entry="good")
    write_distribution(site, "bench-raises", {"bench_raises.py": 'LOST = "lost-loss"\nraise ValueError("no way")'}, entry="raises")
    write_distribution(site, "bench-exits", {"bench_exits.py": "import sys\nsys.exit(3)"}, entry="exits")
    write_distribution(site, "bench-dies", {"bench_dies.py": "import os\nos._exit(7)"}, entry="dies")
    write_distribution(site, "bench-misspelt", {"bench_misspelt.py": plugin("bench_gan_loses", x="dict")}, entry="misspelt")
    write_distribution(site, "bench-forgot", {"bench_forgot.py": "def bench_metrics(): return {}"}, entry="forgot")
    write_distribution(site, "bench-list", {"bench_list.py": "@hookimpl\ndef bench_metrics(): return ['energy']"}, entry="list")
    write_distribution(site, "bench-instance", {"bench_instance.py": plugin("bench_metrics", x="3")}, entry="instance")
    write_distribution(site, "bench-hook", {"bench_hook.py": "@hookimpl\ndef bench_metrics(): return 1 / 0"}, entry="hook")
    write_distribution(site, "bench-extra", {"bench_extra.py": "@hookimpl\ndef bench_metrics(colour): return {}"}, entry="extra")
    write_distribution(
        site,
        "bench-chatty",
        {
            "bench_chatty.py": "import os\nprint('{}', flush=True)\nos.write(1, b'raw')\nclass Quiet: pass"
            + plugin("bench_gan_losses", quiet="Quiet")
        },
        entry="chatty",
    )
    write_distribution(
        site,
        "bench-partly",
        {
            "bench_partly.py": """
            class Positional:
                def __init__(self, weight: float = 1.0): pass
            class Bare:
                def __init__(self, *, weight=1.0): pass
            class Absent:
                def __init__(self, *, weight: Missing = 1.0): pass
            class Opaque:
                def __init__(self, *, weight: Annotated[object, 1] | slice = 1.0): pass
            class Both:
                def penalty(self): ...
                def adjust_update(self): ...
            class Kindless:
                kinds: ClassVar = ("images",)
            class Idle:
                kinds: ClassVar = ("image",)
            class Fine:
                pass
            """
            + plugin("bench_gan_losses", positional="Positional", bare="Bare", absent="Absent", opaque="Opaque", fine="Fine").replace(
                "\n", "\n" + 12 * " "
            )
            + plugin("bench_regularisers", both="Both").replace("\n", "\n" + 12 * " ")
            + plugin("bench_networks", kindless="Kindless").replace("\n", "\n" + 12 * " ")
            + plugin("bench_augmentations", idle="Idle").replace("\n", "\n" + 12 * " ")
        },
        entry="partly",
    )
    shadow = "class Other: pass" + plugin("bench_gan_losses", hinge="Other", own="Other")
    write_distribution(site, "bench-shadow", {"bench_shadow.py": shadow}, entry="shadow")
    for twin in ("a", "b"):
        source = "class Twin: pass" + plugin("bench_gan_losses", twin="Twin")
        write_distribution(site, f"bench-twin-{twin}", {f"bench_twin_{twin}.py": source}, entry=f"twin-{twin}")


@contextlib.contextmanager
def installed(site: Path, cache: Path) -> Iterator[pytest.MonkeyPatch]:
    """Make the distributions of ``site`` importable, with a probe cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("BENCH_CACHE_DIR", str(cache))
        patch.delenv("BENCH_LOAD_PLUGINS", raising=False)
        before = set(sys.modules)
        yield patch
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) and Path(str(sys.modules[name].__file__)).is_relative_to(site):
                del sys.modules[name]
