"""What equations and unknowns of a layer foretell, counted: the same words for an audit and for a table."""

EXACT, LIKELY, PRIOR, DIRECTION, SILENT = "exact", "likely", "prior", "direction", "silent"
"""exact: its input is a quotient. likely: as many equations as unknowns. prior: fewer. direction: up to a factor.
silent: no gradient reaches it."""

DETERMINED = 1.0
NEARLY = 0.85
"""Equations per unknown from which inputs known not to be negative were exact (conv2 of the default network: 0.9)."""


def convolution_level(ratio: float, nonnegative: bool) -> str:
    """Of a convolution's input, from its equations per unknown; nonnegative: it comes out of a ReLU."""
    return LIKELY if ratio >= (NEARLY if nonnegative else DETERMINED) else PRIOR


def linear_level(bias: bool) -> str:
    """Of a linear layer's input, at batch 1."""
    return EXACT if bias else DIRECTION
