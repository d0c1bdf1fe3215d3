"""Built-in feature extractors."""

from bench_builtin.feature_extractors.flat import Identity, Pixels
from bench_builtin.feature_extractors.protonet import ProtoNetConv4

FEATURE_EXTRACTORS = {"identity": Identity, "pixels": Pixels, "protonet-conv4": ProtoNetConv4}
