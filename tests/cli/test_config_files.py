"""`--config` finds the library's configs by name from any folder, and files of users by their paths."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from score_jax.cli.config_files import about, config_of_file, path_of, shipped_names
from score_jax.cli.main import main
from score_jax.errors import InputError
from tiny import ROOT, command, environment, write_config

CONFIGS = ROOT / "configs"


def test_every_config_of_the_folder_has_a_name_and_says_what_it_is():
    names = shipped_names()
    assert len(names) > 100 and {"adm/imagenet64", "demo/mnist", "score_sde/vp/ddpm/church", "lineage"} <= set(names)
    assert not [name for name in names if name.endswith(("shared", "__init__"))]
    files = [path for path in CONFIGS.rglob("*.py") if path.name not in ("shared.py", "__init__.py")]
    assert {str(path.relative_to(CONFIGS))[:-3] for path in files} == set(names)
    assert all(about(name) for name in names)


@pytest.mark.parametrize("word", ["demo/mnist", "demo/mnist.py", "configs/demo/mnist", "configs/demo/mnist.py"])
def test_a_name_is_found_from_any_folder(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_of(word).resolve() == CONFIGS / "demo" / "mnist.py"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path("configs/demo/mnist.py")
    own.parent.mkdir(parents=True)
    own.write_text("from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({'own': 1})\n")
    assert config_of_file("configs/demo/mnist.py").own == 1
    assert config_of_file("demo/mnist").data.name == "mnist_5k"


@pytest.mark.slow
def test_a_copied_config_works_beside_a_package_of_the_user_that_is_called_configs(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('the package of the user')\n")
    (tmp_path / "own.py").write_text((CONFIGS / "adm" / "imagenet64.py").read_text())
    for word in ("own.py", "adm/imagenet64"):
        done = subprocess.run(
            command("train", f"--config={word}"), cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert "--workdir is missing" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("adm/imagenet65", "adm/imagenet64"),
        ("imagenet64_cond_adm", "edm/imagenet64_cond_adm"),
        ("configs/ddpm/cifar.py", "ddpm/cifar10"),
    ],
)
def test_a_wrong_name_gets_the_nearest_one(word, near):
    with pytest.raises(InputError, match=f"No config file {word}.* Did you mean '{near}'"):
        path_of(word)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from configs import mine", "imports `configs`, which is not found here"),
        ("x = 1", "has no function get_config"),
    ],
)
def test_a_file_that_is_no_config_gets_one_line(text, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.path", [folder for folder in sys.path if folder not in ("", str(ROOT))])
    for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    path = tmp_path / "own.py"
    path.write_text(text + "\n")
    with pytest.raises(InputError, match=message):
        config_of_file(str(path))


def test_variants(tmp_path):
    assert config_of_file("lineage:edm").process.name == "edm"
    with pytest.raises(InputError, match="Unknown system of the lineage 'emd'. Did you mean 'edm'"):
        config_of_file("lineage:emd")
    with pytest.raises(InputError, match="demo/mnist has no variants: leave out 'large'"):
        config_of_file("demo/mnist:large")
    with pytest.raises(InputError, match="is no config file"):
        config_of_file(str(write_config(tmp_path).rename(tmp_path / "tiny.txt")))


def test_help_lists_them_with_what_they_are(capsys):
    assert main(["score_jax", "help", "configs", "dpm2015"]) == 0
    printed = capsys.readouterr().out
    assert "dpm2015/swiss_roll" in printed and "adm/" not in printed
    assert main(["score_jax", "help", "configs"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in shipped_names())
    assert main(["score_jax", "help", "configs", "amd"]) == 2
    assert "Unknown folder of configs 'amd'. Did you mean 'adm'" in capsys.readouterr().err


def test_configs_import_one_another_by_the_name_that_an_installed_package_has():
    imported = [
        node.module or ""
        for path in CONFIGS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    assert any(name.startswith("score_jax.configs") for name in imported)
    assert not [name for name in imported if name.partition(".")[0] == "configs"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "line 1: SyntaxError: invalid syntax"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def get_config():\n    return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("def get_config():\n    return {}.x", "line 2: AttributeError: 'dict' object has no attribute 'x'"),
        ("def get_config():\n    return {}", "returns dict: expected an ml_collections.ConfigDict"),
    ],
)
def test_a_config_file_that_fails_is_one_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text + "\n")
    with pytest.raises(InputError, match=re.escape(message)) as found:
        config_of_file(str(tmp_path / "mine.py"))
    assert str(tmp_path / "mine.py") in str(found.value) and "\n" not in str(found.value)
