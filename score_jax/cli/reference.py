"""What `VERB --help` prints, for what is made of it: shell completion and docs/cli.md."""

import contextlib
import importlib
import io
import os
import re

_WIDTH = "100"
_OF_ABSL = ("flagfile", "undefok")


def help_of(verb: str) -> str:
    """Returns the help of a verb, as it prints it in 100 columns."""
    module, printed = importlib.import_module(f"score_jax.cli.{verb}"), io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH  # which argparse reads
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            module.main([verb, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return printed.getvalue().strip()


def flags_in(text: str) -> list[str]:
    """Returns the flags that a help explains, those with a value with a "=" at their end.

    Both absl's way of writing them is read (`--[no]profile:`, `--step: ...`) and argparse's (`--step STEP`).
    """
    found = re.findall(r"^ +--(\[no\])?(\w+)(:| [A-Z{]|$|  )", text, re.MULTILINE)
    switches = {name for no, name, after in found if no or after in ("", "  ")}
    names = {name for _, name, _ in found if name not in _OF_ABSL}
    return sorted(f"--{name}" if name in switches else f"--{name}=" for name in names)
