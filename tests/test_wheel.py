"""The wheel and the sdist: what they hold, and that all commands work where only the wheel is installed."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny import ROOT, xla_flags

pytestmark = pytest.mark.slow

# From the demo's config, what makes its run take seconds.
SMALL = (
    *("--config.data.name=dead_leaves", "--config.data.image_size=8", "--config.data.train_split=train[:64]"),
    *("--config.data.eval_split=test[:16]", "--config.network.channels=8", "--config.network.channel_mult=(1,)"),
    *("--config.network.attention_resolutions=()", "--config.training.batch_size=16", "--config.training.steps=4"),
    *("--config.training.sample_every=0", "--config.sampler.num_steps=3", "--config.sampling.num_samples=4"),
    *("--config.sampling.batch_size=4", "--config.likelihood.batch_size=8", "--config.likelihood.rtol=0.1"),
    *("--config.likelihood.atol=0.1", "--config.evaluation.num_samples=8", "--config.evaluation.batch_size=8"),
)

HELPS = """
from score_jax.cli.main import VERBS
from score_jax.cli.reference import help_of

print(*(len(help_of(verb)) for verb in VERBS if verb != "help"))
"""


def checked(*words: object, **options) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The wheel and the sdist, made from a copy, which keeps the link to the configs."""
    pytest.importorskip("build")
    copy, dist = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dist")
    for name in ("score_jax", "configs", "tests"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "setup.py",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    ):
        shutil.copy(ROOT / name, copy)
    checked(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, copy)
    return next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))


def shipped() -> set[str]:
    """Every Python file of the package and of the configs, as a wheel names it."""
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "score_jax").rglob("*.py")}
    return files | {f"score_jax/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.py")}


def test_they_hold_all_of_the_package_and_nothing_else(built):
    wheel, sdist = built
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.endswith(".py")} == shipped()
    assert {"score_jax/py.typed", "score_jax/data/vocabularies/bpe_simple_vocab_16e6.txt.gz"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"score_jax"}
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    assert shipped() <= inside and {"README.md", "LICENSE", "pyproject.toml", "setup.py"} <= inside
    assert not [name for name in inside if name.startswith("tests/")]


def test_twine_and_check_wheel_contents_accept_them(built):
    pytest.importorskip("twine")
    pytest.importorskip("check_wheel_contents")
    assert checked(sys.executable, "-m", "twine", "check", "--strict", *built).count("PASSED") == 2
    checked(sys.executable, "-m", "check_wheel_contents", built[0])


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The folder of commands of an environment that has the wheel, and what it depends on from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "here.pth").write_text("\n".join(here) + "\n")
    checked(
        *(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"),
        # Not as what is there already: an editable installation may be seen from there too.
        *("--ignore-installed", "--no-deps", "--no-index", "--disable-pip-version-check", built[0]),
    )
    return folder / "bin"


def test_the_commands_work_without_the_clone(installed, tmp_path):
    """Each finds the config by the path that the README prints, in a folder with a `configs` package of the user."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('the package of the user')\n")
    image, mask = np.full((8, 8), 90, np.uint8), np.zeros((8, 8), np.uint8)
    mask[4:] = 255
    Image.fromarray(image).save(tmp_path / "digit.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    # Found as `python -m` finds it.
    (tmp_path / "own.py").write_text("def pixels(images):\n    return images.reshape(len(images), -1)[:, :4] / 255\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"XLA_FLAGS": xla_flags(1), "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def score_jax(*words: str) -> str:
        return checked(installed / "score_jax", *words, cwd=tmp_path, env=environment)

    where = checked(
        installed / "python", "-c", "import score_jax; print(score_jax.__file__)", cwd=tmp_path, env=environment
    )
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert "demo/mnist " in score_jax("help", "configs", "demo")
    assert "_score_jax" in score_jax("completion", "bash")
    assert "Training done" in score_jax("train", "--config=configs/demo/mnist.py", "--workdir=runs/mnist", *SMALL)
    for words in (
        ("sample", "--workdir=runs/mnist", "--solver=heun", "--steps=3"),
        ("edit", "--workdir=runs/mnist", "--image=digit.png", "--mask=mask.png"),
        ("likelihood", "--workdir=runs/mnist", "--config.likelihood.num_examples=8"),
        ("encode", "--workdir=runs/mnist"),
        ("evaluate", "--workdir=runs/mnist", "--num_samples=8", "--features=own:pixels"),
        ("inspect", "runs/mnist"),
        ("export", "runs/mnist", "shared/mnist"),
    ):
        score_jax(*words)
    assert np.load(tmp_path / "runs" / "mnist" / "samples.npz")["arr_0"].shape == (4, 8, 8, 1)
    config = json.loads((tmp_path / "runs" / "mnist" / "config.json").read_text())
    assert config["data"]["image_size"] == 8
    found = checked(installed / "python", "-c", HELPS, cwd=tmp_path, env=environment)
    assert min(map(int, found.split())) > 100
