"""Networks. Norms are those whose third derivatives PyTorch gets right, so penalties work at second order."""

from bench_builtin.networks.attention import Attention
from bench_builtin.networks.conv1d import Conv1d
from bench_builtin.networks.conv4 import Conv4
from bench_builtin.networks.dcgan import Dcgan
from bench_builtin.networks.encoder_head import EncoderHead
from bench_builtin.networks.minibatch_std import MinibatchStd
from bench_builtin.networks.mlp import Mlp
from bench_builtin.networks.pac import Pac
from bench_builtin.networks.resnet import Resnet

__all__ = ["NETWORKS", "Attention", "Conv1d", "Conv4", "Dcgan", "EncoderHead", "MinibatchStd", "Mlp", "Pac", "Resnet"]

NETWORKS = {
    "mlp": Mlp,
    "dcgan": Dcgan,
    "attention": Attention,
    "resnet": Resnet,
    "conv1d": Conv1d,
    "conv4": Conv4,
    "encoder-head": EncoderHead,
    "pac": Pac,
    "minibatch-std": MinibatchStd,
}
