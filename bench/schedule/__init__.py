"""Executors: jobs in an order, on Ray or in this process, with retries, time limits and shared prerequisites.

Only ``on_ray`` imports Ray, and only when a RayExecutor is made.
"""

from bench.schedule.executor import Event, Executor, make_executor
from bench.schedule.inline import InlineExecutor
from bench.schedule.on_ray import Probe, RayExecutor
from bench.schedule.queue import Job, Queue, dispatch_order

__all__ = ["Event", "Executor", "InlineExecutor", "Job", "Probe", "Queue", "RayExecutor", "dispatch_order", "make_executor"]
