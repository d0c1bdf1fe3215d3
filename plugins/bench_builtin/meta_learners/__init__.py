"""Built-in meta-learners and baselines."""

from bench_builtin.meta_learners.baselines import Finetune, Scratch
from bench_builtin.meta_learners.maml import Maml
from bench_builtin.meta_learners.reptile import Reptile

META_LEARNERS = {"scratch": Scratch, "finetune": Finetune, "maml": Maml, "reptile": Reptile}
