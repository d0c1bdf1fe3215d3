"""What plugins/README.md promises is what there is: hooks, kinds, contract classes, commands."""

import re
from pathlib import Path

import pytest

import bench.testing
from bench import hookspecs
from bench.authoring.conformance import CONTRACTS
from bench.authoring.scaffold import FAMILIES, KINDS
from bench.cli import main

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "plugins" / "README.md").read_text()
HOOKS = {name for name in vars(hookspecs) if name.startswith("bench_")}


def test_every_hook_is_documented_and_none_that_is_not_there():
    named = set(re.findall(r"`(bench_[a-z_]+)(?:\([a-z, ]*\))?`", PAGE)) - {"bench_builtin", "bench_tensorboard"}
    assert named == HOOKS
    assert all(getattr(hookspecs, name).__doc__ for name in HOOKS)


def test_every_kind_stands_beside_its_hook_and_its_contract():
    rows = [[cell.strip("` ") for cell in line.split("|")] for line in PAGE.splitlines() if line.startswith("| `bench_")]
    kinds = {kind: (hook, contract) for _, hook, kind, _, contract, _ in rows if kind}
    assert kinds.keys() == FAMILIES.keys()
    for kind, (hook, contract) in kinds.items():
        assert hook == hookspecs.FAMILIES[FAMILIES[kind]]
        promised, fixture = CONTRACTS[FAMILIES[kind]]
        assert contract == f"{promised.__name__}`, fixture `{fixture}" or contract == f"{promised.__name__}`, `{fixture}"


def test_every_kind_that_can_be_written_is_named():
    (named,) = re.findall(r"`--kind` is one of ([^.]+)\.", PAGE)
    assert tuple(re.split(r",\s+", named)) == KINDS


def test_every_contract_class_is_documented():
    classes = {name for name in bench.testing.__all__ if name.endswith("Contract")} - {"Contract"}
    assert classes == set(re.findall(r"`(\w+Contract)`", PAGE))


@pytest.mark.parametrize("page", ["README.md", "plugins/README.md", "plugins/example/README.md"])
def test_the_commands_of_the_tutorial_exist(page, capsys):
    verbs = set(re.findall(r"bench plugins (\w+)", (ROOT / page).read_text()))
    assert verbs
    for verb in verbs:
        with pytest.raises(SystemExit) as left:
            main(["plugins", verb, "--help"])
        assert left.value.code == 0


@pytest.mark.parametrize("page", ["README.md", "plugins/README.md"])
def test_links_lead_somewhere(page):
    place = (ROOT / page).parent
    for target in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", (ROOT / page).read_text()):
        assert (place / target.partition("#")[0]).exists(), target
