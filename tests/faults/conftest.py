import pytest
from fault_runs import Here, numbers


@pytest.fixture
def here(monkeypatch):
    return Here(monkeypatch)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Numbers of a run to which nothing was done."""
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    with pytest.MonkeyPatch.context() as patch:
        assert Here(patch).run(results) == 0
    return numbers(results)
