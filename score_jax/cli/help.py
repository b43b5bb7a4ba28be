"""`help SECTION [METHOD]`: what a config may state, from the classes that read it; `help configs`: the configs."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from score_jax.builder.cascade_options import SETTINGS, StageOptions
from score_jax.builder.options import Values, described
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sections import CONSTRUCTED, METHODS, OPTIONAL
from score_jax.cli.config_files import about, shipped_names
from score_jax.cli.sections import ABOUT, WIDTH, names
from score_jax.errors import InputError, unknown_name


def main(argv: list[str]) -> int:
    """Runs the verb: prints the keys of a section or of one of its methods, or the names of configs.

    Raises:
      InputError: there is no such section, method or folder of configs.
    """
    if len(argv) not in (2, 3):
        raise InputError("Give a section, or a section and a method, e.g. help sampler, or help sampler heun.")
    section, method = argv[1], argv[2] if len(argv) == 3 else None
    if section == "configs":
        print("\n".join(_configs(method)))
        return 0
    known = {**SECTIONS, **METHODS, **dict.fromkeys((*CONSTRUCTED, *OPTIONAL, "cascade"))}
    if section not in known:
        raise unknown_name("section of the config", section, known)
    if section in SECTIONS:
        if method is not None:
            raise InputError(f"The section {section} has no methods: `help {section}` lists its keys.")
        about = textwrap.fill(f"{section}: {ABOUT[section]}", WIDTH)
        print("\n".join([about, "", *_keys(described(SECTIONS[section]))]))
        return 0
    if section == "cascade":
        if method is not None:
            raise InputError("The section cascade has no methods: `help cascade` lists the keys of its stages.")
        print("\n".join(_cascade()))
        return 0
    table = METHODS[section] if section in METHODS else _constructed(section)
    if method is not None and method not in table:
        raise unknown_name(f"{section}.{_name_key(section)}", method, table)
    chosen = table if method is None else {method: table[method]}
    lines = [f"{section}: {ABOUT[section]}", ""]
    lines += [f"{section}.{_name_key(section)} is one of:"] if method is None else []
    lines += names({name: _first_line(made) for name, made in chosen.items()})
    print("\n".join([*lines, "", *_shared({name: _described(section, made) for name, made in chosen.items()})]))
    return 0


def _configs(folder: str | None) -> list[str]:
    """The names that `--config` takes, each with what it is about; of one folder, or of all."""
    known = shipped_names()
    chosen = [name for name in known if folder is None or name == folder or name.startswith(f"{folder}/")]
    if folder is not None and not chosen:
        raise unknown_name("folder of configs", folder, {name.partition("/")[0] for name in known})
    what = "Configs: --config=NAME takes each from any folder, as it takes the path of a file of your own."
    return [what, "", *names({name: about(name) for name in chosen})]


def _cascade() -> list[str]:
    """The keys of a stage."""
    stage = f"cascade.stage1, cascade.stage2, ... in their order. {_first_line(StageOptions)} Each has:"
    settings = [f"{name}={{}}  keys of `help {name}` that differ from the run's own config" for name in SETTINGS]
    about = [f"cascade: {ABOUT['cascade']}", "", textwrap.fill(stage, WIDTH)]
    return [*about, *_keys([*described(StageOptions), *settings])]


def _name_key(section: str) -> str:
    return "preconditioning" if section == "prediction" else "name"


def _first_line(made: Callable) -> str:
    return (inspect.getdoc(made) or "").partition("\n")[0]


def _keys(lines: Iterable[str]) -> list[str]:
    wide: dict[str, Any] = {"subsequent_indent": " " * 6, "break_on_hyphens": False, "break_long_words": False}
    return [textwrap.fill(f"  {line}", WIDTH, **wide) for line in lines]


def _shared(lines: Mapping[str, list[str]]) -> list[str]:
    """The lines of each method, those of several methods once."""
    readers: dict[str, list[str]] = {}
    for name, of_method in lines.items():
        for line in of_method:
            readers.setdefault(line, []).append(name)
    groups: dict[tuple[str, ...], list[str]] = {}
    for line, of_line in readers.items():
        groups.setdefault(tuple(of_line), []).append(line)
    shown = []
    for methods, of_group in sorted(groups.items(), key=lambda group: -len(group[0])):
        whose = "of all" if len(methods) == len(lines) > 1 else f"of {', '.join(methods)}"
        shown += [textwrap.fill(f"Keys {whose}:", WIDTH, subsequent_indent="    "), *_keys(of_group), ""]
    return shown[:-1] or ["No keys."]


def _constructed(section: str) -> Mapping[str, Callable]:
    """What the names of a section of arguments stand for. Imported here: the other sections need no network."""
    from score_jax.builder import network_tables, processes
    from score_jax.codecs.embeddings import CLIP
    from score_jax.models.text.clip_features import ClipFeatures
    from score_jax.prediction.preconditioning import PRECONDITIONINGS

    tables: dict[str, Mapping[str, Callable]] = {
        "process": processes.PROCESSES,
        "network": network_tables.NETWORKS,
        "prediction": PRECONDITIONINGS,
        "first_stage": network_tables.AUTOENCODERS,
        "clip": {CLIP: network_tables.NETWORKS[CLIP]},
        "condition_encoder": {**network_tables.ENCODERS, CLIP: ClipFeatures},
    }
    if section == "prediction":
        return {"none": _without_preconditioning, **PRECONDITIONINGS}
    return tables[section]


def _without_preconditioning(output: str, label: str) -> None:
    """Without a key `preconditioning`, the keys `output` and `label` say what the network's output and input mean.

    Args:
      output: the quantity that the network predicts. For learned_chain give forward_mean, blended_mean or data_mean,
        for binomial_chain x0_logits, each without a label; for the other processes give one of these.
      label: the number that tells the network the time or the noise level.
    """


def _described(section: str, made: Any) -> list[str]:
    if section in METHODS:
        return described(made)
    from score_jax.builder import network_tables, prediction, processes
    from score_jax.builder.naming import arguments_of

    of_sections = {"process": processes.VALUES, "prediction": prediction.VALUES}
    possible = of_sections.get(section, network_tables.VALUES)
    possible = possible | (prediction.CHOICES if section == "prediction" else {})
    meanings, parameters = _meanings(made), inspect.signature(made).parameters
    lines = []
    for key in arguments_of(made):
        if key in network_tables.FROM_OTHERS:
            continue
        default = parameters[key].default
        stated = key if default is inspect.Parameter.empty else f"{key}={default!r}"
        values = possible.get(key, Values()).described()
        line = f"{stated}  {meanings.get(key, '')}".rstrip()
        lines.append(line + (f" ({values})" if values else ""))
    for key, table in network_tables.CHOICES.items() if section not in of_sections else ():
        if key in parameters:
            lines.append(f"{key}  {meanings.get(key, '')} ({', '.join(table)})")
    return lines


def _meanings(made: Callable) -> dict[str, str]:
    """What the docstring says of each argument or attribute."""
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", inspect.getdoc(made) or "", re.MULTILINE)
    return {key: " ".join(text.split()).rstrip(".") for key, text in found}
