"""Finding data sets in the folders where torchvision keeps them, or having torchvision download them there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contracts import DataError


def data_folders(root: str | None) -> list[Path]:
    """Where data are looked for, in this order: ``root``, and the folder that BENCH_DATA names."""
    return [Path(folder).expanduser() for folder in (root, os.environ.get("BENCH_DATA")) if folder]


def find(title: str, files: Sequence[str], root: str | None, *, download: Callable[[Path], object] | None, archive: str = "") -> Path:
    """The first data folder that holds all ``files``; without one, what ``download`` makes of the first data folder.

    Args:
        title: name of the data set, for messages.
        files: what must be there, relative to a data folder.
        root: folder that is looked at before BENCH_DATA.
        download: called with a folder where nothing is found; None where downloads are not allowed.
        archive: what a download unpacks; '' where it gets ``files`` as they are.

    Raises:
        DataError: the files are in no data folder, or the download fails.
    """
    folders = data_folders(root)
    for folder in folders:
        if not _missing(folder, files):
            return folder.resolve()
    if download is None:
        looked = [f"in {folder}, which lacks {', '.join(_missing(folder, files))}" for folder in folders]
        unpacked = f", which also checks and unpacks {archive} that is there already" if archive else ""
        raise DataError(
            f"{title} is missing; looked {'; '.join(looked) or 'nowhere, as neither root nor BENCH_DATA is set'}. "
            f"Put {', '.join(files)}, which are torchvision's names, into a folder, and give it as root or set BENCH_DATA to it; "
            f"or allow the download (download: true){unpacked}"
        )
    if not folders:
        raise DataError(f"{title} has no folder to be downloaded into; give root, or set BENCH_DATA to a folder for data")
    folder = folders[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download(folder)
    except (OSError, RuntimeError) as error:
        told = " ".join(str(error).split())  # torchvision's text has several lines
        raise DataError(
            f"could not download {title} into {folder}: {told}; fetch {', '.join(files)} elsewhere, put them there, "
            "or give their folder as root or BENCH_DATA"
        ) from error
    if missing := _missing(folder, files):
        raise DataError(f"the download of {title} into {folder} left out {', '.join(missing)}; delete what is there and try again")
    return folder.resolve()


def _missing(folder: Path, files: Sequence[str]) -> list[str]:
    return [file for file in files if not (folder / file).exists()]
