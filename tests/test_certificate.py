"""`bench plugins check`: what a certificate says, and that a component which breaks a rule, or the process, is named and alone."""

import json
from dataclasses import replace

import pytest
from plugins_fixture import installed, plugin, write_distribution

from bench.authoring.certificate import certificate_text, certify
from bench.authoring.conformance import CONTRACTS, contract_tests, pathless
from bench.cli import main
from bench.errors import UsageError
from bench.hookspecs import FAMILIES
from bench.registry import probing
from bench.registry.registry import Registry, discover
from bench.testing import MetaRegulariserContract, PenaltyContract, SamplingLearnerContract

MIXED = """
import os
import torch

class Good:
    expected_failures: ClassVar = {"test_real_and_fake_may_differ_in_number": "pairs are compared"}
    def discriminator_loss(self, real_B, fake_B): return torch.nn.functional.softplus(fake_B - real_B).mean()
    def generator_loss(self, real_B, fake_B): return torch.nn.functional.softplus(real_B - fake_B).mean()

class Rude(Good):
    def generator_loss(self, real_B, fake_B):
        torch.manual_seed(0)
        return super().generator_loss(real_B, fake_B)

class Ends(Good):
    def generator_loss(self, real_B, fake_B): os._exit(5)
""" + plugin("bench_gan_losses", good="Good", rude="Rude", ends="Ends")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_distribution(folder, "bench-mixed", {"bench_mixed.py": MIXED}, entry="mixed")
    write_distribution(folder, "bench-lost", {"bench_lost.py": "1 / 0"}, entry="lost")
    with installed(folder, probing.cache_folder()):
        yield folder


@pytest.fixture(scope="module")
def certificate(site):
    return certify("bench-mixed", discover())


def checks(certificate, name):
    (component,) = (one for one in certificate["components"] if one["name"] == name)
    return {check["name"]: (check["outcome"], check["reason"]) for check in component["checks"]}


def test_a_component_that_keeps_the_contract_passes_but_for_what_it_says(certificate):
    found = checks(certificate, "good")
    assert found.pop("test_real_and_fake_may_differ_in_number") == ("expected-failure", "pairs are compared")
    assert set(found.values()) == {("passed", "")}
    assert "test_meta_gradient_through_the_loss_equals_finite_differences" in found


def test_a_component_that_touches_what_all_share_fails_where_it_does(certificate):
    outcome, reason = checks(certificate, "rude")["test_it_is_nothing_but_its_settings"]
    assert outcome == "failed"
    assert "it changed torch's random state, which other components share" in reason


def test_a_component_that_ends_the_process_fails_alone(certificate):
    ((name, (outcome, reason)),) = checks(certificate, "ends").items()
    assert (name, outcome) == ("running", "failed")
    assert reason.startswith("ended with exit code 5 before it could report")
    assert not certificate["passed"]


def test_a_certificate_names_versions_and_no_machine(certificate, site):
    text = json.dumps(certificate)
    assert certificate["version"] == "0.1"
    assert len(certificate["content_hash"]) == 64
    assert certificate["date"][:2] == "20"
    assert {"bench", "torch", "python", "bench_numeric_hash"} <= certificate.keys()
    assert str(site) not in text
    assert pathless("no weights at /home/some.one/.cache/a-b.pth (x), see https://a.b/c/d, a/b") == (
        "no weights at a-b.pth (x), see https://a.b/c/d, a/b"
    )


def test_the_table_has_a_line_a_component_and_a_reason_a_failure(certificate):
    lines = certificate_text(certificate).splitlines()
    assert lines[0] == f"bench-mixed 0.1 (content {certificate['content_hash'][:12]}): FAILED"
    assert "  gan_losses good  1 expected-failure, 6 passed" in lines
    assert "    expected-failure: test_real_and_fake_may_differ_in_number: pairs are compared" in lines
    assert any(line.startswith("    failed: running: ended with exit code 5") for line in lines)


def test_a_quarantined_plugin_gets_no_certificate(site, tmp_path, capsys):
    place = tmp_path / "lost.json"
    assert main(["plugins", "check", "lost", "--output", str(place)]) == 1
    written = json.loads(place.read_text())
    assert not written["passed"]
    assert "ZeroDivisionError" in checks(written, "lost")["loading"][1]
    assert "FAILED" in capsys.readouterr().out


def test_what_is_not_there_or_disabled_is_no_plugin(site):
    registry = discover()
    with pytest.raises(UsageError, match="no plugin or distribution 'bench-mixt'. Did you mean 'bench-mixed'?"):
        certify("bench-mixt", registry)
    disabled = Registry(replace(one, status="disabled", reason="not named") for one in registry.plugins)
    with pytest.raises(UsageError, match="is disabled"):
        certify("mixed", disabled)


def test_a_distribution_stands_for_all_its_plugins_and_observers_are_named(site):
    (mixed,) = (one for one in discover().plugins if one.name == "mixed")
    ears, eyes = (
        replace(mixed, name=name, components=(), observers=(hook,))
        for name, hook in (("ears", "bench_trial_started"), ("eyes", "bench_suite_finished"))
    )
    both = certify("bench-mixed", Registry([ears, eyes]))
    assert (both["plugin"], both["passed"]) == ("ears, eyes", True)
    assert [(one["family"], one["name"]) for one in both["components"]] == [
        ("observers", "bench_trial_started"),
        ("observers", "bench_suite_finished"),
    ]
    assert certify("eyes", Registry([ears, eyes]))["plugin"] == "eyes"


def test_every_family_has_a_contract():
    assert set(CONTRACTS) == set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "name", "contract"),
    [
        ("regularisers", "r1", PenaltyContract),
        ("regularisers", "taml", MetaRegulariserContract),
        ("meta_learners", "kde", SamplingLearnerContract),
        ("meta_learners", "reptile", CONTRACTS["meta_learners"][0]),
    ],
)
def test_what_a_component_is_decides_its_contract(family, name, contract):
    assert issubclass(contract_tests(family, name, discover("builtin")), contract)
