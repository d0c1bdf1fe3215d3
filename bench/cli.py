"""The ``bench`` command: verbs -> one call each -> exit code. Imports nothing heavy until a verb needs it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from bench.errors import BenchError, DataError, ExitCode, UsageError

WATCH_SECONDS = 5.0
REPORT_SECONDS = 60.0  # a report takes longer than a status, and the run wants the cores
EPILOG = """\
examples:
  bench run suites/fewshot.yaml                 run what is missing, then write results/fewshot/report.html
  bench run suites/fewshot.yaml --quick         one short pass: does everything work?
  bench run suites/fewshot.yaml -k 'reptile and not glyphs' --jobs 4
  bench plan suites/fewshot.yaml                cells, what is cached, time, disk, and what the replicates can decide
  bench adapt results/fewshot -k 'arm=reptile and glyphs and replicate=0' --images drawings
                                                draw what looks like your own images
  bench plugins list                            what is installed, and what is broken and why

exit codes: 0 ok (diverged and skipped are outcomes), 1 a cell or an audit failed, 2 interrupted, 3 broken plugin or internal error,
4 usage or invalid suite, 5 nothing selected, 6 regression found
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Usage errors have the exit code of usage errors."""
        raise UsageError(f"{message}\n{self.format_usage().strip()}\nSee: {self.prog} --help")


class _Version(argparse.Action):
    """Looks the version up only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, **others: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=others.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *others: Any) -> None:
        """Print and leave."""
        from importlib.metadata import version

        print(f"bench {version('metagan-bench')}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the ``bench`` command; returns the exit code."""
    try:
        options = _parsed(arguments)
        verb: Callable[[argparse.Namespace], int] = options.verb
        return int(verb(options))
    except BenchError as error:
        print(f"bench: {error}", *getattr(error, "__notes__", ()), sep="\n  ", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; nothing is wrong here
        return int(ExitCode.OK)
    except Exception:  # everything a user can cause is a BenchError, so this is ours
        traceback.print_exc()
        print("bench: internal error; please report it with the text above", file=sys.stderr)
        return int(ExitCode.BROKEN_PLUGIN)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="bench",
        description="Which meta-learner, with which GAN loss, adapts best to unseen few-shot generation tasks?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)

    run = _verb(
        verbs,
        "run",
        _run,
        "run what is missing of a suite, then report",
        "bench run suites/smoke.yaml\n"
        "bench run suites/fewshot.yaml --jobs 8 --output results/monday\n"
        "bench run suites/omniglot.yaml -k reptile",
    )
    _selects(run)
    _runs(run)
    run.add_argument("--debug", action="store_true", help="one cell in the foreground, exceptions shown; nothing enters the ledger")

    retry = _verb(
        verbs,
        "retry",
        _run,
        "run cells once more that failed, ran out of memory or time, and what is missing",
        "bench retry suites/fewshot.yaml --failed\nbench retry suites/fewshot.yaml --timed-out --timeout 3600 -k maml",
    )
    _selects(retry)
    _runs(retry)
    for flag, status, what in (
        ("--failed", "failed", "raised an exception"),
        ("--oom", "oom", "ran out of memory"),
        ("--timed-out", "timeout", "were killed at their time limit"),
    ):
        retry.add_argument(flag, dest="again", action="append_const", const=status, help=f"cells that {what} (default: all three kinds)")

    plan = _verb(
        verbs, "plan", _plan, "what a run would cost; runs nothing", "bench plan suites/fewshot.yaml\nbench plan suites/fewshot.yaml --json"
    )
    _selects(plan)
    plan.add_argument("--jobs", type=_positive, metavar="N", help="cells at the same time (default: cores of this machine)")
    plan.add_argument("--json", action="store_true", help="print JSON")

    validate = _verb(
        verbs,
        "validate",
        _validate,
        "check a suite; every problem at once, and where its arms are not equal",
        "bench validate suites/fewshot.yaml",
    )
    validate.add_argument("suite", type=Path)
    validate.add_argument("--json", action="store_true", help="print the resolved suite as JSON")
    _allows(validate)

    schema = _verb(verbs, "schema", _schema, "JSON Schema of suites, for editors", "bench schema > suite.schema.json")
    schema.add_argument("suite", type=Path, nargs="?", help="with the local plugins of this suite")
    schema.add_argument("--json", action="store_true", help="no change: a schema is JSON")
    _allows(schema)

    report = _verb(
        verbs,
        "report",
        _report,
        "write tables, figures and the page of a results folder, or of several as one",
        "bench report results/fewshot\nbench report results/fewshot --x flops --open\nbench report results/fewshot --format md,latex\n"
        "bench report results/fewshot --watch\nbench report monday/fewshot tuesday/fewshot -o results/both",
    )
    report.add_argument("results", type=Path, nargs="+", help="results folder; several of one protocol are reported as one")
    report.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder to write (default: the results folder; needed where there are several)"
    )
    report.add_argument(
        "--format",
        dest="formats",
        type=_words,
        metavar="LIST",
        help="html,md,latex,csv,pdf,gif: the page and its text, tables as Markdown, LaTeX, CSV, figures as PDF, samples through "
        "adaptation as GIF (default: all, a run leaves the first four); figures as PNG and SVG come with each",
    )
    report.add_argument(
        "--x",
        choices=("steps", "gradients", "samples", "flops", "seconds"),
        help="what stands under quality and under training curves (default: each cost beside the others, and outer steps)",
    )
    report.add_argument("--open", action="store_true", help="show the page in a browser")
    report.add_argument("--watch", action="store_true", help="write anew every minute until every cell has ended (Ctrl-C leaves)")
    report.add_argument("--json", action="store_true", help="print the files written as JSON")

    audit = _verb(
        verbs,
        "audit",
        _audit,
        "test the harness itself: its intervals, tests and measures, where the truth is known",
        "bench audit\nbench audit results/fewshot --quick\nbench audit --output results/reference/audit --certify",
    )
    audit.add_argument(
        "results", type=Path, nargs="*", help="results folders whose cells are relabelled (default: those in results/reference, if any)"
    )
    audit.add_argument(
        "-o", "--output", type=Path, default=Path("results/audit"), metavar="DIR", help="folder to write (default: results/audit)"
    )
    audit.add_argument("--seed", type=_count, default=0, metavar="N", help="of every random stream (default: 0)")
    audit.add_argument("--quick", action="store_true", help="few draws, a minute instead of ten: finds gross faults only")
    audit.add_argument(
        "--certify", action="store_true", help="for developers: make this the certificate that ships with the package and reports cite"
    )
    audit.add_argument("--json", action="store_true", help="print the certificate as JSON")

    show = _verb(
        verbs,
        "show",
        _show,
        "the answer, the table and small curves, in the terminal",
        "bench show results/fewshot\nbench show monday/fewshot tuesday/fewshot",
    )
    show.add_argument("results", type=Path, nargs="+", help="results folder; several of one protocol are shown as one")

    progress = _verb(
        verbs,
        "status",
        _status,
        "how far a run is, while it goes on or after it",
        "bench status results/fewshot\nbench status results/fewshot --watch",
    )
    progress.add_argument("results", type=Path)
    progress.add_argument("--watch", action="store_true", help="print anew every few seconds until every cell has ended (Ctrl-C leaves)")
    progress.add_argument("--json", action="store_true", help="print JSON")

    reasons = _verb(
        verbs,
        "why",
        _why,
        "why a cell would run or not: its identity beside those that have run",
        "bench why results/fewshot\nbench why results/fewshot 692ff13\n"
        "bench why results/fewshot -k 'reptile and replicate=0' --suite suites/fewshot.yaml",
    )
    reasons.add_argument("results", type=Path)
    reasons.add_argument("cell", nargs="?", default="", metavar="CELL", help="trial id, or its beginning (default: every cell)")
    reasons.add_argument("-k", dest="select", default="", metavar="EXPR", help="cells whose labels match")
    reasons.add_argument("--suite", type=Path, help="the suite as it is now (default: the one that the folder was made from)")
    reasons.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where it would run (default: cpu)")
    reasons.add_argument("--json", action="store_true", help="print JSON")
    _allows(reasons)

    cleaning = _verb(
        verbs,
        "clean",
        _clean,
        "what a results folder could do without; deletes it with --yes",
        "bench clean results/fewshot\nbench clean results/fewshot --checkpoints --yes",
    )
    cleaning.add_argument("results", type=Path)
    cleaning.add_argument("--checkpoints", action="store_true", help="those of finished trials, too (bench adapt needs them)")
    cleaning.add_argument("--yes", action="store_true", help="delete it")

    compare = _verb(
        verbs,
        "compare",
        _compare,
        "two results folders of a suite, before and after: what became worse (exit code 6)",
        "bench compare results/monday results/tuesday\n"
        "bench compare main/fewshot branch/fewshot --markdown > comment.md\n"
        "bench compare before after --all-metrics",
    )
    compare.add_argument("before", type=Path, help="results folder of another commit, plugin version or machine")
    compare.add_argument("after", type=Path, help="results folder that must not be worse")
    compare.add_argument("--all-metrics", action="store_true", help="the other metrics, too; only the primary one decides the exit code")
    compare.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    compare.add_argument("--json", action="store_true", help="print JSON")

    adapt = _verb(
        verbs,
        "adapt",
        _adapt,
        "adapt a trained model to your own images, and draw samples",
        "bench adapt results/fewshot 692ff13 --images drawings --shots 5 --steps 25 --out adapted\n"
        "bench adapt results/fewshot -k 'arm=reptile and glyphs and replicate=0' --images drawings\n"
        "bench adapt results/fewshot 692ff13 --images photos --fit crop --invert no --samples 64",
    )
    adapt.add_argument("results", type=Path, help="results folder with its trials/")
    adapt.add_argument("trial", nargs="?", default="", metavar="TRIAL", help="id of a finished trial, or its beginning")
    adapt.add_argument(
        "-k", dest="select", default="", metavar="EXPR", help="the trial whose labels match: words with and, or, not, brackets"
    )
    adapt.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of PNG or JPEG files, any size; taken by name")
    adapt.add_argument("--shots", type=_positive, metavar="N", help="images to adapt to (default: shots of the trial's protocol)")
    adapt.add_argument("--steps", type=_count, default=25, metavar="N", help="adaptation steps (default: 25)")
    adapt.add_argument("--samples", type=_positive, default=32, metavar="N", help="samples to draw (default: 32)")
    adapt.add_argument("--seed", type=_count, default=0, metavar="N", help="of the noise (default: 0)")
    adapt.add_argument(
        "--fit", choices=("pad", "crop"), default="pad", help="to the shape of a sample: pad with the ground (default), or crop the middle"
    )
    adapt.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="turn dark ink on bright ground around; auto (default): where the border's brightness is not that of the trial's samples",
    )
    adapt.add_argument(
        "--scale", type=_positive, metavar="N", help="side of each pixel in samples/*.png (default: about 128 pixels an image)"
    )
    adapt.add_argument(
        "-o", "--output", "--out", type=Path, default=Path("adapted"), metavar="DIR", help="folder to write (default: adapted)"
    )
    adapt.add_argument("--force", action="store_true", help="write into a folder that holds other things")
    adapt.add_argument("--suite", type=Path, help="the suite that was run, where the trial is made of its local plugins")
    adapt.add_argument("--json", action="store_true", help="print what was done as JSON")
    _allows(adapt)

    plugins = verbs.add_parser("plugins", help="what is installed", description="What is installed, and what is broken and why.")
    kinds = plugins.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)
    listing = _verb(kinds, "list", _plugins_list, "every component by family", "bench plugins list\nbench plugins list --json")
    listing.add_argument("--json", action="store_true", help="print JSON")
    info = _verb(
        kinds, "info", _plugins_info, "a component's hyperparameters, or a plugin", "bench plugins info maml\nbench plugins info builtin"
    )
    info.add_argument("name", help="component or plugin")
    info.add_argument("--json", action="store_true", help="print JSON")
    new = _verb(
        kinds,
        "new",
        _plugins_new,
        "write a plugin to start from: module, contract tests, suite, README, continuous integration",
        "bench plugins new soft-hinge --kind gan-loss\nbench plugins new my-learner --kind meta-learner --output ~/plugins",
    )
    new.add_argument("name", help="of the component; the distribution is called bench-NAME")
    new.add_argument(
        "--kind", required=True, help="what it is: meta-learner, gan-loss, task-distribution, network, metric, reporter, observer, ..."
    )
    new.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR", help="folder in which bench-NAME is made (default: here)")
    for word, what in (("disable", "switch a plugin off for all later commands"), ("enable", "switch a plugin on again")):
        turned = _verb(kinds, word, _plugins_switch, what, f"bench plugins {word} soft-hinge")
        turned.add_argument("name", help="plugin or distribution")
        turned.set_defaults(on=word == "enable")
    pin = _verb(
        kinds,
        "lock",
        _plugins_lock,
        "print versions and content hashes of all plugins, for bench run --require-plugins",
        "bench plugins lock > bench.lock.json\nbench run suites/fewshot.yaml --require-plugins bench.lock.json",
    )
    pin.add_argument("--json", action="store_true", help="no change: a pin file is JSON")
    check = _verb(
        kinds,
        "check",
        _plugins_check,
        "run the contract tests of everything that a plugin offers, and write a certificate",
        "bench plugins check bench-soft-hinge\nbench plugins check bench-soft-hinge --output certificate.json",
    )
    check.add_argument("package", help="installed distribution, or its plugin")
    check.add_argument("-o", "--output", type=Path, metavar="FILE", help="the certificate (default: PACKAGE-VERSION.certificate.json)")
    check.add_argument("--timeout", type=_positive, metavar="SECONDS", help="for the tests of one component (default: 300)")
    check.add_argument("--json", action="store_true", help="print the certificate")
    return parser


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Arguments in any order: argparse itself takes an optional name only where it follows the one before it."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    late = next((name for name in ("cell", "trial") if getattr(options, name, None) == ""), None)
    if late and len(rest) == 1 and not rest[0].startswith("-"):
        setattr(options, late, rest.pop())
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _verb(verbs: Any, name: str, call: Callable[[argparse.Namespace], int], summary: str, examples: str) -> argparse.ArgumentParser:
    indented = "\n".join(f"  {line}" for line in examples.splitlines())
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{indented}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=call)
    return parser


def _allows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-local-plugins", dest="allow_local", action="store_true", help="run the code of the Python files that the suite names"
    )


def _selects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", type=Path)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="results folder (default: results/<suite name>)")
    parser.add_argument("-k", dest="select", metavar="EXPR", help="cells whose labels match: words with and, or, not, brackets")
    parser.add_argument("--quick", action="store_true", help="one replicate, a twentieth of the budget; a results folder of its own")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where trials compute (default: a GPU if there is one)"
    )
    parser.add_argument(
        "--require-plugins", type=Path, metavar="FILE", help="refuse plugins other than those that bench plugins lock has pinned in FILE"
    )
    _allows(parser)


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_positive, metavar="N", help="cells at the same time (default: cores of this machine)")
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray", help="ray (default), or inline: one after the other, here")
    parser.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster, or 'auto'")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="kill a cell that runs longer, hung native code included (not with inline)"
    )
    parser.add_argument(
        "--gpus-per-trial",
        type=_share,
        metavar="X",
        help="cards of a trial: a share of one, or a number (default: trials share cards by the memory that a probe measures)",
    )
    parser.add_argument("--join", action="store_true", help="work beside a run that is going on in the same folder: no cell runs twice")
    parser.add_argument("--max-failures", type=_positive, metavar="N", help="stop after so many failed cells (default: run them all)")


def _seconds(text: str) -> float:
    value = _float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value


def _share(text: str) -> float:
    value = _float(text)
    if not (0.01 <= value < 1 or (value.is_integer() and 1 <= value <= 64)):
        raise argparse.ArgumentTypeError(f"must be a share of a card from 0.01 to 1, or a whole number of cards, got {text!r}")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def _positive(text: str) -> int:
    return _count(text, least=1)


def _count(text: str, least: int = 0) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text!r}")
    return value


def _options(options: argparse.Namespace) -> Any:
    from bench.driver.run import RunOptions

    names = (
        "output",
        "jobs",
        "executor",
        "address",
        "device",
        "quick",
        "select",
        "debug",
        "timeout",
        "gpus_per_trial",
        "max_failures",
        "join",
        "allow_local",
    )
    given: dict[str, Any] = {name: getattr(options, name) for name in names if hasattr(options, name)}
    if hasattr(options, "again"):
        given["again"] = tuple(options.again or ("failed", "oom", "timeout"))
    return RunOptions(**given)


def _check_pins(options: argparse.Namespace) -> None:
    if options.require_plugins:
        from bench.registry.lock import require
        from bench.registry.registry import discover_for

        require(options.require_plugins, discover_for(options.suite, allow_local=options.allow_local))


def _run(options: argparse.Namespace) -> int:
    from bench.driver.run import run

    _check_pins(options)
    return run(options.suite, _options(options))


def _plan(options: argparse.Namespace) -> int:
    from bench.driver.plan_text import plan_text
    from bench.driver.run import prepare

    _check_pins(options)
    planned = prepare(options.suite, _options(options))
    print(plan_text(planned, jobs=options.jobs, as_json=options.json))
    return ExitCode.OK


def _validate(options: argparse.Namespace) -> int:
    from bench.grid.cells import expand, refuse_nothing
    from bench.grid.equality import unequal_arms
    from bench.grid.fitting import unmeasured
    from bench.registry.registry import discover_for
    from bench.suite.coherence import ignored
    from bench.suite.model import load_suite

    registry = discover_for(options.suite, allow_local=options.allow_local)
    suite = load_suite(options.suite, registry)
    if options.json:
        print(json.dumps(suite.to_dict(), indent=1))
        return ExitCode.OK
    try:
        trials = expand(suite, registry)
    except DataError as error:
        print(f"{options.suite}: valid, but it can't run here yet: {error}")
    else:
        refuse_nothing(trials)
        skipped = sum(bool(trial.skip) for trial in trials)
        print(f"{options.suite}: valid; {len(trials)} cells" + (f", {skipped} of them skipped (bench plan says why)" if skipped else ""))
        for sentence in unmeasured(suite, trials, registry):
            print(f"  {sentence}")
    for sentence in ignored(suite, registry):
        print(f"  ignored: {sentence}")
    with suppress(DataError):
        for flag in unequal_arms(suite, registry):
            print(f"  not equal: {flag}")
    return ExitCode.OK


def _schema(options: argparse.Namespace) -> int:
    from bench.registry.registry import discover, discover_for
    from bench.suite.schema import json_schema

    registry = discover_for(options.suite, allow_local=options.allow_local) if options.suite else discover()
    print(json.dumps(json_schema(registry), indent=1))
    return ExitCode.OK


def _report(options: argparse.Namespace) -> int:
    import time

    from bench.driver.reporting import opened, report
    from bench.driver.status import unfinished

    if options.open and "html" not in (options.formats or ("html",)):
        raise UsageError(f"--open shows the page, which --format {','.join(options.formats)} leaves out; add html")
    output = options.output or options.results[0]
    while True:
        left = sum(map(unfinished, options.results)) if options.watch else 0
        with _stdout_kept(options.json):
            paths = report(options.results, output=options.output, formats=options.formats, x=options.x)
        if options.json:
            print(json.dumps([str(path) for path in paths]), flush=True)
        else:
            print(*(path for path in paths if path.parent == output), sep="\n")
            folder = output / "report"
            print(f"{sum(path.parent == folder for path in paths)} tables and figures in {folder}", flush=True)
        if options.open and not opened(output / "report.html"):
            print(f"bench: no browser here; open {(output / 'report.html').resolve()}", file=sys.stderr)
        options.open = False
        if not left:
            return ExitCode.OK
        print(f"bench: {left} cells to come; Ctrl-C leaves", file=sys.stderr, flush=True)
        time.sleep(REPORT_SECONDS)


@contextmanager
def _stdout_kept(kept: bool) -> Iterator[None]:
    """Keep stdout for the answer of ``--json``: what plugins print in the body, in C even, goes to stderr."""
    if not kept:
        yield
        return
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 1)
        os.close(own)


def _audit(options: argparse.Namespace) -> int:
    from bench.driver.auditing import run_audit, verdict_text

    found = run_audit(
        options.results,
        options.output,
        seed=options.seed,
        quick=options.quick,
        certify=options.certify,
        say=lambda text: print(f"bench: {text}", file=sys.stderr, flush=True),
    )
    print(json.dumps(found.certificate, indent=1) if options.json else verdict_text(found, options.output))
    return ExitCode.OK if found.passed else ExitCode.CELL_FAILED


def _show(options: argparse.Namespace) -> int:
    from shutil import get_terminal_size

    from bench.driver.reading import show

    # Into a pipe or a file there is no width to keep to: nothing is folded there.
    interactive = sys.stdout.isatty()
    print(show(options.results, width=get_terminal_size().columns if interactive else 400, colour=interactive))
    return ExitCode.OK


def _status(options: argparse.Namespace) -> int:
    import time

    from bench.driver.status import status, status_text, unfinished

    while True:
        found = status(options.results)
        print(json.dumps(found, indent=1) if options.json else status_text(found), flush=True)
        if not options.watch or not unfinished(options.results):
            return ExitCode.OK
        time.sleep(WATCH_SECONDS)


def _why(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from bench.driver.why import why, why_text

    found = why(
        options.results,
        options.cell,
        select=options.select,
        suite=options.suite,
        device=options.device,
        allow_local=options.allow_local,
    )
    print(json.dumps([asdict(one) for one in found], indent=1) if options.json else why_text(found))
    return ExitCode.OK


def _clean(options: argparse.Namespace) -> int:
    from bench.driver.cleaning import clean, waste, waste_text

    found = (clean if options.yes else waste)(options.results, checkpoints=options.checkpoints)
    print(waste_text(found, deleted=options.yes))
    return ExitCode.OK


def _compare(options: argparse.Namespace) -> int:
    from shutil import get_terminal_size

    from bench.driver.reading import compare

    found = compare(
        options.before,
        options.after,
        every_metric=options.all_metrics,
        markdown=options.markdown,
        width=get_terminal_size().columns if sys.stdout.isatty() else 400,
    )
    print(json.dumps(found.record, indent=1) if options.json else found.text)
    return ExitCode.REGRESSION if found.comparison.regressions else ExitCode.OK


def _adapt(options: argparse.Namespace) -> int:
    from bench.driver.adapting import AdaptOptions, adapt

    names = ("trial", "select", "shots", "steps", "samples", "seed", "fit", "invert", "scale", "output", "force", "suite", "allow_local")
    with _stdout_kept(options.json):
        record = adapt(
            options.results,
            options.images,
            AdaptOptions(**{name: getattr(options, name) for name in names}),
            say=(lambda text: None) if options.json else print,
            note=lambda text: print(f"bench: {text}", file=sys.stderr),
        )
    if options.json:
        print(json.dumps(record, indent=1))
    return ExitCode.OK


def _plugins_list(options: argparse.Namespace) -> int:
    from bench.registry.listing import plugins_json, plugins_text
    from bench.registry.registry import discover

    registry = discover()
    print(json.dumps(plugins_json(registry), indent=1) if options.json else plugins_text(registry))
    return ExitCode.OK


def _plugins_info(options: argparse.Namespace) -> int:
    from bench.registry.listing import info_json, info_text
    from bench.registry.registry import discover

    registry = discover()
    print(json.dumps(info_json(registry, options.name), indent=1) if options.json else info_text(registry, options.name))
    return ExitCode.OK


def _plugins_switch(options: argparse.Namespace) -> int:
    from bench.registry.switches import switch, switches_file

    names = switch(options.name, on=options.on)
    print(f"{', '.join(names)}: switched {'on' if options.on else 'off'} ({switches_file()})")
    return ExitCode.OK


def _plugins_lock(options: argparse.Namespace) -> int:
    from bench.registry.lock import lock
    from bench.registry.registry import discover

    print(json.dumps(lock(discover()), indent=1))
    return ExitCode.OK


def _plugins_new(options: argparse.Namespace) -> int:
    from bench.authoring.scaffold import new_plugin
    from bench.registry.registry import discover

    place = new_plugin(options.name, options.kind, options.output, discover())
    print(f"{place} is a plugin. Next:\n  cd {place}\n  pip install -e '.[test]' && pytest\n  bench plugins list\n  bench run suite.yaml")
    return ExitCode.OK


def _plugins_check(options: argparse.Namespace) -> int:
    from bench.authoring.certificate import TIMEOUT, certificate_text, certify
    from bench.registry.registry import discover

    certificate = certify(
        options.package,
        discover(),
        timeout=options.timeout or TIMEOUT,
        say=lambda text: print(f"bench: {text}", file=sys.stderr, flush=True),
    )
    place = options.output or Path(f"{certificate['distribution']}-{certificate['version']}.certificate.json")
    place.write_text(json.dumps(certificate, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(certificate, indent=1) if options.json else f"{certificate_text(certificate)}\ncertificate: {place}")
    return ExitCode.OK if certificate["passed"] else ExitCode.CELL_FAILED


if __name__ == "__main__":
    sys.exit(main())
