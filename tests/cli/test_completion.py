"""The completions of bash and zsh, in the shells themselves."""

import shutil
import subprocess

import pytest

from score_jax.cli.completion import script
from score_jax.cli.config_files import shipped_names
from score_jax.cli.main import VERBS, main
from score_jax.cli.reference import flags_in, help_of

TYPED = [
    (["tra"], ["train"]),
    (["train", "--conf"], ["--config="]),
    (["train", "--config", "=", "adm/imagenet64"], ["adm/imagenet64", "adm/imagenet64_256_upsample"]),
    (["train", "--config", "="], shipped_names()),
    (["train", "--config.training.batch"], ["--config.training.batch_size="]),
    (["train", "--config.sampler.na"], ["--config.sampler.name="]),
    (["train", "--pro"], ["--profile"]),
    (["fid", "--pro"], ["--protocol="]),
    (["sample", "--so"], ["--solver="]),
    (["help", "guid"], ["guidance"]),
    (["inspect", "run"], []),
]


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    path = tmp_path_factory.mktemp("shell") / "score_jax.bash"
    path.write_text(script("bash"))
    return path


@pytest.mark.parametrize(("words", "completed"), TYPED, ids=lambda words: " ".join(words)[:30])
def test_bash_completes(words, completed, bash, tmp_path):
    quoted = " ".join(f"'{word}'" for word in ["score_jax", *words])
    typed = f"source {bash}; compopt() {{ :; }}; COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _score_jax"
    done = subprocess.run(
        ["bash", "-uc", typed + "; printf '%s\\n' ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.split() == completed


def test_bash_completes_config_files_of_the_user(bash, tmp_path):
    (tmp_path / "adm_own.py").touch()
    (tmp_path / "adm_own.txt").touch()
    typed = f"source {bash}; COMP_WORDS=(score_jax train --config = adm_o); COMP_CWORD=4; _score_jax"
    done = subprocess.run(["bash", "-c", typed + '; echo "${COMPREPLY[@]}"'], cwd=tmp_path, capture_output=True)
    assert done.stdout.decode().split() == ["adm_own.py"]


def test_zsh_reads_its_script(tmp_path):
    (tmp_path / "_score_jax").write_text(script("zsh"))
    text = script("zsh")
    assert text.startswith("#compdef score_jax\n") and "@" not in text
    assert all(f"      {verb}) flags=(" in text for verb in VERBS if verb != "help")
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", tmp_path / "_score_jax"], check=True)


def test_the_verb_prints_the_script_or_says_which_shells_there_are(capsys):
    assert main(["score_jax", "completion", "bash"]) == 0
    assert capsys.readouterr().out == script("bash")
    assert main(["score_jax", "completion", "fish"]) == 2
    assert "Unknown shell 'fish'. Known: bash, zsh." in capsys.readouterr().err
    assert main(["score_jax", "completion"]) == 2
    assert capsys.readouterr().err == (
        "score_jax completion: The following arguments are required: shell. `score_jax completion --help` lists the "
        "arguments.\n"
    )


def test_flags_are_read_from_both_kinds_of_help():
    assert {"--config=", "--workdir=", "--profile"} <= set(flags_in(help_of("train")))
    assert flags_in(help_of("inspect")) == ["--arrays", "--json", "--step="]
    assert {"--allow_other_weights", "--inception_weights=", "--save="} <= set(flags_in(help_of("fid")))
