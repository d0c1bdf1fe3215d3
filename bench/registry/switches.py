"""Plugins that the user has switched off: a list of names in a file, read and written without loading any plugin."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from bench.errors import UsageError, did_you_mean


def switches_file() -> Path:
    """``disabled-plugins`` in ``$BENCH_CONFIG_DIR``, ``$XDG_CONFIG_HOME/bench`` or ``~/.config/bench``: one name a line."""
    if os.environ.get("BENCH_CONFIG_DIR"):
        return Path(os.environ["BENCH_CONFIG_DIR"]) / "disabled-plugins"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "bench" / "disabled-plugins"


def switched_off() -> set[str]:
    """Names of entry points that are off; none where there is no file.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        return set(switches_file().read_text(encoding="utf-8").split())
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{switches_file()} cannot be read ({error}): mend or remove it") from None


def switch(name: str, *, on: bool) -> tuple[str, ...]:
    """Switch a plugin on or off for all later commands, and return the entry points that this concerns.

    Args:
        name: of an entry point, or of a distribution, which stands for all of its entry points.
        on: whether it is used.

    Raises:
        UsageError: nothing of that name is installed or off, or the file cannot be written.
    """
    off = switched_off()
    points = importlib.metadata.entry_points(group="bench")
    meant = {point.name for point in points if name in (point.name, point.dist.name if point.dist else "")}
    meant |= {name} & off if on else set()  # what was uninstalled while it was off
    if not meant:
        known = {known for point in points for known in (point.name, point.dist.name if point.dist else "")}
        raise UsageError(f"no plugin {name!r} is installed.{did_you_mean(name, known)} Installed: {', '.join(sorted(known - {''}))}")
    left = sorted(off - meant if on else off | meant)
    place = switches_file()
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text("".join(f"{one}\n" for one in left), encoding="utf-8")
        os.replace(partial, place)
    except OSError as error:
        raise UsageError(f"{place} cannot be written ({error.strerror}): set BENCH_CONFIG_DIR to a folder of yours") from None
    return tuple(sorted(meant))
