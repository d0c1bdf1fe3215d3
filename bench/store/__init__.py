"""The truth on disk: append-only ledger, Parquet segments, artefacts of a trial.

``files`` and ``artefacts`` write single files; ``ledger`` and ``segments`` define the two record formats; ``drivers`` knows who
is at work, ``ledger_file`` holds the ledger open, and ``folder`` joins them into what a driver writes to.
"""

from bench.store.artefacts import load_samples, load_tree, read_progress, save_samples, save_tree, tree_metadata, write_progress
from bench.store.files import read_file, read_json, unwritable, write_atomic
from bench.store.folder import Store, check_outcome
from bench.store.identities import read_identities, write_identities
from bench.store.ledger import COSTS, OUTCOMES, ROW_COLUMNS, STATUSES, TUNING_COSTS, Ledger, TrialRow, read_ledger
from bench.store.runs import append_run, read_runs
from bench.store.segments import MEASUREMENT_COLUMNS, SEGMENTS, is_whole, read_segment

__all__ = [
    "COSTS",
    "MEASUREMENT_COLUMNS",
    "OUTCOMES",
    "ROW_COLUMNS",
    "SEGMENTS",
    "STATUSES",
    "TUNING_COSTS",
    "Ledger",
    "Store",
    "TrialRow",
    "append_run",
    "check_outcome",
    "is_whole",
    "load_samples",
    "load_tree",
    "read_file",
    "read_identities",
    "read_json",
    "read_ledger",
    "read_progress",
    "read_runs",
    "read_segment",
    "save_samples",
    "save_tree",
    "tree_metadata",
    "unwritable",
    "write_atomic",
    "write_identities",
    "write_progress",
]
