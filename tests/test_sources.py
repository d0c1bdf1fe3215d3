import pytest

from bench.registry.sources import file_of, normalised, reached, source_hash


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1", "x=1  # a comment", True),
        ('def f():\n    "doc"\n    return 1', "def f():\n\n    return (1)", True),
        ('"""Module."""\nx = 1', "x = 1", True),
        ("class A:\n    'doc'\n    b: int = 1", "class A:\n    b: int = 1", True),
        ("x = 'a'", 'x = "a"', True),
        ("x = 1", "x = 2", False),
        ("x = 1", "x = 1.0", False),
        ("x = a.b", "x = a.c", False),
        ("def f(a, /): pass", "def f(a): pass", False),
        ("return_ = None", "return_ = ...", False),
        ("x = {**a}", "x = {None: a}", False),
        ("async def f(): pass", "def f(): pass", False),
        ("x = f'{a!r}'", "x = f'{a}'", False),
        ("def f():\n    x = 'kept'", "def f():\n    x = 'other'", False),
    ],
)
def test_only_what_can_change_a_number_changes_the_normalised_source(one, other, same):
    assert (normalised(one) == normalised(other)) is same


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pack"
    files = {
        "__init__.py": "from pack.one import A\nfrom pack import aside\n",
        "one.py": "from .deep import tool\nfrom pack.two import b\nimport os\ndef f():\n    import pack.late as late\n",
        "two.py": "b = 1\n",
        "late.py": "from . import one\n",
        "aside.py": "c = 1\n",
        "deep/__init__.py": "",
        "deep/tool.py": "from ..two import b\n",
    }
    for name, source in files.items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_text(source)
    return folder


def test_imports_are_followed_inside_the_distribution_only(package):
    found = reached("pack.one", {"pack": package})
    assert sorted(found) == ["pack.deep.tool", "pack.late", "pack.one", "pack.two"]


def test_taking_a_name_from_the_package_includes_what_that_imports(package):
    (package / "two.py").write_text("from pack import A\n")
    assert "pack.aside" in reached("pack.two", {"pack": package})


@pytest.mark.parametrize(
    ("name", "counts"), [("two.py", True), ("deep/tool.py", True), ("late.py", True), ("aside.py", False), ("__init__.py", False)]
)
def test_a_hash_changes_with_what_is_reached(package, name, counts):
    before = source_hash("pack.one", {"pack": package})
    with (package / name).open("a") as file:
        file.write("\n# comment\n")
    assert source_hash("pack.one", {"pack": package}) == before
    with (package / name).open("a") as file:
        file.write("new = 1\n")
    assert (source_hash("pack.one", {"pack": package}) != before) is counts


def test_a_single_module_is_its_own_root(tmp_path):
    (tmp_path / "solo.py").write_text("x = 1")
    roots = {"solo": tmp_path / "solo.py"}
    assert file_of("solo", roots) == tmp_path / "solo.py"
    assert file_of("solo.x", roots) is None
    assert file_of("other", roots) is None
    with pytest.raises(FileNotFoundError, match="'other' has no Python source"):
        source_hash("other", roots)
