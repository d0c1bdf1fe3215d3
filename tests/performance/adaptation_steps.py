"""What an outer step costs against the number K of adaptation steps: remembered, recomputed, first order.

    OMP_NUM_THREADS=1 python tests/performance/adaptation_steps.py

Every measurement is made in a process of its own, on one thread: processor time of an outer step, which other jobs on the machine
disturb less than the clock, and growth of resident memory. Variants take turns; the smallest of all rounds is reported. Writes
``results/performance/adaptation_steps.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "results" / "performance"
STEPS = (1, 5, 10, 20, 50)
SETTINGS = {
    "rings, mlp": {"shots": 64, "query": 64, "task_batch": 4},
    "glyphs 16 x 16, dcgan": {"shots": 8, "query": 16, "task_batch": 4},
}
VARIANTS = {"remembered": {"order": 2, "remember": 10**6}, "recomputed": {"order": 2, "remember": 0}, "first order": {"order": 1}}
MIB = 2**20

PREDICTION = """\
Before any measurement: recomputing takes **1.3 to 1.4 times the time**, and memory is linear in K with a small slope. A reckoning,
written after first trial timings of a toy game (about 2 times): a step is 3 units of work, pulling a derivative back through it
6, once for each of two players; 3 + 2 * 6 = 15 remembered, 3 + 2 * (3 + 6) = 21 recomputed. A recomputed step keeps what it moves,
parameters and the inner optimiser's state of each task: a slope of **{slope} MiB a step**."""


def measure(setting: str, variant: str, steps: int) -> dict[str, float]:
    """Processor seconds of an outer step, growth of resident memory in bytes, and the bytes that an adaptation step moves."""
    import torch

    from bench.contracts import Parts
    from bench.episodes import TaskStream
    from bench.game.critic import Critic
    from bench.game.engine import Engine
    from bench.game.outer import Outer
    from bench.trees import leaves
    from bench_builtin.games import Gan
    from bench_builtin.gan_losses import NonSaturating
    from bench_builtin.inner_optimisers import Adam
    from bench_builtin.meta_learners import Maml
    from bench_builtin.networks import Dcgan, Mlp
    from bench_builtin.task_distributions import TASK_DISTRIBUTIONS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rings = setting.startswith("rings")
    tasks = TASK_DISTRIBUTIONS["gaussian-rings"]() if rings else TASK_DISTRIBUTIONS["glyphs"](size=16)
    network = Mlp(width=64) if rings else Dcgan(width=32)
    modules = {role: network.build(role, tasks.sample_spec) for role in ("generator", "discriminator")}
    game = Gan().bind(Parts(modules=modules, critic=Critic, loss=NonSaturating()))
    learner = Maml(order=VARIANTS[variant]["order"], inner_lr=0.002, inner_optimiser=Adam(eps=1e-4))
    episodes, draws = TaskStream(tasks, setting, seed=0, protocol=SETTINGS[setting]).training(0, 0)
    meta = learner.init(torch.Generator(), game)

    def outer_step(k: int) -> float:
        engine = Engine(game, learner, adaptation_steps=k, remember=VARIANTS[variant].get("remember", 0))
        began = time.process_time()
        engine.outer_step(meta, episodes, Outer(learner), draws)
        return time.process_time() - began

    outer_step(1)  # what is loaded and allocated once
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = peak()
    seconds = [outer_step(steps)]
    grown = peak() - before
    while len(seconds) < 2 or (sum(seconds) < 0.5 and len(seconds) < 20):
        seconds.append(outer_step(steps))
    moved = 2 * sum(leaf.nbytes for _, leaf in leaves(meta)) * len(draws.key)  # parameters, and Adam's mean square of gradients
    return {"seconds": min(seconds), "bytes": grown, "moved": moved}


def peak() -> int:
    """Most bytes of this process that were in memory at once since the peak was last forgotten."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure_all(rounds: int) -> dict[tuple[str, int, str], dict[str, float]]:
    """Smallest time and growth of memory by setting, K and variant."""
    found: dict[tuple[str, int, str], dict[str, float]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for number in range(rounds):
        for cell in ((setting, steps, variant) for setting in SETTINGS for steps in STEPS for variant in VARIANTS):
            setting, steps, variant = cell
            command = [sys.executable, __file__, "--one", setting, variant, str(steps)]
            measured = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
            found[cell] = {name: min(value, found.get(cell, measured)[name]) for name, value in measured.items()}
            print(number + 1, *cell, found[cell], flush=True)
    return found


def slope(found: dict[tuple[str, int, str], dict[str, float]], setting: str, variant: str) -> float:
    """Bytes per adaptation step between the two longest rollouts."""
    few, many = STEPS[-2:]
    return (found[setting, many, variant]["bytes"] - found[setting, few, variant]["bytes"]) / (many - few)


def report(found: dict[tuple[str, int, str], dict[str, float]]) -> str:
    """The tables, with the prediction and what became of it."""
    predicted = " and ".join(f"{found[setting, 1, 'recomputed']['moved'] / MIB:.2f} ({setting})" for setting in SETTINGS)
    lines = [
        "# Cost of an outer step against the number of adaptation steps",
        "",
        "Second-order MAML on a GAN, 4 tasks at a time, inner Adam, one thread; made by `tests/performance/adaptation_steps.py`.",
        "Times are processor milliseconds of one outer step (the smallest of several), memory is the growth of the process in MiB.",
        "Other jobs shared the machine: the scatter of ratios between neighbouring K shows how far a single one can be trusted.",
        "",
        "## Predicted",
        PREDICTION.format(slope=predicted),
        "",
        "## Measured",
    ]
    for setting in SETTINGS:
        ratios = [found[setting, k, "recomputed"]["seconds"] / found[setting, k, "remembered"]["seconds"] for k in STEPS]
        slopes = {variant: slope(found, setting, variant) / MIB for variant in VARIANTS}
        moved = found[setting, 1, "recomputed"]["moved"] / MIB
        lines += [
            f"### {setting}",
            "| K | " + " | ".join(f"{variant}, ms | {variant}, MiB" for variant in VARIANTS) + " | recomputed / remembered |",
            "|" + "---|" * (2 * len(VARIANTS) + 2),
        ]
        for k, ratio in zip(STEPS, ratios, strict=True):
            cells = [found[setting, k, variant] for variant in VARIANTS]
            numbers = [f"{1e3 * cell['seconds']:.0f} | {cell['bytes'] / MIB:.1f}" for cell in cells]
            lines.append(f"| {k} | " + " | ".join(numbers) + f" | {ratio:.2f} |")
        lines += [
            "",
            f"Recomputing takes {min(ratios):.2f} to {max(ratios):.2f} times the time, {ratios[-1]:.2f} at K = {STEPS[-1]} "
            f"(predicted 1.3 to 1.4). A recomputed step adds {slopes['recomputed']:.2f} MiB (predicted {moved:.2f}), "
            f"a remembered one {slopes['remembered']:.1f}.",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("SETTING", "VARIANT", "STEPS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        setting, variant, steps = arguments.one
        print(json.dumps(measure(setting, variant, int(steps))))
        return
    found = measure_all(arguments.rounds)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "adaptation_steps.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["setting", "adaptation_steps", "variant", "cpu_milliseconds", "peak_mib"])
        for (setting, steps, variant), cell in found.items():
            rows.writerow([setting, steps, variant, f"{1e3 * cell['seconds']:.2f}", f"{cell['bytes'] / MIB:.2f}"])
    (RESULTS / "adaptation_steps.md").write_text(report(found))


if __name__ == "__main__":
    main()
