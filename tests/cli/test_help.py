"""`help` lists the sections of a config, and every key of each with its default, meaning and values."""

import inspect
import re
import subprocess
import sys
import time

import pytest

from score_jax.builder.cascade_options import SETTINGS, StageOptions
from score_jax.builder.network_tables import FROM_OTHERS, NETWORKS
from score_jax.builder.options import keys_of
from score_jax.builder.processes import PROCESSES
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sections import CONSTRUCTED, METHODS, OPTIONAL
from score_jax.cli.main import main
from score_jax.cli.sections import ABOUT
from score_jax.prediction.preconditioning import PRECONDITIONINGS

TABLES = {**METHODS, "process": PROCESSES, "network": NETWORKS, "prediction": {"none": None, **PRECONDITIONINGS}}


def shown(capsys, *words: str) -> str:
    """What a help prints, in lines of at most 100 characters."""
    assert main(["score_jax", "help", *words]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100 or not words
    return text


def keys_shown(text: str) -> set[str]:
    """The words that begin the lines of keys."""
    lines = [line for line in text.splitlines() if re.match(r"  [^ ]", line)]
    return {line.split()[0].partition("=")[0].rstrip(",") for line in lines}


def flat(text: str) -> str:
    return " ".join(text.split())


def test_help_alone_lists_verbs_and_sections(capsys):
    text = shown(capsys)
    assert keys_shown(text) >= {"train", "likelihood", "help", *SECTIONS, *METHODS, *CONSTRUCTED, *OPTIONAL, "cascade"}
    for flag in ("--help", "-h"):
        assert main(["score_jax", flag]) == 0
        assert capsys.readouterr().out == text


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_without_methods(section, capsys):
    text = shown(capsys, section)
    assert keys_shown(text) == set(keys_of(SECTIONS[section]))
    assert inspect.getdoc(SECTIONS[section]).splitlines()[0] in flat(text)


def test_every_section_is_listed():
    assert ABOUT.keys() == {*SECTIONS, *METHODS, *CONSTRUCTED, *OPTIONAL, "cascade"}


@pytest.mark.parametrize("section", TABLES)
def test_sections_with_methods(section, capsys):
    text = shown(capsys, section)
    for name, made in TABLES[section].items():
        assert f"\n  {name} " in text
        assert made is None or flat(inspect.getdoc(made).splitlines()[0]) in flat(text), name
    of_each = {name: keys_shown(shown(capsys, section, name)) - {name} for name in TABLES[section]}
    assert set().union(*of_each.values()) == keys_shown(text) - TABLES[section].keys()
    for name, keys in of_each.items():
        if section in METHODS:
            assert keys == set(keys_of(METHODS[section][name]))
    assert section != "network" or not keys_shown(text) & set(FROM_OTHERS)


def test_the_keys_of_a_stage(capsys):
    text = shown(capsys, "cascade")
    assert keys_shown(text) == {*keys_of(StageOptions), *SETTINGS}
    assert "cascade.stage1, cascade.stage2, ... in their order" in text
    assert "step=-1 step of the stage's checkpoint; -1: the newest (at least -1)" in flat(text)


def test_a_key_has_its_default_meaning_and_values(capsys):
    text = flat(shown(capsys, "sampler", "predictor_corrector"))
    assert (
        "snr=0.16 signal-to-noise ratio of the Langevin steps, which sets their size (more than 0; only with corrector="
        in text
    )
    assert "predictor='reverse_diffusion' the predictor (none, ddim, reverse_diffusion, ancestral, euler_" in text
    assert "(at least 0; only in continuous time)" in text
    text = flat(shown(capsys, "network", "ncsnpp"))
    assert "channels channels of the first level (`nf`) (at least 1) channel_mult multiple of `channels`" in text
    assert "dtype compute dtype; parameters, norms, softmax, embedding and output stay float32 (float32, bfl" in text
    assert "schedule='linear' name of the schedule of beta (lin" in flat(shown(capsys, "process", "vp_chain"))
    text = flat(shown(capsys, "prediction"))
    assert "label the number that tells the network the time or the noise level (999t," in text
    assert "sigma_data=0.5 standard deviation of the" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["samplr"],
            "Unknown section of the config 'samplr'. Did you mean 'sampler'? "
            "Known: cascade, clip, codec, condition_encoder, data,",
        ),
        (["sampler", "hun"], "Unknown sampler.name 'hun'. Did you mean 'heun'?"),
        (["network", "ncsn+"], "Unknown network.name 'ncsn+'. Did you mean 'ncsn'?"),
        (["prediction", "edn"], "Unknown prediction.preconditioning 'edn'. Did you mean 'edm'?"),
        (["ema", "heun"], "The section ema has no methods: `help ema` lists its keys."),
        (["sampler", "heun", "churn"], "Give a section, or a section and a method, e.g. help sampler"),
    ],
)
def test_unknown_words_are_one_line(words, message, capsys):
    assert main(["score_jax", "help", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"score_jax help: {message}") and error.count("\n") == 1


def test_no_backend_is_started():
    code = (
        "from jax._src import xla_bridge; from score_jax.cli.main import main; main(['score_jax', 'help', 'network'])"
    )
    code += "; assert not xla_bridge.backends_are_initialized()"
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.monotonic() - begin < 60
