"""Fréchet distance from given features beside torch-fidelity's and torchmetrics'.

    pip install "metagan-bench[test]"
    OMP_NUM_THREADS=1 python tests/performance/frechet.py

Features go in, one number comes out; no network is involved. ``both sides``: statistics of both sets are made anew. ``real side known``:
those of the real set were made before, as at the second and every later adaptation step. Implementations take turns in one process, on
one thread; the smallest processor time of all rounds is reported, after all values have been found to agree. Writes
``results/performance/frechet.{csv,md}``.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[2] / "results" / "performance"
SIZES = ((64, 20), (512, 100), (2048, 100), (2048, 4000))
VARIANTS = ("both sides", "real side known")
OURS, PEERS = "bench", ("torch-fidelity", "torchmetrics")
AGREEMENT = 1e-4  # relative; eigenvalues of a rank-deficient product of covariances are no better
Call = Callable[[], float]


def contenders(fake: np.ndarray, real: np.ndarray) -> dict[tuple[str, str], Call]:
    """A function that computes the distance, by name and variant."""
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
    from torchmetrics.image.fid import FrechetInceptionDistance

    from bench.measure import FrechetReference, frechet_distance

    class AsGiven(torch.nn.Module):
        """Takes samples for their own features."""

        num_features = fake.shape[1]

        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            return samples

    fake_tensor, real_tensor = torch.from_numpy(fake), torch.from_numpy(real)
    reference = FrechetReference(real[None])
    if len(real) > real.shape[1]:
        reference.root_TFF  # noqa: B018 -- made at first use, so now
    statistics = fid_features_to_statistics(real_tensor)
    keeps = FrechetInceptionDistance(feature=AsGiven(), reset_real_features=False).set_dtype(torch.float64)
    keeps.update(real_tensor, real=True)
    forgets = FrechetInceptionDistance(feature=AsGiven()).set_dtype(torch.float64)

    def torch_fidelity(known: dict[str, np.ndarray] | None) -> float:
        of_real = known or fid_features_to_statistics(real_tensor)
        return fid_statistics_to_metric(fid_features_to_statistics(fake_tensor), of_real, verbose=False)[KEY_METRIC_FID]

    def torchmetrics(metric: FrechetInceptionDistance) -> float:
        if metric is forgets:
            metric.update(real_tensor, real=True)
        metric.update(fake_tensor, real=False)
        value = float(metric.compute())
        metric.reset()
        return value

    return {
        (OURS, VARIANTS[0]): lambda: float(frechet_distance(fake[None], real[None])[0]),
        (OURS, VARIANTS[1]): lambda: float(frechet_distance(fake[None], reference)[0]),
        (PEERS[0], VARIANTS[0]): lambda: torch_fidelity(None),
        (PEERS[0], VARIANTS[1]): lambda: torch_fidelity(statistics),
        (PEERS[1], VARIANTS[0]): lambda: torchmetrics(forgets),
        (PEERS[1], VARIANTS[1]): lambda: torchmetrics(keeps),
    }


def measure(features: int, n: int, rounds: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Smallest seconds, and the value, by name and variant.

    Raises:
        ValueError: the values disagree.
    """
    rng = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(np.arange(1, features + 1))
    fake, real = 0.3 + 0.8 * spectrum * rng.normal(size=(n, features)), spectrum * rng.normal(size=(n, features))
    calls = contenders(fake, real)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for number in range(rounds):
        for key, call in calls.items():
            began = time.process_time()
            value = call()
            seconds = time.process_time() - began
            found[key] = (min(seconds, found.get(key, (seconds, 0.0))[0]), value)
            print(features, n, number + 1, *key, f"{seconds:.5f} s", value, flush=True)
    truth = found[OURS, VARIANTS[0]][1]
    wrong = {key: value for key, (_, value) in found.items() if abs(value - truth) > AGREEMENT * truth}
    if wrong:
        raise ValueError(f"Fréchet distances at {features} features, {n} samples disagree: {wrong} instead of {truth}")
    return found


def report(found: dict[tuple[int, int], dict[tuple[str, str], tuple[float, float]]]) -> str:
    """The table, with how many times faster ours is than each peer."""
    lines = [
        "# Fréchet distance from given features",
        "",
        f"float64, one thread, beside torch-fidelity {version('torch-fidelity')} and torchmetrics {version('torchmetrics')}; made by",
        "`tests/performance/frechet.py`. Processor milliseconds, the smallest of several rounds in turn. `real side known`: the real set's",
        f"statistics were made before. All values agree to a relative {AGREEMENT:g}.",
        "",
        f"| features | samples | variant | {OURS}, ms | " + " | ".join(f"{peer}, ms | times faster" for peer in PEERS) + " |",
        "|" + "---|" * (4 + 2 * len(PEERS)),
    ]
    for (features, n), cells in found.items():
        for variant in VARIANTS:
            ours = cells[OURS, variant][0]
            against = [f"{1e3 * cells[peer, variant][0]:.2f} | {cells[peer, variant][0] / ours:.1f}" for peer in PEERS]
            lines.append(f"| {features} | {n} | {variant} | {1e3 * ours:.2f} | " + " | ".join(against) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns at each size, but one at the largest")
    parser.add_argument("--small", action="store_true", help="print the two smallest sizes and store nothing")
    arguments = parser.parse_args()
    sizes = SIZES[:2] if arguments.small else SIZES
    found = {size: measure(*size, rounds=1 if size == SIZES[-1] else arguments.rounds) for size in sizes}
    print(report(found))
    if arguments.small:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "frechet.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["features", "samples", "variant", "implementation", "cpu_milliseconds", "value"])
        for (features, n), cells in found.items():
            for (name, variant), (seconds, value) in cells.items():
                rows.writerow([features, n, variant, name, f"{1e3 * seconds:.3f}", f"{value:.9g}"])
    (RESULTS / "frechet.md").write_text(report(found))


if __name__ == "__main__":
    main()
