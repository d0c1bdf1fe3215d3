"""Augmentations: of tasks and supports, and of what the discriminator sees."""

from bench_builtin.augmentations.tasks import MetaMix, SupportAugmentation, TaskAugmentation
from bench_builtin.augmentations.views import Ada, AdversarialAugmentation, DiffAugment

__all__ = ["AUGMENTATIONS", "Ada", "AdversarialAugmentation", "DiffAugment", "MetaMix", "SupportAugmentation", "TaskAugmentation"]

AUGMENTATIONS = {
    "task-augmentation": TaskAugmentation,
    "support-augmentation": SupportAugmentation,
    "metamix": MetaMix,
    "diffaugment": DiffAugment,
    "ada": Ada,
    "adversarial-augmentation": AdversarialAugmentation,
}
