"""What wrappers of networks have in common."""

from __future__ import annotations

from torch import nn

from bench.contracts import ContractError, Kind, Network, SampleSpec

ANY_SAMPLES: tuple[Kind, ...] = ("image", "points", "signal")
"""Kinds that some network makes: a wrapper's class can't know which network it will wrap."""


def built(wrapper: str, network: Network, role: str, spec: SampleSpec) -> nn.Module:
    """What the wrapped network builds.

    Raises:
        ContractError: it does not take samples of this kind.
    """
    if spec.kind not in network.kinds:
        raise ContractError(
            f"{wrapper}: {type(network).__name__} takes samples of kind {', '.join(network.kinds)}, got {spec.kind}; wrap another network"
        )
    return network.build(role, spec)
