"""What is measured of a game that adapts, beside the samples that come of it.

Shape suffixes: K adaptation steps, T tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.measure.health import gradient_norm, vanishing_share, vanishing_steps
from bench.trial.adaptation import Adaptation

Array = np.ndarray[Any, Any]


def game_health(tasks: Adaptation) -> dict[str, Array]:
    """{measure: (T,)} at the tasks' adaptation step: what the game says of itself, and how its players' gradients have fared.

    The gradients are those that adaptation has taken anyway, so there are none at step 0, and none of players that do not adapt.
    """
    with torch.no_grad():
        said = tasks.engine.health(tasks.meta, tasks.end, tasks.batch, tasks.draws.at("health"))
    found = {name: values.cpu().numpy().astype(np.float64) for name, values in said.items()}
    for player in tasks.norms[-1] if tasks.norms else ():
        norms_KT = np.stack([norms[player].cpu().numpy() for norms in tasks.norms])
        found[gradient_norm(player)] = norms_KT[-1]
        found[vanishing_steps(player)] = vanishing_share(norms_KT)[-1]
    return found
