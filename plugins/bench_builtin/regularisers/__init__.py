"""Regularisers: penalties on a player, and those of meta-learning, which combine with any learner."""

from bench_builtin.regularisers.consistency import BalancedConsistency, Consistency, LatentConsistency
from bench_builtin.regularisers.diversity import FeatureMatching, ModeSeeking
from bench_builtin.regularisers.dropout import MetaDropout
from bench_builtin.regularisers.lecam import LeCam
from bench_builtin.regularisers.memorisation import MrMaml
from bench_builtin.regularisers.outer import OuterClip, OuterWeightDecay
from bench_builtin.regularisers.slopes import R1, R2, Dragan, GradientPenalty, OneSidedPenalty
from bench_builtin.regularisers.tasks import Taml
from bench_builtin.regularisers.weights import Orthogonal, SpectralNorm, WeightClip

__all__ = [
    "R1",
    "R2",
    "REGULARISERS",
    "BalancedConsistency",
    "Consistency",
    "Dragan",
    "FeatureMatching",
    "GradientPenalty",
    "LatentConsistency",
    "LeCam",
    "MetaDropout",
    "ModeSeeking",
    "MrMaml",
    "OneSidedPenalty",
    "Orthogonal",
    "OuterClip",
    "OuterWeightDecay",
    "SpectralNorm",
    "Taml",
    "WeightClip",
]

REGULARISERS = {
    "gradient-penalty": GradientPenalty,
    "one-sided-penalty": OneSidedPenalty,
    "r1": R1,
    "r2": R2,
    "dragan": Dragan,
    "consistency": Consistency,
    "balanced-consistency": BalancedConsistency,
    "latent-consistency": LatentConsistency,
    "lecam": LeCam,
    "feature-matching": FeatureMatching,
    "mode-seeking": ModeSeeking,
    "orthogonal": Orthogonal,
    "weight-clip": WeightClip,
    "spectral-norm": SpectralNorm,
    "outer-weight-decay": OuterWeightDecay,
    "outer-clip": OuterClip,
    "mr-maml": MrMaml,
    "taml": Taml,
    "meta-dropout": MetaDropout,
}
