"""Writes docs/cli.md, from what the commands print as their help:  python docs/cli_page.py."""

import contextlib
import io
import re
from pathlib import Path

from score_jax.cli import help as help_verb
from score_jax.cli.main import VERBS
from score_jax.cli.reference import help_of
from score_jax.cli.sections import ABOUT

_HEAD = """<!-- Made by docs/cli_page.py; a test compares it with the parsers. -->
# Commands

`python -m score_jax VERB ...`, or `score_jax VERB ...` where the package is installed. `--config` takes the name of a
config (`score_jax help configs` lists them) or the path of a file; `--config.section.key=value` overrides a key.
`score_jax completion bash` (or `zsh`) prints a script that completes verbs, flags, configs and keys.
"""


def _of_section(section: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        help_verb.main(["help", section])
    return printed.getvalue().strip()


def page() -> str:
    """Returns the page."""
    parts = [_HEAD, "## Verbs\n"]
    parts += [f"- [{verb}](#{verb}): {about}" for verb, about in VERBS.items() if verb != "help"]
    for verb in VERBS:
        if verb != "help":
            text = re.sub(r"\n+  absl\.flags:\n.*", "", help_of(verb), flags=re.DOTALL)
            parts.append(f"\n### {verb}\n\n```text\n{text}\n```")
    parts.append("\n## Sections of a config\n\nWhat `score_jax help SECTION` prints.")
    parts += [f"\n### Section {section}\n\n```text\n{_of_section(section)}\n```" for section in ABOUT]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(page())
