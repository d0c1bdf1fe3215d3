"""Built-in meta-learners and baselines."""

from bench_builtin.meta_learners.anchored import Ewc, L2Sp
from bench_builtin.meta_learners.baselines import EmaFinetune, Finetune, NoAdapt, Scratch
from bench_builtin.meta_learners.context import Cavia
from bench_builtin.meta_learners.dawson import Dawson
from bench_builtin.meta_learners.hierarchical import Hierarchical
from bench_builtin.meta_learners.hypernetwork import Hypernetwork
from bench_builtin.meta_learners.implicit import Imaml
from bench_builtin.meta_learners.initialisations import DcganNormal, Orthogonal, Xavier
from bench_builtin.meta_learners.learned_optimiser import LearnedOptimiser
from bench_builtin.meta_learners.maml import Anil, Boil, Maml, QueryLearner
from bench_builtin.meta_learners.oracle import ClassOracle
from bench_builtin.meta_learners.rates import Alfa, MamlPlusPlus, MetaSgd
from bench_builtin.meta_learners.reptile import Figr, Reptile
from bench_builtin.meta_learners.samplers import Kde, Memorise
from bench_builtin.meta_learners.warpgrad import WarpGrad

__all__ = [
    "Alfa",
    "Anil",
    "Boil",
    "Cavia",
    "ClassOracle",
    "DcganNormal",
    "EmaFinetune",
    "Dawson",
    "Ewc",
    "Figr",
    "Finetune",
    "Hierarchical",
    "Hypernetwork",
    "Imaml",
    "Kde",
    "L2Sp",
    "LearnedOptimiser",
    "META_LEARNERS",
    "Maml",
    "MamlPlusPlus",
    "Memorise",
    "MetaSgd",
    "NoAdapt",
    "Orthogonal",
    "QueryLearner",
    "Reptile",
    "Scratch",
    "WarpGrad",
    "Xavier",
]

META_LEARNERS = {
    "memorise": Memorise,
    "kde": Kde,
    "scratch": Scratch,
    "xavier": Xavier,
    "orthogonal": Orthogonal,
    "dcgan": DcganNormal,
    "finetune": Finetune,
    "no-adapt": NoAdapt,
    "ema-finetune": EmaFinetune,
    "l2-sp": L2Sp,
    "ewc": Ewc,
    "maml": Maml,
    "anil": Anil,
    "boil": Boil,
    "meta-sgd": MetaSgd,
    "maml++": MamlPlusPlus,
    "alfa": Alfa,
    "cavia": Cavia,
    "hierarchical": Hierarchical,
    "dawson": Dawson,
    "warpgrad": WarpGrad,
    "learned-optimiser": LearnedOptimiser,
    "hypernetwork": Hypernetwork,
    "imaml": Imaml,
    "reptile": Reptile,
    "figr": Figr,
    "class-oracle": ClassOracle,
}
