"""Built-in metrics."""

from bench_builtin.metrics.generation import Coverage, Energy, Fid, HighQuality, Kid, KnownModes, Memorisation, Recall, Vendi
from bench_builtin.metrics.prediction import Accuracy, MeanSquaredError
from bench_builtin.metrics.recognition import AugmentedAccuracy, AugmentedCnnAccuracy, InceptionScore

METRICS = {
    "energy": Energy,
    "kid": Kid,
    "fid": Fid,
    "recall": Recall,
    "coverage": Coverage,
    "vendi": Vendi,
    "modes": KnownModes,
    "high-quality": HighQuality,
    "memorisation": Memorisation,
    "inception-score": InceptionScore,
    "augmented-accuracy": AugmentedAccuracy,
    "augmented-cnn-accuracy": AugmentedCnnAccuracy,
    "accuracy": Accuracy,
    "mse": MeanSquaredError,
}
