import pytest

from bench.suite.document import parse, spell


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5", 5),
        ("40_000", 40000),
        ("0x10", 16),
        ("0o10", 8),
        ("010", 10),
        (".5", 0.5),
        ("-2.5e+2", -250.0),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("null", None),
        ("~", None),
        ("'5'", "5"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    document = parse(f"a: {text}")
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)
    assert document.problems == ()


def test_every_key_and_item_has_its_line():
    document = parse("a:\n  - b\n  - c:\n      d: 1\n")
    assert document.lines == {(): 1, ("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, "c"): 3, ("a", 1, "c", "d"): 4}
    assert document.line(("a", 1, "c", "x", "y")) == 3  # the nearest that exists


def test_aliases_share_values_not_lines():
    document = parse("a: &x [1, 2]\nb: *x\n")
    assert document.data == {"a": [1, 2], "b": [1, 2]}


def test_places_are_spelt_like_paths():
    assert spell(("gan_losses", 1)) == "gan_losses[1]"
    assert spell(("a", 0, "b", "c")) == "a[0].b.c"
    assert spell(()) == ""
