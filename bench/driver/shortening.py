"""A suite cut short: does it run at all? Its results are no answer, and have a folder of their own."""

from __future__ import annotations

from typing import Any

from bench.suite.model import Budget, Suite


def quick(suite: Suite) -> Suite:
    """One replicate, a twentieth of the budget, few tasks: does it run at all? Its results have a folder of their own."""

    def small_budget(budget: Budget) -> Budget:
        amount = min(budget.amount, max(20, budget.amount // 20))
        # At most half, so that something is left for the learners themselves.
        warm = {name: min(max(1, value // 20), max(1, amount // 2)) for name, value in budget.warm_start.items()}
        return budget.model_copy(update={budget.axis: amount, "warm_start": warm})

    def small_protocol(protocol: Any) -> Any:
        tasks = protocol.tasks.model_copy(
            update={"meta_val": min(2, protocol.tasks.meta_val), "meta_test": min(6, protocol.tasks.meta_test)}
        )
        return protocol.model_copy(update={"tasks": tasks, "validations": min(1, protocol.validations)})

    overrides = {}
    for label, override in suite.per_task_distribution.items():
        small = {"budget": small_budget, "protocol": small_protocol}
        changed = {name: shrink(getattr(override, name)) for name, shrink in small.items() if name in override.model_fields_set}
        overrides[label] = override.model_copy(update=changed)
    return suite.model_copy(
        update={
            "name": f"{suite.name}-quick",
            "replicates": 1,
            "budget": small_budget(suite.budget),
            "protocol": small_protocol(suite.protocol),
            "per_task_distribution": overrides,
            "tuning": suite.tuning and suite.tuning.model_copy(update={"trials": min(2, suite.tuning.trials)}),
        }
    )
