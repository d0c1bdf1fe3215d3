"""What every observer owes a run."""

from __future__ import annotations

import copy
from typing import Any

import pluggy

from bench import hookspecs
from bench.testing.contract import Contract, global_state_untouched
from bench.testing.small_run import small_outcomes, small_trials


class ObserverContract(Contract):
    """What every observer owes a run. Give a fixture ``observer``: the module, or another object, that has the hooks.

    Errors of an observer harm no trial, but they are logged for each one; and what it changes, the next observer sees.
    """

    def test_its_hooks_are_those_of_observers(self, observer: Any) -> None:
        """At least one, and with no other arguments than bench gives: pluggy tells them by name, and fewer may be asked for."""
        assert {caller.name for caller in _registered(observer).get_hookcallers(observer) or ()} & set(hookspecs.OBSERVERS)

    def test_it_bears_whatever_a_run_tells(self, observer: Any) -> None:
        """Trials that ended well, diverged, raised or took too long; what none of them has measured is not there."""
        hook = _registered(observer).hook
        for trial in small_trials():
            hook.bench_trial_started(trial=trial.to_dict())
        for outcome in small_outcomes():
            hook.bench_trial_finished(**outcome)
        hook.bench_suite_finished(results="results/small", rows=len(small_trials()))

    def test_it_changes_nothing(self, observer: Any) -> None:
        """Neither what it is told nor what the driver shares with it."""
        hook = _registered(observer).hook
        for outcome in small_outcomes():
            kept = copy.deepcopy(outcome)
            with global_state_untouched():
                hook.bench_trial_finished(**outcome)
            assert outcome == kept


def _registered(observer: Any) -> pluggy.PluginManager:
    """A manager with this one plugin; pluggy refuses an argument that the hook does not give."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(observer)
    manager.check_pending()
    return manager
