"""Pages of docs/ whose parts benchmarks write with `--docs`."""

import importlib.metadata
import os
import platform
from pathlib import Path

import jax

from score_jax.runtime.files import written_whole


def put_into_page(page: Path, name: str, parts: list[str]) -> None:
    """Replaces what stands between two marks on a page by these paragraphs.

    Args:
      page: that has `<!-- NAME: written by --docs -->` and `<!-- NAME: end -->`.
      name: of the marks.
      parts: of Markdown.
    """
    begin, end = f"<!-- {name}: written by --docs -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    text = before + "\n\n".join([begin, *parts, end]) + rest.partition(end)[2]
    with written_whole(page) as temporary:
        temporary.write_text(text)


def row(*cells: str) -> str:
    """A row of a table of Markdown."""
    return f"| {' | '.join(cells)} |"


def made_by(command: str) -> str:
    """The line that says what made a page's numbers, and on which machine."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax", "diffrax"))
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    return f"`{command}`; {device}; Python {platform.python_version()}, {versions}."
