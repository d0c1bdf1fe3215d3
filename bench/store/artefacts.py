"""Files of one trial: checkpoints as safetensors, samples as arrays, progress as JSON. Nothing in them can execute."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.errors import StoreError
from bench.store.files import LARGEST_FILE, TEMPORARY, read_file, unreadable, write_atomic

_LARGEST_NOTE = 1 << 16  # bytes; a worker notes a few numbers


def save_tree(path: Path | str, tensors: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``{name: tensor}`` (NumPy arrays, torch tensors or both, any shapes) as one safetensors file, atomically.

    Args:
        path: file to replace.
        tensors: flat names, see :func:`bench.trees.flatten`.
        metadata: short texts stored beside the tensors, see :func:`tree_metadata`.

    Raises:
        StoreError: the file can't be written.
    """
    notes = dict(metadata) if metadata else None
    if all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
        from safetensors.numpy import save as save_arrays

        content = save_arrays({name: np.ascontiguousarray(a).reshape(a.shape) for name, a in tensors.items()}, metadata=notes)
    else:
        import torch
        from safetensors.torch import save as save_tensors

        # The format refuses views and shared memory: every leaf is stored as its own contiguous copy.
        own = {name: torch.as_tensor(leaf).detach().cpu().clone(memory_format=torch.contiguous_format) for name, leaf in tensors.items()}
        content = save_tensors(own, metadata=notes)
    write_atomic(path, content)


def load_tree(path: Path | str, *, framework: Literal["torch", "numpy"] = "torch") -> dict[str, Any]:
    """``{name: tensor}`` as :func:`save_tree` wrote it, as torch tensors on the CPU or as NumPy arrays.

    Raises:
        StoreError: the file is missing or damaged.
    """
    content = read_file(Path(path))
    from safetensors import SafetensorError

    try:
        if framework == "numpy":
            from safetensors.numpy import load as load_arrays

            return dict(load_arrays(content))
        from safetensors.torch import load as load_tensors

        return dict(load_tensors(content))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(Path(path), "a safetensors file", error) from error


def tree_metadata(path: Path | str) -> dict[str, str]:
    """The texts stored beside the tensors, without reading these.

    Raises:
        StoreError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except OSError as error:
        raise unreadable(Path(path), error) from error
    except SafetensorError as error:
        raise _damaged(Path(path), "a safetensors file", error) from error


def save_samples(path: Path | str, arrays: Mapping[str, Any]) -> None:
    """Write named arrays of numbers or text as one ``.npz`` file, atomically and without pickles.

    Raises:
        StoreError: an array holds Python objects, or the file can't be written.
    """
    plain = {name: np.asarray(values) for name, values in arrays.items()}
    for name, values in plain.items():
        if values.dtype.hasobject:
            raise StoreError(f"{path}: array {name!r} holds Python objects; store numbers, or text of one length (dtype 'U')")
    # np.savez reserves two names for its own arguments and stamps the time into the file.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in plain.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)
    write_atomic(path, buffer.getvalue())


def load_samples(path: Path | str) -> dict[str, np.ndarray]:
    """Arrays that :func:`save_samples` wrote; a file that holds pickles is refused.

    Raises:
        StoreError: the file is missing or damaged, or holds anything but plain arrays.
    """
    content = read_file(Path(path))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            expanded = sum(member.file_size for member in archive.infolist())
        if expanded > LARGEST_FILE:  # a kilobyte of deflated zeros is a megabyte of them
            raise ValueError(f"its arrays have {expanded:,} bytes, more than {LARGEST_FILE:,}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    # NumPy evaluates headers by Python's parser and trusts their shapes, so that each of these has been seen.
    except (
        ArithmeticError,
        EOFError,
        KeyError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _damaged(Path(path), "an .npz file of plain arrays", error) from error


def write_progress(path: Path | str, progress: Mapping[str, Any]) -> None:
    """Leave a small JSON note that the driver may read. Not synced, and a note that can't be written is dropped: it is no record."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(dict(progress)))
        os.replace(temporary, path)


def read_progress(path: Path | str) -> dict[str, Any]:
    """The last note, or ``{}`` where there is none that can be read."""
    try:
        note = json.loads(read_file(Path(path), most=_LARGEST_NOTE))
    except (StoreError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _damaged(path: Path, kind: str, error: Exception) -> StoreError:
    return StoreError(f"{path}: not {kind} that can be read ({error}); delete it and run the suite again, the trial then makes it anew")
