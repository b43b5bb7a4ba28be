"""Commands in README.md and docs/: verbs, flags, configs and keys that they name are there."""

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from score_jax.builder.options import keys_of
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sections import METHODS
from score_jax.cli.config_files import path_of
from score_jax.cli.main import VERBS
from score_jax.cli.reference import flags_in, help_of
from score_jax.cli.verb import ALIASES
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.jobs.convert import RELEASES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FUNCTIONS = {"evaluate": "--sampler", "likelihood": "--model"}


def commands_in(text: str) -> list[list[str]]:
    """The words of the library's commands in fenced blocks of a page, each from its verb on."""
    found = []
    indented = re.findall(r"^    ((?:python -m )?score_jax .*)$", text, re.MULTILINE)
    for block in [*re.findall(r"```(?:bash|console|sh)\n(.*?)```", text, re.DOTALL), *indented]:
        for line in block.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                continue  # a line that is no command
            for place, word in enumerate(words):
                module = word == "score_jax" and words[max(0, place - 1)] in ("-m", "score_jax")
                launched = word == "--" and place and words[0].startswith("launch/")
                if (module or launched) and place + 1 < len(words):
                    found.append(words[place + 1 :])
                    break
    return found


COMMANDS = [(page.relative_to(ROOT), words) for page in PAGES for words in commands_in(page.read_text())]


def flags_of(words: list[str]) -> set[str]:
    """The flags that a verb takes, without dashes and "="."""
    verb = words[0]
    texts, function = [help_of(verb)], FUNCTIONS.get(verb)
    if function and any(word.startswith(function) for word in words):
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
            importlib.import_module(f"score_jax.cli.{verb}").main([verb, f"{function}=a:b", "--help"])
        texts.append(printed.getvalue())
    short = [*ALIASES, "--num_samples", "--labels", "--help"]
    return {flag.strip("-=") for text in texts for flag in flags_in(text)} | {flag.strip("-") for flag in short}


def keys_of_section(section: str) -> set[str]:
    """The keys that a section of a config may have."""
    found = set(keys_of(SECTIONS[section])) if section in SECTIONS else set()
    for options in METHODS.get(section, {}).values():
        found |= {"name", *keys_of(options)}
    return found


def test_there_are_commands():
    assert len(COMMANDS) > 70 and len({words[0] for _, words in COMMANDS}) > 12


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page.stem}-{i}" for i, (page, _) in enumerate(COMMANDS)])
def test_what_a_command_names_is_there(page, words):
    verb = words[0]
    assert verb in VERBS, words
    known = flags_of(words) if verb != "help" else set()
    for word in words[1:]:
        name, _, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or word == "--":
            continue
        if name == "config" and value.isascii() and "/" in value and not value.isupper():
            path_of(value.partition(":")[0])
        elif name.startswith("config.") and name.count(".") == 2:
            _, section, key = name.split(".")
            if section.islower() and key.islower():
                assert key in keys_of_section(section), word
        elif not name.startswith(("config.", "guidance.")):
            assert name in known, word


def test_the_numbers_of_the_readme_are_those_of_the_code():
    text = (ROOT / "README.md").read_text()
    words = {17: "Seventeen", 12: "twelve"}
    assert f"{words[len(PROTOCOLS)]} protocols by name" in text
    assert f"{words[len(RELEASES)]} releases are read" in text


@pytest.mark.slow
def test_what_the_readme_prints_runs(tmp_path):
    """In a clone of the last commit, after a demo of a few steps."""
    if shutil.which("git") is None or subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=False).returncode:
        pytest.skip("this is no clone that git reads")
    environment = os.environ | {"VENV": sys.prefix, "TMPDIR": str(tmp_path)}
    words = [ROOT / "launch" / "readme_check.sh", "--short"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "everything in README.md runs" in done.stdout
