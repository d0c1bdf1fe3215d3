"""Several results folders as one: a suite that was run in parts, or suites that add arms under the same protocol.

Their numbers stand side by side because tasks, budget and definitions are the same ones, so that is checked first. A cell that several
folders hold counts once: with an outcome rather than with what is still to come, then as the folder named first has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError, SuiteError, UsageError
from bench.store import read_identities, read_json, read_ledger
from bench.suite.model import LISTS, SETS, Suite

if TYPE_CHECKING:
    import pandas as pd

Folders = Path | str | Sequence[Path | str]
"""One results folder, or several that are read as one."""

MUST_AGREE = ("seed", "design", "protocol", "budget", "tuning", "feature_extractor", "test_on")
"""Settings of a suite that its numbers depend on, whatever the arm; and of the primary comparison, metric and step."""
CELL = (
    "arm", "game", "task_distribution", "network", "gan_loss", "meta_learner", "regularisers", "augmentations", "control", "replicate",
    "shots", "configuration",
)  # fmt: skip
"""Columns that tell the cells of a suite apart; the name of a suite does not."""
_RANKS = {"ok": 0, "diverged": 0, "failed": 1, "oom": 1, "timeout": 1, "skipped": 2, "infra": 3, "running": 4, "planned": 5}
"""Lowest first. What a machine did to a trial gives way to what the trial did on another."""
_ENDED = 1  # last rank of a cell that has run to its end


def as_folders(results: Folders) -> tuple[Path, ...]:
    """The folders that are meant, each once.

    Raises:
        UsageError: there is none.
    """
    folders = tuple(dict.fromkeys(Path(one) for one in ([results] if isinstance(results, str | Path) else results)))
    if not folders:
        raise UsageError("name at least one results folder, got none")
    return folders


def recorded_suite(results: Path) -> Suite:
    """The suite of a results folder, as it was run.

    Raises:
        StoreError: it is not a results folder, or damaged.
    """
    if not (results / "suite.json").is_file():
        raise StoreError(f"{results}: no suite.json here, so this is not a results folder; check the path, or run a suite to make one")
    try:
        return Suite.from_dict(read_json(results / "suite.json"))
    except SuiteError as error:
        raise StoreError(f"{results / 'suite.json'}: {error}; run the suite again, which writes it anew") from error


def united_suite(folders: Sequence[Path]) -> Suite:
    """One suite with everything that the suites of ``folders`` compare; question and name are those of the first.

    Raises:
        StoreError: one is not a results folder, or damaged.
        UsageError: they differ in what all numbers depend on, or in what one name stands for.
    """
    suites = [recorded_suite(folder).to_dict() for folder in folders]
    if len(suites) == 1:
        return Suite.from_dict(suites[0])
    merged, first = dict(suites[0]), folders[0]
    for folder, suite in zip(folders[1:], suites[1:], strict=True):
        _refuse_other_protocol((first, merged), (folder, suite))
        for family in (*LISTS, *SETS):
            merged[family] = _merged(family, (first, merged[family]), (folder, suite[family]))
        merged["controls"] = _merged_lists(merged["controls"], suite["controls"])
        merged["per_task_distribution"] = {**suite["per_task_distribution"], **merged["per_task_distribution"]}
        merged["exclude"] = [*merged["exclude"], *(one for one in suite["exclude"] if one not in merged["exclude"])]
        merged["replicates"] = max(merged["replicates"], suite["replicates"])
    _refuse_other_data(folders)
    return Suite.from_dict(merged)


def united(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of several frames with one trial for each cell, in the order of the plans, one after the other.

    Args:
        parts: frames of :func:`bench.load_results` or :func:`bench.frame.ledger_frame`, all alike.
    """
    import pandas as pd

    place_of = {chosen: place for place, chosen in enumerate(_chosen(parts))}
    kept, places = [], []
    for number, part in enumerate(parts):
        own = {trial_id: place for (holder, trial_id), place in place_of.items() if holder == number}
        place_R = part["trial_id"].astype(object).map(own)
        kept.append(part[place_R.notna()])
        places.append(place_R[place_R.notna()].astype("int64"))
    columns = {name: _joined([part[name] for part in kept]) for name in parts[0].columns}
    if "suite" in columns and len(columns["suite"]):
        columns["suite"] = pd.Categorical([str(parts[0]["suite"].iloc[0])] * len(columns["suite"]))
    order = pd.concat(places, ignore_index=True).argsort(kind="stable")
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def disagreements(parts: Sequence[pd.DataFrame]) -> list[list[tuple[int, str]]]:
    """Cells that ran to their end in several frames of measurements, with other numbers: (place of the frame, trial id) of each."""
    found: dict[tuple[Any, ...], list[tuple[int, int, str]]] = {}
    for number, part in enumerate(parts):
        digests = _digests(part)
        for cell, trial_id, rank in _cells(part):
            if rank <= _ENDED:
                found.setdefault(cell, []).append((digests[trial_id], number, trial_id))
    return [[(number, trial_id) for _, number, trial_id in runs] for runs in found.values() if len({digest for digest, _, _ in runs}) > 1]


def first_difference(name: str, one: object, other: object) -> tuple[str, object, object]:
    """The innermost setting in which two values differ, by its dotted name."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                return first_difference(f"{name}.{key}", one.get(key), other.get(key))
    return name, one, other


# ------------------------------------------------------------------ suites
_Named = tuple[Path, Mapping[str, Any]]


def _refuse_other_protocol(one: _Named, other: _Named) -> None:
    settings = []
    for _, suite in (one, other):
        settings.append({key: suite.get(key) for key in MUST_AGREE})
        settings[-1]["primary"] = {key: suite["primary"][key] for key in ("metric", "adaptation_step")}
    shared = set(one[1]["per_task_distribution"]) | set(other[1]["per_task_distribution"])
    shared &= set.intersection(*({component["label"] for component in suite["task_distributions"]} for _, suite in (one, other)))
    for (_, suite), kept in zip((one, other), settings, strict=True):
        kept["per_task_distribution"] = {label: suite["per_task_distribution"].get(label) for label in sorted(shared)}
    for key in settings[0]:
        _refuse_unequal(key, (one[0], settings[0][key]), (other[0], settings[1][key]))


def _refuse_unequal(name: str, one: tuple[Path, Any], other: tuple[Path, Any]) -> None:
    if one[1] != other[1]:
        where, *values = first_difference(name, one[1], other[1])
        told = " and ".join(f"{json.dumps(value)} ({folder})" for value, (folder, _) in zip(values, (one, other), strict=True))
        raise UsageError(f"the results folders differ in {where}: {told}; one report needs one protocol, so report them apart")


def _merged(family: str, one: tuple[Path, list[Any]], other: tuple[Path, list[Any]]) -> list[Any]:
    """The components of both, in order; one label stands for one component, or the arms of two would be taken for one."""
    known = {_label(item): item for item in one[1]}
    for item in other[1]:
        label = _label(item)
        _refuse_unequal(f"{family}: {label or 'none'}", (one[0], known.setdefault(label, item)), (other[0], item))
    return list(known.values())


def _label(item: Any) -> str:
    """Of a component, or of an ordered set of some."""
    return str(item["label"]) if isinstance(item, Mapping) else " + ".join(str(member["label"]) for member in item)


def _merged_lists(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {key: list(dict.fromkeys([*one.get(key, ()), *other.get(key, ())])) for key in {**one, **other}}


def _refuse_other_data(folders: Sequence[Path]) -> None:
    """Equal settings may have read other files."""
    known: dict[str, tuple[Path, str]] = {}
    for folder in folders:
        identities = read_identities(folder)
        for row in read_ledger(folder).planned().values():
            place, data = str(row.cell.get("task_distribution")), identities.get(row.trial_id, {}).get("data")
            if data:
                _refuse_unequal(f"the data of {place}", known.setdefault(place, (folder, data)), (folder, data))


# ------------------------------------------------------------------ cells
def _cells(part: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], str, int]]:
    """What tells each cell apart, its trial, and the rank of what became of it."""
    columns = ["trial_id", "status", *(column for column in CELL if column in part)]
    for trial_id, status, *cell in part.drop_duplicates("trial_id")[columns].itertuples(index=False, name=None):
        yield tuple(cell), str(trial_id), _RANKS[status]


def _chosen(parts: Sequence[pd.DataFrame]) -> list[tuple[int, str]]:
    """The place of the frame and the trial id that each cell counts with."""
    best: dict[tuple[Any, ...], tuple[int, int, str]] = {}
    for number, part in enumerate(parts):
        for cell, trial_id, rank in _cells(part):
            if cell not in best or rank < best[cell][0]:
                best[cell] = rank, number, trial_id
    return [(number, trial_id) for _, number, trial_id in best.values()]


def _joined(columns: Sequence[pd.Series]) -> Any:
    import pandas as pd
    from pandas.api.types import union_categoricals

    categorical = all(isinstance(column.dtype, pd.CategoricalDtype) for column in columns)
    return union_categoricals(list(columns)) if categorical else pd.concat(columns, ignore_index=True)


def _digests(part: pd.DataFrame) -> dict[str, int]:
    """A hash of the measurements of each trial, whatever the order of their rows."""
    import pandas as pd

    measured = part[["split", "task_id", "outer_step", "adaptation_step", "metric", "value"]]
    sums = pd.util.hash_pandas_object(measured, index=False).groupby(part["trial_id"].to_numpy()).sum()
    return {str(trial_id): int(total) for trial_id, total in sums.items()}
