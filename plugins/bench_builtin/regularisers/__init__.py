"""Regularisers: penalties on a player, and those of meta-learning, which combine with any learner."""

from bench_builtin.regularisers.dropout import MetaDropout
from bench_builtin.regularisers.memorisation import MrMaml
from bench_builtin.regularisers.outer import OuterClip, OuterWeightDecay
from bench_builtin.regularisers.penalties import R1, GradientPenalty
from bench_builtin.regularisers.tasks import Taml

__all__ = ["R1", "REGULARISERS", "GradientPenalty", "MetaDropout", "MrMaml", "OuterClip", "OuterWeightDecay", "Taml"]

REGULARISERS = {
    "gradient-penalty": GradientPenalty,
    "r1": R1,
    "outer-weight-decay": OuterWeightDecay,
    "outer-clip": OuterClip,
    "mr-maml": MrMaml,
    "taml": Taml,
    "meta-dropout": MetaDropout,
}
