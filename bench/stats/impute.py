"""Caps for trials that have no value: nothing is averaged over survivors.

A trial that diverged, failed, or ran out of memory or time counts as a constant generator, task by task. Trials that are still to run,
or whose infrastructure broke, say nothing about their learner and stay missing; the counts show them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.contracts import Output
from bench.stats.crossed import require
from bench.stats.direction import Outputs, as_loss, reading

CAPPED = ("diverged", "failed", "oom", "timeout")
"""Statuses that count against the learner."""
CELL = ("suite", "game", "task_distribution", "shots")
"""Columns within which tasks and ceilings are the same."""
MEASUREMENT = ("split", "task_id", "outer_step", "adaptation_step", "metric", "value", "ceiling", "n_real", "n_fake", "fingerprint")
"""Columns of one measurement; the others belong to its trial."""
NEEDED = ("trial_id", "status", "split", "task_distribution", "task_id", "metric", "adaptation_step", "value", "ceiling")


def with_caps(frame: pd.DataFrame, *, outputs: Outputs | None = None) -> pd.DataFrame:
    """Fill the meta-test values that trials owe, and mark them in a column ``imputed``.

    Per task and metric of a task distribution the cap is the ceiling (a constant generator's value, the worst one that any row
    states) or, without one, the worst value of any trial at adaptation step 0. For a metric that is better higher it is the worse of
    the two, because a constant generator can have full coverage. A cap replaces undefined values of any trial, and adds the rows that
    a trial of status diverged, failed, oom or timeout lacks: those that another trial of the same distribution has.

    Args:
        frame: rows as ``bench.load_results`` gives them, all arms together.
        outputs: how each metric reads; a name that is not in it is better lower.

    Returns:
        A new frame; rows of other splits are as before, and a row whose cap is unknown keeps its undefined value.

    Raises:
        MetricError: a column is missing.
    """
    require(frame, NEEDED, what="with_caps")
    table = frame.assign(imputed=False).reset_index(drop=True)
    if "outer_step" in table.columns:
        table = table.astype({"outer_step": "Int64"})  # a row that is added has none
    measured = table[(table["split"] == "meta-test") & table["metric"].notna()]
    if measured.empty:
        return table
    keys = [column for column in CELL if column in table.columns]
    caps = _caps(measured, [*keys, "task_id", "metric"], outputs)
    table = _fill_undefined(table, measured, caps)
    owed = _owed_rows(table, measured, caps, keys)
    if owed.empty:
        return table
    # The one empty row that stood for a trial without measurements has done its duty.
    placeholder = table["metric"].isna() & table["trial_id"].isin(set(owed["trial_id"]))
    return pd.concat([table[~placeholder], owed.astype(table.dtypes.to_dict())], ignore_index=True)


def _caps(measured: pd.DataFrame, key: list[str], outputs: Outputs | None) -> pd.Series:
    """Cap by ``key``, NaN where unknown."""
    ceilings = _worst(measured, key, "ceiling", outputs)
    starts = _worst(measured[measured["adaptation_step"] == 0], key, "value", outputs)
    index = pd.MultiIndex.from_frame(measured[key].drop_duplicates())
    ceilings, starts = ceilings.reindex(index), starts.reindex(index)
    higher = np.array([reading(str(metric), outputs).better == "higher" for metric in index.get_level_values("metric")], dtype=np.bool_)
    worse = np.where(higher, np.fmin(ceilings.to_numpy(), starts.to_numpy()), ceilings.to_numpy())
    return pd.Series(np.where(np.isnan(worse), starts.to_numpy(), worse), index=index)


def _worst(rows: pd.DataFrame, key: list[str], column: str, outputs: Outputs | None) -> pd.Series:
    """The worst finite value of ``column`` by ``key``; the last one of equally bad ones."""
    numbers = _numbers(rows, column)
    known = np.isfinite(numbers)
    rows, numbers = rows.loc[known, key], numbers[known]
    groups = rows.groupby(key, observed=True, sort=False, dropna=False)
    group_of = groups.ngroup().to_numpy()
    loss = np.empty(len(numbers))
    for metric, places in rows.groupby("metric", observed=True, sort=False).indices.items():
        output: Output = reading(str(metric), outputs)
        loss[places] = as_loss(numbers[places], better=output.better, ideal=output.ideal)
    worst = np.full(groups.ngroups, -np.inf)
    np.maximum.at(worst, group_of, loss)
    place_of = np.zeros(groups.ngroups, dtype=np.int64)
    places = np.flatnonzero(loss == worst[group_of])
    np.maximum.at(place_of, group_of[places], places)
    return pd.Series(numbers[place_of], index=pd.MultiIndex.from_frame(rows.iloc[place_of]), dtype=np.float64)


def _numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    return np.asarray(pd.to_numeric(rows[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _fill_undefined(table: pd.DataFrame, measured: pd.DataFrame, caps: pd.Series) -> pd.DataFrame:
    values = _numbers(table, "value").copy()  # pandas lends a read-only view
    rows = measured.index[~np.isfinite(_numbers(measured, "value"))]
    filled = caps.reindex(pd.MultiIndex.from_frame(measured.loc[rows, list(caps.index.names)])).to_numpy()
    values[rows] = filled
    imputed = np.zeros(len(table), dtype=np.bool_)
    imputed[rows] = ~np.isnan(filled)
    return table.assign(value=values, imputed=imputed)


def _owed_rows(table: pd.DataFrame, measured: pd.DataFrame, caps: pd.Series, keys: list[str]) -> pd.DataFrame:
    place = ["task_id", "metric", "adaptation_step"]
    trials = table[table["status"].isin(CAPPED)].drop_duplicates("trial_id")
    if trials.empty:
        return trials
    trials = trials[[column for column in table.columns if column not in MEASUREMENT and column != "imputed"]]
    sizes = [column for column in ("n_real", "n_fake", "fingerprint") if column in table.columns]
    due = measured[[*keys, *place, *sizes]].drop_duplicates([*keys, *place])
    owed = trials.merge(due, on=keys, how="inner")
    have = pd.MultiIndex.from_frame(measured.loc[measured["trial_id"].isin(trials["trial_id"]), ["trial_id", *place]])
    owed = owed[~pd.MultiIndex.from_frame(owed[["trial_id", *place]]).isin(have)]
    capped = caps.reindex(pd.MultiIndex.from_frame(owed[list(caps.index.names)])).to_numpy()
    owed = owed.assign(split="meta-test", value=capped, imputed=True)
    known: pd.DataFrame = owed[~np.isnan(capped)].reindex(columns=table.columns)
    return known
