"""What an outer step costs: this engine beside learn2learn, higher, TorchOpt and a loop written by hand.

    pip install -e '.[peers]'                                               # higher, torchopt
    git clone https://github.com/learnables/learn2learn /somewhere          # its maml.py runs as it is
    OMP_NUM_THREADS=1 python tests/performance/engine --learn2learn /somewhere

The wheel of learn2learn does not build on Python 3.11 and later, so without ``--learn2learn`` it is left out, which the page says.

Before anything is timed, every contender's outer step is compared with the hand-written loop's in float64. Writes
``results/performance/engine.{csv,md}``; ``--quick`` takes minutes, the whole table most of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import contenders
import tables
import torch
from contenders import MissingPeerError, Step
from timing import MIB, flops_of, grown_by, in_processes, in_turns, product_speed
from worlds import Regime, World, world

RESULTS = Path(__file__).parents[3] / "results" / "performance"
OURS = "bench"
AGREEMENT = {"sgd": 1e-12, "adam": 1e-10}
"""Of outer steps in float64, relative to the largest change of a parameter. Adam divides small gradients by their size, and so magnifies
their rounding."""

MAIN = [
    Regime("mlp", 8, 5), Regime("mlp", 8, 5, order=1),
    Regime("mlp", 8, 10, "reptile"), Regime("mlp", 8, 10, "reptile", inner="adam"),
    Regime("conv", 8, 3), Regime("conv", 8, 3, order=1), Regime("conv", 8, 5), Regime("conv", 8, 5, order=1),
    Regime("conv", 32, 3), Regime("conv", 32, 3, order=1),
    Regime("conv", 8, 10, "reptile"), Regime("conv", 8, 10, "reptile", inner="adam"),
]  # fmt: skip
QUICK = [regime for regime in MAIN if regime.tasks == 8 and (regime.network, regime.steps) != ("conv", 5) and regime.inner == "sgd"]
STEPS, TASKS = (1, 2, 5, 10, 20, 50), (1, 2, 4, 8, 16, 32, 64)
Row = dict[str, Any]


def everyone(checkout: Path | None) -> dict[str, Callable[[World], Step]]:
    """Contenders by name, this engine first."""
    return {
        OURS: contenders.bench,
        "bench, torch.vmap alone": partial(contenders.bench, fold=False),
        "learn2learn": partial(contenders.learn2learn, checkout=checkout),
        "higher": contenders.higher,
        "torchopt": contenders.torchopt,
        "hand-written loop": contenders.hand,
    }


def ready(regime: Regime, checkout: Path | None, **where: Any) -> tuple[dict[str, Step], dict[str, str]]:
    """The steps of all who can play a regime, and why the others can't."""
    steps, missing = {}, {}
    for name, contender in everyone(checkout).items():
        try:
            steps[name] = contender(world(regime, **where))
        except MissingPeerError as error:
            missing[name] = str(error)
    return steps, missing


def agreements(checkout: Path | None) -> list[Row]:
    """How far every contender's outer step is from the hand-written loop's, on two tasks and two steps of each kind of regime.

    Raises:
        SystemExit: further than rounding allows.
    """
    rows = []
    for regime in dict.fromkeys(replace(one, tasks=2, steps=2) for one in MAIN):
        steps, _ = ready(regime, checkout, dtype=torch.float64)
        want = steps["hand-written loop"]()
        start = {
            f"{player}.{name}": leaf.detach() for player, one in world(regime).modules.items() for name, leaf in one.named_parameters()
        }
        scale = max(float((want[name] - start[name]).abs().max()) for name in want)
        for name, step in steps.items():
            got = step()
            error = max(float((got[leaf] - want[leaf]).abs().max()) for leaf in want) / scale
            if not error <= AGREEMENT[regime.inner]:
                raise SystemExit(f"{name} does something else in {regime.name}: off by {error:.1e}, allowed {AGREEMENT[regime.inner]:.0e}")
            rows.append(row("agreement", regime.name, name, "relative error", error))
    return rows


def row(section: str, regime: str, contender: str, quantity: str, value: float) -> Row:
    """One number."""
    return dict(zip(tables.COLUMNS, (section, regime, contender, quantity, f"{value:.6g}"), strict=True))


def timed(regimes: list[Regime], rounds: int, checkout: Path | None, device: str, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """Time, ratio to this engine and useful FLOP/s of every contender."""
    for regime in regimes:
        steps, _ = ready(regime, checkout, device=device)
        steps = {name: step for name, step in steps.items() if not only or name in only}
        # The loop treats tasks alike: two of them tell the arithmetic of all.
        flops = flops_of(contenders.hand(world(replace(regime, tasks=2)))) * regime.tasks / 2
        for name, timing in in_turns(steps, rounds, device).items():
            yield row("time", regime.name, name, "milliseconds", 1e3 * timing.seconds)
            yield row("time", regime.name, name, "ratio", timing.ratio)
            yield row("time", regime.name, name, "ratio, smallest", timing.spread[0])
            yield row("time", regime.name, name, "ratio, largest", timing.spread[1])
            yield row("time", regime.name, name, "useful GFLOP/s", flops / timing.seconds / 1e9)
        print(f"{time.strftime('%H:%M')} load {os.getloadavg()[0]:.1f}  {regime.name}", file=sys.stderr, flush=True)


def child(job: str, regime: Regime, name: str, checkout: Path | None, *options: str) -> list[str]:
    """The command line of a process that measures one thing."""
    learn2learn = ["--learn2learn", str(checkout)] if checkout else []
    return [str(Path(__file__).parent), *learn2learn, "--child", job, json.dumps(asdict(regime)), name, *options]


def memory(network: str, steps: int, checkout: Path | None) -> Iterator[Row]:
    """Growth of memory in one second-order outer step: as suites run it, with every step remembered, and by the hand-written loop."""
    regime = Regime(network, 8, steps)  # type: ignore[arg-type]
    for name in (OURS, "every step remembered", "hand-written loop"):
        (found,) = in_processes([child("memory", regime, name, checkout)], threads=1)
        yield row("memory", regime.name, name, "MiB", found["bytes"] / MIB)
        yield row("memory", regime.name, name, "milliseconds", 1e3 * found["seconds"])


def side_by_side(regime: Regime, seconds: float, checkout: Path | None) -> Iterator[Row]:
    """Outer steps a second on two cores: two workers of one thread each, as the harness runs, and one process with two threads."""
    for name, workers, threads in ((OURS, 2, 1), (OURS, 1, 2), ("learn2learn", 1, 2), ("learn2learn", 2, 1)):
        if name == "learn2learn" and name not in ready(regime, checkout)[0]:
            continue
        found = in_processes([child("throughput", regime, name, checkout, str(seconds), str(threads))] * workers, threads)
        yield row("two cores", regime.name, f"{name}, {workers} x {threads} threads", "steps/s", sum(one["rate"] for one in found))


def precisions(regime: Regime, rounds: int, device: str) -> Iterator[Row]:
    """This engine in lower precision, and how far its outer step then is from float64's."""
    exact = contenders.bench(world(regime, dtype=torch.float64, device=device))()
    here = world(regime, device=device)
    start = {f"{player}.{name}": leaf.detach().double() for player, one in here.modules.items() for name, leaf in one.named_parameters()}
    plain = contenders.bench(here)

    def in_bfloat16() -> dict[str, torch.Tensor]:
        with torch.autocast(device, torch.bfloat16):
            return plain()

    def in_tf32() -> dict[str, torch.Tensor]:
        torch.set_float32_matmul_precision("high")
        try:
            return plain()
        finally:
            torch.set_float32_matmul_precision("highest")

    steps = {"float32": plain, "bfloat16 autocast": in_bfloat16, **({"TF32": in_tf32} if device == "cuda" else {})}
    norm = torch.stack([(exact[name] - start[name]).norm() for name in exact]).norm()
    for name, timing in in_turns(steps, rounds, device).items():
        after = steps[name]()
        error = torch.stack([(after[leaf].double() - exact[leaf]).norm() for leaf in exact]).norm() / norm
        yield row("precision", regime.name, name, "milliseconds", 1e3 * timing.seconds)
        yield row("precision", regime.name, name, "ratio", timing.ratio)
        yield row("precision", regime.name, name, "relative error of the step", float(error))


def run_child(job: str, regime: Regime, name: str, checkout: Path | None, *options: str) -> dict[str, float]:
    """What one process of :func:`memory` or :func:`side_by_side` finds."""
    people = {**everyone(checkout), "every step remembered": partial(contenders.bench, remember=10**6)}
    if job == "memory":
        torch.set_num_threads(1)
        step = people[name](world(regime))
        began = time.process_time()
        grown = grown_by(step, people[name](world(replace(regime, steps=1))))
        return {"bytes": grown, "seconds": time.process_time() - began}
    seconds, threads = float(options[0]), int(options[1])
    torch.set_num_threads(threads)
    step, count = people[name](world(regime)), 0
    step()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    return {"rate": count / (time.perf_counter() - began)}


# ------------------------------------------------------------------ the page
def value(rows: list[Row], section: str, regime: str, contender: str, quantity: str) -> float | None:
    """One number of those measured."""
    wanted = (section, regime, contender, quantity)
    return next((float(one["value"]) for one in rows if tuple(one.values())[:4] == wanted), None)


def page(rows: list[Row], missing: dict[str, str], about: list[str], names: list[str]) -> str:
    """The tables."""
    lines = ["# An outer step of this engine beside its peers", "", *about, ""]
    lines += [f"{name} did not run: {reason}." for name, reason in missing.items()]
    worst = max(float(one["value"]) for one in rows if one["section"] == "agreement")
    lines += ["", f"All agree with the hand-written loop in float64: the largest relative difference is {worst:.0e}.", ""]
    lines += ["## Time", "Milliseconds of an outer step, and times as long as this engine's in the same round (smallest to largest).", ""]
    regimes = list(dict.fromkeys(one["regime"] for one in rows if one["section"] == "time"))
    body = []
    for regime in regimes:
        cells, peers = [], []
        for name in names:
            taken = value(rows, "time", regime, name, "milliseconds")
            if taken is None:
                cells.append("-")
                continue
            ratio, low, high = (value(rows, "time", regime, name, one) for one in ("ratio", "ratio, smallest", "ratio, largest"))
            cells.append(f"{taken:.0f}" if name == OURS else f"{taken:.0f} = {ratio:.2f}x ({low:.2f}-{high:.2f})")
            if not name.startswith(OURS):
                peers.append(ratio)
        speed = value(rows, "time", regime, OURS, "useful GFLOP/s")
        body.append([regime, *cells, tables.verdict(regime, min(peers)) if peers else "-", f"{speed:.1f}"])
    lines += tables.table(["regime", *names, "best peer / bench", "bench, GFLOP/s"], body)
    lines += ["## Memory", "Growth of the process in one second-order outer step of 8 tasks, MiB; processor milliseconds beside it.", ""]
    body = []
    for regime in dict.fromkeys(one["regime"] for one in rows if one["section"] == "memory"):
        found = {name: value(rows, "memory", regime, name, "MiB") for name in (OURS, "every step remembered", "hand-written loop")}
        cells = [f"{grown:.0f} ({value(rows, 'memory', regime, name, 'milliseconds'):.0f} ms)" for name, grown in found.items()]
        goal = f"{regime.split()[0]} memory" if " K50 " in regime else ""
        body.append([regime, *cells, tables.verdict(goal, found["every step remembered"] / found[OURS])])
    lines += tables.table(["regime", OURS, "every step remembered", "hand-written loop", "remembered / bench"], body)
    for section, title in (("two cores", "Two cores, by the clock"), ("precision", "Lower precision")):
        own = [one for one in rows if one["section"] == section]
        if own:
            lines += [f"## {title}", "", *tables.table(tables.COLUMNS[1:], [list(one.values())[1:] for one in own])]
    return "\n".join(lines)


def about(device: str) -> list[str]:
    """Where and how it was measured."""
    processor = next((line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    where = torch.cuda.get_device_name() if device == "cuda" else processor
    return [
        f"Python {platform.python_version()}, torch {torch.__version__}, {where}; made by `python tests/performance/engine`.",
        "Networks, samples and losses as in `worlds.py`; the engine runs the built-in game and learners, eight tasks at a time, and draws",
        "its noise itself, which the others get for nothing. Simultaneous play, inner rate 0.01, plain outer descent, float32.",
        "By the clock, after the GPU has finished." if device == "cuda" else "One thread, processor time, contenders in turns; medians.",
        f"A product of 1024 x 1024 matrices runs at {product_speed() / 1e9:.0f} GFLOP/s on one thread; load {os.getloadavg()[0]:.1f}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few regimes and rounds")
    parser.add_argument("--learn2learn", type=Path, help="a checkout of its repository")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    checkout, device = given.learn2learn, given.device
    if given.child:
        job, regime, name, *options = given.child
        print(json.dumps(run_child(job, Regime(**json.loads(regime)), name, checkout, *options)))
        return
    torch.set_num_threads(1)
    regimes, rounds = (QUICK, given.rounds or 2) if given.quick else (MAIN, given.rounds or 5)
    missing = {name: reason for name, reason in ready(QUICK[0], checkout)[1].items()}
    names = [name for name in everyone(checkout) if name not in missing]
    text, rows = about(device), agreements(checkout)
    rows += timed(regimes, rounds, checkout, device)
    if not given.quick:
        growth = [Regime("mlp", 8, k, order=o) for k in STEPS for o in (2, 1)] + [
            Regime("mlp", t, 5, order=o) for t in TASKS for o in (2, 1)
        ]  # type: ignore[arg-type]
        conv = [Regime("conv", 8, k) for k in (1, 10)] + [Regime("conv", t, 3) for t in (1, 64)]
        seen = {regime.name for regime in regimes}
        rows += timed(
            [one for one in dict.fromkeys(growth + conv) if one.name not in seen], 2, checkout, device, (OURS, "hand-written loop")
        )
    if device == "cpu":
        for network, lengths in (("mlp", (5, 50)), ("conv", (3,) if given.quick else (3, 50))):
            for steps in lengths:
                rows += memory(network, steps, checkout)
        rows += side_by_side(Regime("mlp", 8, 5), 2 if given.quick else 20, checkout)
        if not given.quick:
            rows += side_by_side(Regime("conv", 8, 3), 30, checkout)
    for regime in (Regime("mlp", 8, 5), Regime("conv", 8, 3))[: 1 if given.quick else 2]:
        rows += precisions(regime, rounds, device)
    tables.write_rows(given.out / "engine.csv", rows)
    (given.out / "engine.md").write_text(page(rows, missing, text, names))


if __name__ == "__main__":
    main()
