"""Config files: the library's own by their names, anyone's by their paths."""

import ast
import difflib
import importlib.util
import inspect
import re
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from score_jax import configs
from score_jax.builder.migration import MOVED, hint_of_moved
from score_jax.builder.run_options import SECTIONS
from score_jax.errors import InputError

SHIPPED = Path(configs.__path__[0])
"""The folder of the library's own configs: `configs/` of a clone, which an installed package holds as well."""


def shipped_names() -> list[str]:
    """Returns the names of the library's configs, such as adm/imagenet64."""
    files = (path for path in SHIPPED.rglob("*.py") if re.search(r"^def get_config\(", path.read_text(), re.MULTILINE))
    return sorted(path.relative_to(SHIPPED).with_suffix("").as_posix() for path in files)


def about(name: str) -> str:
    """Returns the first line of the docstring of the config of this name."""
    return (ast.get_docstring(ast.parse((SHIPPED / f"{name}.py").read_text())) or "").partition("\n")[0]


def _near(name: str, known: list[str]) -> str | None:
    """The known name that is most like this one, or whose last part is most like its last part."""
    if found := difflib.get_close_matches(name, known, n=1):
        return found[0]
    last = difflib.get_close_matches(name.rpartition("/")[2], [word.rpartition("/")[2] for word in known], n=1)
    return next((word for word in known if last and word.rpartition("/")[2] == last[0]), None)


def path_of(config: str) -> Path:
    """Returns the file that `--config` means: a path, or else the name of one of the library's configs.

    The name is the path below `configs/`, with or without `configs/` and `.py`: adm/imagenet64 and
    configs/adm/imagenet64.py are found from any folder. A file of the user comes first.

    Raises:
      InputError: there is neither such a file nor such a config.
    """
    if Path(config).is_file():
        if Path(config).suffix != ".py":
            raise InputError(f"{config} is no config file: expected a Python file like configs/demo/mnist.py.")
        return Path(config)
    name, known = config.removeprefix("./").removeprefix("configs/").removesuffix(".py"), shipped_names()
    if name in known:
        return SHIPPED / f"{name}.py"
    hint = f" Did you mean {near!r}?" if (near := _near(name, known)) else ""
    raise InputError(
        f"No config file {config}, and no config of this name.{hint} `python -m score_jax help configs` lists them."
    )


def config_of_file(file: str) -> ConfigDict:
    """Returns the config of a file or name, as its `get_config` makes it; of NAME:VARIANT that is handed the variant.

    Raises:
      InputError: there is no such file or variant, it sets a key that no config has, or it fails in another way.
    """
    name, _, variant = file.partition(":")
    path = path_of(name)
    spec = importlib.util.spec_from_file_location("score_jax_config", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise InputError(f"{path} has no function get_config: expected a config file like configs/demo/mnist.py.")
        if variant and not inspect.signature(module.get_config).parameters:
            raise InputError(f"--config={file}: {name} has no variants: leave out {variant!r}.")
        config = module.get_config(variant) if variant else module.get_config()
    except InputError:
        raise
    except (AttributeError, KeyError) as error:
        raise _unknown_key(error) or _failed(path, error) from error
    except ModuleNotFoundError as error:
        if error.name != "configs":
            raise _failed(path, error) from error
        hint = "the library's own are `from score_jax.configs import base`"
        raise InputError(f"{path} imports `configs`, which is not found here: {hint}.") from error
    except Exception as error:
        raise _failed(path, error) from error
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"get_config of {path} returns {type(config).__name__}: expected an ml_collections.ConfigDict."
        )
    return config


def _failed(path: Path, error: Exception) -> InputError:
    """What a config file raised, as one line that says where."""
    if isinstance(error, SyntaxError):
        where, text = error.lineno, error.msg
    else:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where, text = (lines or [None])[-1], str(error)
    line = "" if where is None else f", line {where}"
    return InputError(f"{path}{line}: {type(error).__name__}: {' '.join(text.split())}. Correct the config file.")


def _unknown_key(error: AttributeError | KeyError) -> InputError | None:
    """What ml_collections says of a key that a locked config has not, as one line; None for other errors."""
    text = str(error)
    if "does not exist" not in text and "Did you mean" not in text and "locked" not in text:
        return None
    found = re.search(r'Key "(\w+)"', text) or re.search(r"(\w+)", text)
    wrong, near = found[1] if found else text, re.search(r'Did you mean "(\w+)"', text)
    for moved in MOVED:
        if moved.partition(".")[0] in SECTIONS and moved.partition(".")[2] == wrong:
            return hint_of_moved(moved)
    hint = f" Did you mean {near[1]!r}?" if near else ""
    return InputError(f"The config has no key {wrong!r}.{hint}")
