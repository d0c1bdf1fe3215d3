"""Built-in metrics."""

from bench_builtin.metrics.diversity import Coverage, Duplicates, Ndb, Recall, Vendi
from bench_builtin.metrics.fidelity import Energy, Fid, FidInfinity, Kid, SlicedWasserstein
from bench_builtin.metrics.memorisation import DataCopying, Memorisation
from bench_builtin.metrics.modes import HighQuality, KnownModes
from bench_builtin.metrics.prediction import Accuracy, MeanSquaredError
from bench_builtin.metrics.recognition import AugmentedAccuracy, AugmentedCnnAccuracy, InceptionScore, Recognisability

METRICS = {
    "energy": Energy,
    "kid": Kid,
    "fid": Fid,
    "fid-infinity": FidInfinity,
    "sliced-wasserstein": SlicedWasserstein,
    "recall": Recall,
    "coverage": Coverage,
    "vendi": Vendi,
    "ndb": Ndb,
    "duplicates": Duplicates,
    "modes": KnownModes,
    "high-quality": HighQuality,
    "memorisation": Memorisation,
    "data-copying": DataCopying,
    "recognisability": Recognisability,
    "inception-score": InceptionScore,
    "augmented-accuracy": AugmentedAccuracy,
    "augmented-cnn-accuracy": AugmentedCnnAccuracy,
    "accuracy": Accuracy,
    "mse": MeanSquaredError,
}
