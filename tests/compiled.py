"""What XLA made of a program: the form of its convolutions."""

import re
from typing import Any

_FAST = "b01f_01io->b01f"
"""NHWC images and HWIO kernels: what XLA's CPU kernels compute. In any other form a loop runs 20 to 60 times slower."""


def forms(lowered: Any) -> list[str]:
    """The layouts of the convolutions of a lowered program, compiled for this machine."""
    return re.findall(r"= \S+ convolution\(.*?dim_labels=([^,\s]+)", lowered.compile().as_text())


def slow_forms(lowered: Any) -> list[str]:
    """Those that are not fast; there must be convolutions to speak of."""
    found = forms(lowered)
    assert found, "no convolution in the program: nothing is tested"
    return [form for form in found if form != _FAST]
