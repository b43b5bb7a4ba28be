"""Every config that is shipped, by path, of files with variants as FILE.py:VARIANT too."""

import importlib
from pathlib import Path

from ml_collections import ConfigDict

from configs import lineage
from configs.adm import ablation

ROOT = Path(__file__).parents[1]
_NO_CONFIG = ("__init__.py", "shared.py")
_VARIANTS = {"configs/lineage.py": lineage.SYSTEMS, "configs/adm/ablation.py": ablation.VARIANTS}


def shipped_configs() -> dict[str, ConfigDict]:
    """As their files make them."""
    configs = {}
    for path in sorted((ROOT / "configs").rglob("*.py")):
        if path.name in _NO_CONFIG:
            continue
        name = str(path.relative_to(ROOT))
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        configs[name] = module.get_config()
        configs |= {f"{name}:{variant}": module.get_config(variant) for variant in _VARIANTS.get(name, ())}
    return configs
