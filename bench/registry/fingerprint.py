"""Content hash of a task distribution's data, in a process of its own: planning never imports a plugin.

``python -m bench.registry.fingerprint '["omniglot", {"size": 28}]' --plugins builtin --output FILE``
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.registry.loading import reason_of
from bench.registry.registry import discover


def fingerprint(name: str, parameters: dict[str, Any], *, plugins: str) -> dict[str, str]:
    """``{"fingerprint": ..., "error": ...}``, one of them empty; both where everything is in the code."""
    try:
        return {"fingerprint": str(discover(plugins).create("task_distributions", name, parameters).fingerprint()), "error": ""}
    except BenchError as error:
        return {"fingerprint": "", "error": str(error)}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # plugin boundary
        return {"fingerprint": "", "error": reason_of(error)}


def main() -> None:
    """Write the record and leave at once: threads and exit handlers of the plugin get no say."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry.fingerprint", description="Content hash of a task distribution's data.")
    parser.add_argument("spelling", type=json.loads, help="JSON: [name, {hyperparameter: value}]")
    parser.add_argument("--plugins", required=True, help="entry points that may be used, separated by commas")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.write_text(json.dumps(fingerprint(*options.spelling, plugins=options.plugins)), encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    main()
