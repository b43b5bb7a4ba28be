"""Position embeddings in float64, for the peers of networks whose codes resize them in float32 always."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def interpolated_in_double(double: bool) -> Iterator[None]:
    """Within it PyTorch interpolates in float64, where that is asked for."""
    original = torch.nn.functional.interpolate
    if double:
        torch.nn.functional.interpolate = lambda x, **options: original(x.double(), **options)
    try:
        yield
    finally:
        torch.nn.functional.interpolate = original
