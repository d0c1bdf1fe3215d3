"""Which plugins are used: switched off, pinned, traced."""

import json
from pathlib import Path

import pytest
from plugins_fixture import installed, plugin, write_distribution

from bench.cli import main
from bench.errors import PluginError, UsageError
from bench.registry import probing
from bench.registry.lock import lock, require
from bench.registry.registry import UnknownName, discover
from bench.registry.switches import switch, switched_off, switches_file

SOURCE = "class A:\n    pass" + plugin("bench_gan_losses", a="A")


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    write_distribution(folder, "bench-solo", {"bench_solo.py": SOURCE}, entry="solo")
    monkeypatch.setenv("BENCH_CONFIG_DIR", str(tmp_path / "config"))
    with installed(folder, probing.cache_folder()):
        yield folder


def status(name):
    return next((one.status, one.reason) for one in discover().plugins if one.name == name)


# ------------------------------------------------------------------ switches
def test_a_plugin_that_is_switched_off_is_listed_and_not_used(site, capsys):
    assert main(["plugins", "disable", "bench-solo"]) == 0
    assert "solo: switched off" in capsys.readouterr().out
    assert status("solo") == ("disabled", "switched off; bench plugins enable solo")
    with pytest.raises(UnknownName, match=r"Disabled: solo \(bench-solo 0.1\): switched off; bench plugins enable solo"):
        discover().component("gan_losses", "a")
    assert main(["plugins", "list"]) == 0
    assert "solo (bench-solo 0.1): disabled: switched off" in capsys.readouterr().out
    assert main(["plugins", "enable", "solo"]) == 0
    assert status("solo") == ("ok", "")


def test_a_broken_plugin_is_switched_off_without_being_loaded(site):
    site.joinpath("bench_solo.py").write_text("raise SystemExit(3)")
    switch("solo", on=False)
    assert status("solo")[0] == "disabled"


def test_the_allow_list_of_the_environment_goes_before_switches(site, monkeypatch):
    switch("solo", on=False)
    monkeypatch.setenv("BENCH_LOAD_PLUGINS", "solo")
    assert status("solo") == ("ok", "")
    assert status("builtin") == ("disabled", "not named in BENCH_LOAD_PLUGINS")


def test_only_what_is_installed_can_be_switched_off_and_what_was_can_be_switched_on(site):
    with pytest.raises(UsageError, match="no plugin 'sola' is installed. Did you mean 'solo'?"):
        switch("sola", on=False)
    switches_file().parent.mkdir()
    switches_file().write_text("gone\nsolo\n")
    assert switch("gone", on=True) == ("gone",)
    assert switched_off() == {"solo"}


def test_a_place_that_cannot_be_written_is_named(site, tmp_path, monkeypatch):
    tmp_path.joinpath("file").write_text("")
    monkeypatch.setenv("BENCH_CONFIG_DIR", str(tmp_path / "file" / "folder"))
    with pytest.raises(UsageError, match="BENCH_CONFIG_DIR"):
        switch("solo", on=False)


def test_switches_follow_xdg(monkeypatch):
    monkeypatch.delenv("BENCH_CONFIG_DIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert switches_file() == Path("/somewhere/bench/disabled-plugins")


# ------------------------------------------------------------------ pins
def pinned(tmp_path):
    place = tmp_path / "bench.lock.json"
    place.write_text(json.dumps(lock(discover())))
    return place


def test_what_was_pinned_may_run(site, tmp_path, capsys):
    assert main(["plugins", "lock"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written == lock(discover())
    assert written["plugins"].keys() == {"builtin", "solo", "tensorboard"}
    require(pinned(tmp_path), discover())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("edit", "solo: pinned bench-solo 0.1 (content "),
        ("break", "solo: pinned bench-solo 0.1 (content "),
        ("add", "other: not pinned, installed bench-other 0.1 (content "),
        ("bench", "bench: pinned 0.0.1, installed "),
    ],
)
def test_whatever_differs_stops_a_run_before_its_first_trial(site, tmp_path, capsys, change, line):
    place = pinned(tmp_path)
    if change == "edit":
        site.joinpath("bench_solo.py").write_text(site.joinpath("bench_solo.py").read_text() + "B = 1\n")
    elif change == "break":
        site.joinpath("bench_solo.py").write_text("import nothing_of_that_name")
    elif change == "add":
        write_distribution(site, "bench-other", {"bench_other.py": SOURCE.replace("'a'", "'b'")}, entry="other")
    else:
        place.write_text(json.dumps({**json.loads(place.read_text()), "bench": "0.0.1", "bench_numeric_hash": "0"}))
    with pytest.raises(PluginError) as caught:
        require(place, discover())
    assert [text for text in str(caught.value).splitlines() if text.startswith("  ")][0].startswith(f"  {line}")
    results = tmp_path / "results"
    command = ["run", "suites/smoke.yaml", "--require-plugins", str(place), "--output", str(results)]
    assert main(command) == 3
    assert f"what is installed differs from {place}" in capsys.readouterr().err
    assert not results.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plugins": 3, "bench_numeric_hash": "", "bench": ""}'])
def test_a_file_that_is_no_pin_file_is_refused(site, tmp_path, text):
    tmp_path.joinpath("pins.json").write_text(text)
    with pytest.raises(UsageError, match="is no pin file: write it with bench plugins lock > pins.json"):
        require(tmp_path / "pins.json", discover())
    with pytest.raises(UsageError, match="cannot be read"):
        require(tmp_path / "absent.json", discover())


# ------------------------------------------------------------------ traces
def test_probes_imports_and_hooks_are_traced_when_asked_for(site, monkeypatch, capsys):
    registry = discover("solo")
    registry.create("gan_losses", "a")
    assert "trace" not in capsys.readouterr().err
    monkeypatch.setenv("BENCH_TRACE_PLUGINS", "1")
    discover("solo").create("gan_losses", "a")
    traced = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench: trace: ")]
    assert [line.split(": ")[2] for line in traced] == [
        "plugin solo (bench-solo)",
        "import of plugin solo, bench_solo",
        "hook bench_gan_losses of plugin solo",
    ]
    assert all(": done in " in line for line in traced)
