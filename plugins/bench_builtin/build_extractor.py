"""Build the shipped ``protonet-conv4`` extractors for ``glyphs`` at 16 and 28 pixels.

Run ``python -m bench_builtin.build_extractor`` after a change of the glyphs or of the training; new weights have a new
fingerprint, so measurements made with the old ones stay apart.
"""

from __future__ import annotations

import time

import torch

from bench_builtin.feature_extractors import conv4, protonet
from bench_builtin.task_distributions.glyphs import Glyphs

SIZES = (16, 28)


def main() -> None:
    """Replace the shipped extractors."""
    for stale in protonet.SHIPPED.glob("protonet-conv4-*"):
        stale.unlink()
    for size in SIZES:
        tasks = Glyphs(size=size)
        started = time.perf_counter()
        embedding = conv4.train(tasks, episodes=protonet.EPISODES)
        name, version = f"protonet-conv4-glyphs-{size}", torch.__version__.partition("+")[0]
        conv4.save(embedding, protonet.SHIPPED, name, kind="protonet-conv4", data=tasks.fingerprint(), torch=version)
        print(name, dict(embedding.certificate), embedding.fingerprint()[:16], f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
