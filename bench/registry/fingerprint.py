"""What only an instance of a task distribution knows, in a process of its own: planning never imports a plugin.

``python -m bench.registry.fingerprint '["omniglot", {"size": 28}]' --plugins builtin --output FILE``
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import BenchError, ContractError
from bench.registry.loading import reason_of
from bench.registry.local import LocalFile
from bench.registry.registry import discover


def facts(name: str, parameters: dict[str, Any], *, asked: str, plugins: str, local: Sequence[LocalFile] = ()) -> dict[str, Any]:
    """``{"answer": ..., "error": ..., "rule": ...}``: the ``fingerprint`` of its data, a text, or the fields of its ``sample_spec``.

    ``rule`` is true where the hyperparameters break a rule of the component, so that no data would mend it.
    """
    try:
        tasks = discover(plugins, local=local).create("task_distributions", name, parameters)
        return {"answer": str(tasks.fingerprint()) if asked == "fingerprint" else asdict(tasks.sample_spec), "error": "", "rule": False}
    except BenchError as error:
        return {"answer": None, "error": str(error), "rule": isinstance(error, ContractError)}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # plugin boundary
        return {"answer": None, "error": reason_of(error), "rule": False}


def main() -> None:
    """Write the record and leave at once: threads and exit handlers of the plugin get no say."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry.fingerprint", description="Data and samples of a task distribution.")
    parser.add_argument("spelling", type=json.loads, help="JSON: [name, {hyperparameter: value}]")
    parser.add_argument("--asked", choices=("fingerprint", "sample_spec"), default="fingerprint", help="what is wanted of it")
    parser.add_argument("--plugins", required=True, help="entry points that may be used, separated by commas")
    parser.add_argument("--local", type=json.loads, default=[], help="JSON: local files that may be used")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    local = [LocalFile.from_dict(one) for one in options.local]
    found = facts(*options.spelling, asked=options.asked, plugins=options.plugins, local=local)
    options.output.write_text(json.dumps(found), encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    main()
