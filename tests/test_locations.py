"""Hyperparameters that say where data lie stay out of identities and records."""

import json
from types import SimpleNamespace

import pytest
import yaml

from bench.errors import ContractError
from bench.registry.probe import describe
from bench.suite.components import Component
from bench.suite.locations import anonymous_suite, anonymous_text, with_absolute_locations, without_locations
from bench.suite.model import Suite


class Registry:
    """Knows one task distribution with two locations, and one extractor of weights that it knows by their checksum."""

    def component(self, family, name):
        located = {"locations": ["path", "download"]} if name in ("files", "weights") else {}
        wraps = {"tasks": {"x-family": "task_distributions"}} if name == "wrapped" else {}
        return SimpleNamespace(attributes=located, schema={"properties": wraps})


REGISTRY = Registry()


def tasks(**parameters):
    return Component("task_distributions", "files", parameters)


def suite(*distributions):
    return Suite(
        question="?",
        name="s",
        primary={"metric": "energy", "adaptation_step": 0, "compare": ("a", "b")},
        budget={"outer_steps": 1},
        games=(),
        task_distributions=distributions,
        networks=(),
        meta_learners=(),
        metrics=(),
    )


def test_only_what_can_change_a_number_is_left():
    assert without_locations(tasks(size=8, path="/a/b", download=True), REGISTRY) == {"size": 8}
    assert without_locations(Component("feature_extractors", "weights", {"path": "/a/b", "size": 3}), REGISTRY) == {"size": 3}
    assert without_locations(Component("networks", "weights", {"path": "/a/b"}), REGISTRY) == {"path": "/a/b"}  # of no such family


def test_weights_of_an_extractor_are_recorded_without_their_folder(tmp_path):
    extractor = Component("feature_extractors", "weights", {"path": "/a/b.pth"})
    named = suite(tasks()).model_copy(update={"feature_extractor": extractor})
    assert anonymous_suite(named, REGISTRY).feature_extractor.parameters == {"path": "b.pth"}
    text = b"feature_extractor: {weights: {path: /a/b.pth}}\ntask_distributions: [files]"
    found = yaml.safe_load(anonymous_text(text, named, REGISTRY))
    assert found == {"feature_extractor": {"weights": {"path": "b.pth"}}, "task_distributions": ["files"]}


def test_locations_of_a_wrapped_distribution_are_locations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrapped = Component("task_distributions", "wrapped", {"tasks": {"files": {"path": "data/x.npz", "size": 3}}, "ways": 2})
    assert without_locations(wrapped, REGISTRY) == {"tasks": {"files": {"size": 3}}, "ways": 2}
    located = with_absolute_locations(wrapped, REGISTRY)
    assert located.parameters["tasks"] == {"files": {"path": str(tmp_path / "data" / "x.npz"), "size": 3}}
    assert anonymous_suite(suite(located), REGISTRY).task_distributions[0].parameters["tasks"] == {"files": {"path": "x.npz", "size": 3}}
    text = f"task_distributions: [{{wrapped: {{tasks: {{sweep: [rings, {{files: {{path: {tmp_path}/x.npz}}}}]}}}}}}]"
    found = yaml.safe_load(anonymous_text(text.encode(), suite(located), REGISTRY))
    assert found == {"task_distributions": [{"wrapped": {"tasks": {"sweep": ["rings", {"files": {"path": "x.npz"}}]}}}]}


def test_a_wrapped_distribution_may_be_a_name():
    plain = Component("task_distributions", "wrapped", {"tasks": "rings", "ways": 2})
    assert without_locations(plain, REGISTRY) == plain.parameters
    assert with_absolute_locations(plain, REGISTRY) == plain


@pytest.mark.parametrize("path", ["/data/omniglot.npz", "~/data", "s3://bucket/data", ""])
def test_what_means_the_same_everywhere_is_left_alone(path):
    assert with_absolute_locations(tasks(path=path), REGISTRY) == tasks(path=path)


def test_a_path_from_the_current_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    located = with_absolute_locations(tasks(path="data/x.npz", size=3, download=True), REGISTRY)
    assert located.parameters == {"path": str(tmp_path / "data" / "x.npz"), "size": 3, "download": True}
    assert located.label == "files"


@pytest.mark.parametrize(
    ("path", "recorded"),
    [("/home/me/x.npz", "x.npz"), ("~/data/", "data"), ("data/x.npz", "x.npz"), ("C:\\me\\x.npz", "x.npz"), ("x.npz", "x.npz"), ("/", "")],
)
def test_a_record_keeps_the_last_part(path, recorded):
    record = anonymous_suite(suite(tasks(path=path, size=3), Component("task_distributions", "rings", {"path": "/not/one"})), REGISTRY)
    assert [one.parameters for one in record.task_distributions] == [{"path": recorded, "size": 3}, {"path": "/not/one"}]
    assert json.loads(json.dumps(record.to_dict())) == record.to_dict()


def test_a_text_without_folders_is_kept_to_the_byte():
    text = b"\xef\xbb\xbf# Mine.\r\ntask_distributions: [{files: {path: x.npz}}]\r\n"
    assert anonymous_text(text, suite(tasks(path="x.npz")), REGISTRY) == text


def test_a_text_that_names_a_folder_is_written_anew():
    """Nothing of the folder is left: not in comments, and not where the path is spelled in pieces."""
    text = '# See /home/me.\nname: s\ntask_distributions:\n- "rings"\n- {files: {path: "/ho\\x6De/me/x.npz", size: 3}}\n- files:\n'
    found = anonymous_text(text.encode(), suite(tasks(path="/home/me/x.npz", size=3)), REGISTRY)
    assert yaml.safe_load(found) == {"name": "s", "task_distributions": ["rings", {"files": {"path": "x.npz", "size": 3}}, {"files": None}]}
    assert b"me/" not in found
    assert b"home" not in found
    assert found.startswith(b"# Written by bench")


def test_locations_must_be_hyperparameters():
    class Misspelt:
        kind = "points"
        locations = ("pth",)

        def __init__(self, *, path: str = "") -> None:
            pass

    with pytest.raises(ContractError, match="`locations` lists pth, which no hyperparameter is called"):
        describe("task_distributions", Misspelt, {})
