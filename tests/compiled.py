"""The form of a program's convolutions, as they are written and as XLA compiles them."""

import re
from typing import Any

_FAST = "b01f_01io->b01f"
"""NHWC images and HWIO kernels: what XLA's CPU kernels compute. In any other form a loop runs 20 to 60 times slower."""


def slow_forms(lowered: Any) -> list[str]:
    """Those of a lowered program, compiled for this machine, that are not fast."""
    return _slow(lowered.compile().as_text())


def slow_forms_as_written(lowered: Any) -> list[str]:
    """Those that are not fast before XLA's passes, which keep what is fast; compiling takes twenty times as long."""
    return _slow(lowered.as_text(dialect="hlo"))


def _slow(program: str) -> list[str]:
    found = re.findall(r"= \S+ convolution\(.*?dim_labels=([^,\s]+)", program)
    assert found, "no convolution in the program: nothing is tested"
    return [form for form in found if form != _FAST]
