"""Every config that is shipped, by path, of files with variants as FILE.py:VARIANT too."""

import importlib
from pathlib import Path

from ml_collections import ConfigDict

from score_jax.configs import lineage
from score_jax.configs.adm import ablation

ROOT = Path(__file__).parents[1]
_NO_CONFIG = ("__init__.py", "shared.py")
_VARIANTS = {"configs/lineage.py": lineage.SYSTEMS, "configs/adm/ablation.py": ablation.VARIANTS}


def is_cascade_file(name: str) -> bool:
    """Whether a file's config names runs that draw one after another, and is of no run itself."""
    return name.endswith("_cascade.py")


def shipped_configs(*, cascades: bool = False) -> dict[str, ConfigDict]:
    """Of runs, or of cascades of them, as their files make them."""
    configs = {}
    for path in sorted((ROOT / "configs").rglob("*.py")):
        if path.name in _NO_CONFIG or is_cascade_file(path.name) != cascades:
            continue
        name = str(path.relative_to(ROOT))
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        configs[name] = module.get_config()
        configs |= {f"{name}:{variant}": module.get_config(variant) for variant in _VARIANTS.get(name, ())}
    return configs
