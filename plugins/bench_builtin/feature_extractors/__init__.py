"""Built-in feature extractors."""

from bench_builtin.feature_extractors.flat import Identity, Pixels
from bench_builtin.feature_extractors.inception import Inception
from bench_builtin.feature_extractors.pca import Pca
from bench_builtin.feature_extractors.protonet import ProtoNetConv4
from bench_builtin.feature_extractors.random_conv import RandomConv

FEATURE_EXTRACTORS = {
    "identity": Identity,
    "pixels": Pixels,
    "protonet-conv4": ProtoNetConv4,
    "pca": Pca,
    "random-conv": RandomConv,
    "inception": Inception,
}
