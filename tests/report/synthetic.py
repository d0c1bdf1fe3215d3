"""Synthetic result folders with planted truths: the tests and the eye need frames whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

STEPS = (0, 1, 2, 5, 10, 25)
OUTPUTS = {
    "energy": {"better": "lower", "ideal": 0.0, "label": "energy distance"},
    "kid": {"better": "lower", "ideal": 0.0, "label": "KID"},
    "fid": {"better": "lower", "ideal": 0.0, "label": "FID (biased, n < d)"},
    "recall": {"better": "higher", "ideal": 1.0, "label": "recall"},
    "coverage": {"better": "higher", "ideal": 1.0, "label": "coverage"},
    "vendi": {"better": "closer", "ideal": 1.0, "label": "Vendi ratio"},
    "pairwise-distance": {"better": "closer", "ideal": 1.0, "label": "pairwise-distance ratio"},
    "modes": {"better": "higher", "ideal": 5.0, "label": "modes found"},
    "high-quality": {"better": "higher", "ideal": 0.98889, "label": "high-quality fraction"},
    "memorisation": {"better": "closer", "ideal": 0.0, "label": "support-query gap"},
}
LEARNERS = {  # level at step 0, level reached, rate
    "scratch": (24.0, 9.0, 0.06),
    "finetune": (4.5, 2.0, 0.10),
    "reptile": (5.0, 1.2, 0.30),
    "maml": (4.8, 2.2, 0.15),
}


def suite(**changes):
    resolved = {
        "question": "Does meta-learning help a GAN that sees 8 glyphs?",
        "name": "fewshot",
        "seed": 0,
        "replicates": 5,
        "primary": {"metric": "energy", "adaptation_step": 10, "compare": ["reptile", "finetune"]},
        "budget": {"outer_steps": 400, "warm_start": {"finetune": 1200}},
        "protocol": {
            "shots": 8, "query": 16, "reference": 32, "samples": 64, "task_batch": 4, "task_chunk": 8,
            "adaptation_steps": {"train": 5, "test": list(STEPS)}, "tasks": {"meta_val": 16, "meta_test": 12}, "validations": 4,
        },
        "feature_extractor": "auto",
        "games": ["gan"],
        "task_distributions": ["gaussian-rings", {"glyphs": {"size": 16}}],
        "per_task_distribution": {"gaussian-rings": {"protocol": {"shots": 64}}},
        "networks": ["dcgan"],
        "gan_losses": ["non-saturating"],
        "meta_learners": list(LEARNERS),
        "regularisers": [[], ["outer-clip"]],
        "augmentations": [[]],
        "controls": {"shuffled-tasks": ["reptile"]},
        "metrics": ["energy", "kid", "fid", "recall", "coverage", "vendi", "modes", "high-quality", "memorisation"],
    }  # fmt: skip
    return resolved | changes


def frame(
    *,
    replicates=5,
    tasks=12,
    gain=0.0,
    control_gain=None,
    distributions=("gaussian-rings", "glyphs"),
    metrics=tuple(OUTPUTS),
    status=None,
    reasons=None,
    losses=("non-saturating",),
    noise=0.15,
    curves=True,
    seed=0,
):
    """A frame as ``bench.load_results`` gives it.

    gain: how much lower than finetune Reptile's energy is at every step (planted, exact in expectation).
    control_gain: the same for its shuffled-tasks control, None for no control.
    status: {(arm, replicate): status}; reasons: the same for texts.
    """
    rng = np.random.default_rng(seed)
    status, reasons = status or {}, reasons or {}
    arms = [(name, "", "") for name in LEARNERS] + [("reptile", "outer-clip", "")]
    if control_gain is not None:
        arms.append(("reptile", "", "shuffled-tasks"))
    rows = []
    for distribution in distributions:
        scale = 0.05 if distribution == "gaussian-rings" else 1.0
        for loss in losses:
            task_effect = {m: rng.normal(0, 0.5, tasks) for m in metrics}
            for learner, regularisers, control in arms:
                arm = learner + (f" + {regularisers}" if regularisers else "") + (" (shuffled tasks)" if control else "")
                for replicate in range(replicates):
                    state = status.get((arm, replicate), "ok")
                    cell = {
                        "trial_id": f"{distribution}-{loss}-{arm}-{replicate}".replace(" ", "_"),
                        "suite": "fewshot", "arm": arm, "game": "gan", "task_distribution": distribution, "network": "dcgan",
                        "gan_loss": loss, "meta_learner": learner, "regularisers": regularisers, "augmentations": "",
                        "control": control, "replicate": replicate, "status": state,
                        "reason": reasons.get((arm, replicate), "" if state == "ok" else f"{state}: nan_param at outer step 17"),
                        "seconds": 20.0 + replicate, "evaluation_seconds": 3.0, "gradient_evaluations": 41_200.0, "samples_seen": 1.2e6,
                        "flops": 3.1e13, "peak_memory_bytes": 2.1e8,
                    }  # fmt: skip
                    if state != "ok":
                        rows.append(cell | {"metric": None, "value": np.nan})
                        continue
                    seed_effect = rng.normal(0, noise)
                    for metric in metrics:
                        if distribution == "glyphs" and metric in ("modes", "high-quality"):
                            continue
                        for step in STEPS:
                            level = _level(metric, learner, control, step, gain, control_gain)
                            values = level + 0.3 * task_effect[metric] + seed_effect + rng.normal(0, noise, tasks)
                            if metric in ("recall", "coverage", "high-quality"):
                                values = np.clip(level + 0.1 * seed_effect + rng.normal(0, 0.03, tasks), 0, 1)
                            elif metric in ("vendi", "pairwise-distance", "memorisation"):
                                values = level + 0.1 * seed_effect + rng.normal(0, 0.03, tasks)
                            elif metric == "modes":
                                values = np.clip(np.round(level + rng.normal(0, 0.5, tasks)), 0, 5)
                            else:
                                values = values * scale
                            rows += [
                                cell | {
                                    "split": "meta-test", "task_id": f"{distribution}/{t}", "outer_step": 400, "adaptation_step": step,
                                    "metric": metric, "value": v, "ceiling": 10.5 * scale if metric in ("energy", "kid", "fid") else np.nan,
                                    "n_real": 32, "n_fake": 64, "fingerprint": f"{metric}-{distribution}",
                                }
                                for t, v in enumerate(values)
                            ]  # fmt: skip
                    if curves:
                        rows += _curves(cell, rng)
    table = pd.DataFrame(rows)
    for column in ("split", "task_id", "fingerprint"):
        if column not in table:
            table[column] = None
    for column in ("outer_step", "adaptation_step", "n_real", "n_fake"):
        table[column] = pd.array(table[column] if column in table else [None] * len(table), dtype="Int64")
    if "ceiling" not in table:
        table["ceiling"] = np.nan
    return table


def _level(metric, learner, control, step, gain, control_gain):
    start, end, rate = LEARNERS[learner]
    if metric in ("energy", "kid", "fid"):
        if learner == "reptile":
            start, end, rate = LEARNERS["finetune"]
            drop = control_gain if control else gain
            return end + (start - end) * np.exp(-rate * step) - drop
        return end + (start - end) * np.exp(-rate * step)
    if metric == "modes":
        return 5 * (1 - np.exp(-rate * (step + 1)))
    if metric == "memorisation":
        return 0.02 * step**0.5
    return 1 - 0.6 * np.exp(-rate * step)


def _curves(cell, rng):
    rows = []
    for outer in range(0, 401, 20):
        for metric, level in (
            ("meta_loss", 2 * np.exp(-outer / 150)),
            ("loss.generator", 1 + np.exp(-outer / 200)),
            ("loss.discriminator", 1.3 - 0.3 * np.exp(-outer / 200)),
            ("gradient_norm.generator", 3 * np.exp(-outer / 100) + 0.2),
        ):
            rows.append(
                cell | {"split": "meta-train", "task_id": "", "outer_step": outer, "metric": metric, "value": level + rng.normal(0, 0.03)}
            )
    for outer in (100, 200, 300, 400):
        rows += [
            cell | {
                "split": "meta-val", "task_id": f"v{t}", "outer_step": outer, "adaptation_step": 10, "metric": "energy",
                "value": 4 * np.exp(-outer / 200) + rng.normal(0, 0.1), "fingerprint": "energy-val",
            }
            for t in range(4)
        ]  # fmt: skip
    return rows


def ledger(table):
    columns = [
        "trial_id", "suite", "arm", "game", "task_distribution", "network", "gan_loss", "meta_learner", "regularisers", "augmentations",
        "control", "replicate", "status", "reason", "seconds", "evaluation_seconds", "gradient_evaluations", "samples_seen", "flops",
        "peak_memory_bytes",
    ]  # fmt: skip
    return table.drop_duplicates("trial_id")[columns].reset_index(drop=True)


def provenance():
    return {
        "command": "bench run suites/fewshot.yaml",
        "versions": {"bench": "0.1.0", "python": "3.11.2", "torch": "2.15.0", "numpy": "2.4.6"},
        "plugins": [{"distribution": "metagan-bench", "version": "0.1.0", "hash": "sha256:1f2e3d4c5b6a"}],
        "environment": {"device": "cpu", "threads": 1, "platform": "Linux x86_64"},
        "git": {"commit": "8ef14c2", "dirty": False},
        "extractors": {
            "glyphs": {"name": "protonet-conv4", "certificate": {"one_shot_accuracy": 0.58, "ways": 20}, "fingerprint": "9c0ffee1"},
            "gaussian-rings": {"name": "identity", "certificate": {}, "fingerprint": "00aa11bb"},
        },
    }


def write_samples(results: Path, table, *, tasks=4, n=8, seed=0):
    """Images for glyphs (a bar whose noise fades with adaptation), points for rings."""
    for cell in table.drop_duplicates("trial_id").to_dict("records"):
        if cell["status"] != "ok" or cell["replicate"] != 0:
            continue
        rng = np.random.default_rng(seed)  # the same tasks and noise for every arm
        folder = results / "trials" / cell["trial_id"]
        folder.mkdir(parents=True, exist_ok=True)
        ids = np.array([f"{cell['task_distribution']}/{t}" for t in range(tasks)])
        if cell["task_distribution"] == "glyphs":
            real = -np.ones((tasks, 16, 1, 16, 16), np.float32)
            for t in range(tasks):
                real[t, :, :, 3 + t : 13, 4 + 2 * t : 6 + 2 * t] = 1
                real[t, :, :, 7:9, 3:13] = 1
            generated = np.stack(
                [
                    np.clip(real[:, :n] + rng.normal(0, (1 + len(cell["arm"]) % 4) / (1 + k), real[:, :n].shape), -1, 1)
                    for k in range(len(STEPS))
                ]
            )
            extra = {}
        else:
            angles = rng.uniform(0, 2 * np.pi, (tasks, 5))
            centres = np.stack([np.cos(angles), np.sin(angles)], -1)
            pick = rng.integers(0, 5, (tasks, 16))
            real = np.take_along_axis(centres, pick[..., None], 1) + rng.normal(0, 0.08, (tasks, 16, 2))
            pick = rng.integers(0, 5, (tasks, 64))
            fakes = np.take_along_axis(centres, pick[..., None], 1)
            generated = np.stack(
                [fakes * 0.7 ** (len(cell["arm"]) % 3) + rng.normal(0, 0.6 / (1 + k), fakes.shape) for k in range(len(STEPS))]
            )
            extra = {"modes_centres": centres}
        np.savez(
            folder / "samples.npz",
            steps=np.array(STEPS),
            task_ids=ids,
            support=real[:, :5],  # fewer than the query, as in a suite of 5 shots
            query=real[:, 5:],
            generated=generated,
            **extra,
        )
