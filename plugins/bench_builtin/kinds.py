"""Kinds of samples that a game can generate."""

from bench.contracts import Kind

GENERATIVE: tuple[Kind, ...] = ("image", "points", "signal")
