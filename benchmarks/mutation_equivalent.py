"""Mutants that no test can kill, each with the reason: what changes is never seen, or as right as what was there."""

EQUIVALENT: dict[tuple[str, str, str], str] = {}
"""By the file, the line's content and the change, as `mutation.py` prints them."""
