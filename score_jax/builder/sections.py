"""The sections of a config: which there are, their defaults, and a config with all of its keys.

`sampler`, `loss`, `guidance`, `codec` and `likelihood` name a method and hold what that method reads; `process`,
`network` and `prediction` do so too, with the arguments of the class that they name. The others hold the same keys
always. Every default is that of a field of an options dataclass; `configs/base.py` is made from them.

A cascade has a section `cascade`, whose `stage1`, `stage2`, ... name the runs in their order, and of the others only
those of `OF_CASCADES`: the rest is in the configs of its stages.
"""

import re
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from score_jax.builder import options
from score_jax.builder.cascade_options import SETTINGS, StageOptions
from score_jax.builder.codec_options import CODECS
from score_jax.builder.guidance_options import GUIDANCES
from score_jax.builder.likelihood_options import LIKELIHOODS
from score_jax.builder.loss_options import LOSSES
from score_jax.builder.migration import VERSION, hint_of_moved, migrated
from score_jax.builder.options import Options, unread_key
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sampler_options import SAMPLERS
from score_jax.errors import InputError, quoted, unknown_name

METHODS: dict[str, Mapping[str, type[Options]]] = {
    "sampler": SAMPLERS,
    "loss": LOSSES,
    "guidance": GUIDANCES,
    "codec": CODECS,
    "likelihood": LIKELIHOODS,
}
DEFAULT_METHODS = {
    "sampler": "euler_maruyama",
    "loss": "denoising",
    "guidance": "classifier_free",
    "codec": "pixels",
    "likelihood": "ode",
}
CONSTRUCTED = ("process", "network", "prediction")
"""Sections that are the arguments of a class of the library, which checks them."""
OPTIONAL = ("first_stage", "condition_encoder", "clip")
"""Such sections that a config may lack: networks beside the one that is trained."""
OF_CASCADES = ("data", "sampling", "evaluation")
"""Sections without methods that a cascade has beside its stages."""
_TOP = ("seed", "version")
_STAGE = re.compile(r"stage[1-9]\d*")


class MethodSection(ConfigDict):
    """A section that names a method: any key can be set, and is checked when the config is used.

    Another name takes with it what both methods read, and leaves the rest.
    """

    METHODS: Mapping[str, type[Options]] = {}

    def lock(self) -> "MethodSection":
        """Does nothing: which keys there are depends on the name."""
        return self

    def update(self, *others: Any, **values: Any) -> None:
        """As of any ConfigDict, the name first."""
        given = {key: value for other in others for key, value in dict(other).items()} | values
        super().update({key: given[key] for key in sorted(given, key=lambda key: key != "name")})

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "name" and value in self.METHODS and self.get("name", value) != value:
            kept = ("name", *options.keys_of(self.METHODS[value]))
            for other in [other for other in self if other not in kept]:
                del self[other]
        super().__setitem__(key, value)

    __setattr__ = __setitem__


def _section(section: str, values: Mapping[str, Any]) -> MethodSection:
    return _METHOD_SECTIONS[section](dict(values))


_METHOD_SECTIONS = {
    section: type(f"{section.title()}Section", (MethodSection,), {"METHODS": table})
    for section, table in METHODS.items()
}


def default_config() -> ConfigDict:
    """Returns a config of all sections but the constructed ones, at their defaults; of methods the name alone."""
    config = ConfigDict({"version": VERSION, "seed": 42})
    for section, values in SECTIONS.items():
        config[section] = _typed(options.defaults_of(values))
    for section, name in DEFAULT_METHODS.items():
        config[section] = _section(section, {"name": name})
    return config


def _typed(values: Mapping[str, Any]) -> ConfigDict:
    """With placeholders for what may be a text or nothing, so that the command line can set it."""
    return ConfigDict({key: config_dict.placeholder(str) if value is None else value for key, value in values.items()})


def completed(config: ConfigDict) -> ConfigDict:
    """Returns a copy of a config, of this version and with every key; the constructed sections as they are. Locked.

    Raises:
      InputError: a section or a key is unknown or missing, or a method does not read it.
    """
    if is_cascade(config):
        return _completed_cascade(config.to_dict())
    values, known = config.to_dict(), {*_TOP, *SECTIONS, *METHODS, *CONSTRUCTED, *OPTIONAL, "cascade"}
    for section in values:
        if section not in known:
            raise unknown_name("section of the config", section, known)
        if section not in _TOP and not isinstance(values[section], dict):
            raise InputError(f"{section}={quoted(values[section])}: give a section, such as configs/base.py has.")
    values = migrated(values)
    for section in CONSTRUCTED:
        if section not in values:
            raise InputError(f"The config has no section {section!r}: start from configs/base.py.")
    options.check_type("seed", values.get("seed", 42), int)
    options.Values(least=0, most=2**32 - 1).check("seed", values.get("seed", 42))
    whole = ConfigDict({"version": VERSION, "seed": values.get("seed", 42)})
    for section in SECTIONS:
        whole[section] = _plain_section(section, values.get(section, {}))
    for section, table in METHODS.items():
        given = {"name": DEFAULT_METHODS[section]} | values.get(section, {})
        name = given["name"]
        if not isinstance(name, str) or name not in table:
            raise unknown_name(f"{section}.name", str(name), table)
        check_keys(section, name, given)
        whole[section] = _section(section, {"name": name} | options.defaults_of(table[name]) | given)
    for section in (*CONSTRUCTED, *(section for section in OPTIONAL if values.get(section))):
        whole[section] = ConfigDict(values[section])
    return whole.lock()


def _plain_section(section: str, given: dict[str, Any]) -> ConfigDict:
    """A section without methods, with every key."""
    check_keys(section, None, given)
    return _typed(options.defaults_of(SECTIONS[section]) | given)


def is_cascade(config: ConfigDict) -> bool:
    """Returns whether a config is that of a cascade, which names runs, and not of one run."""
    return "cascade" in config


def stage_names(config: ConfigDict) -> list[str]:
    """Returns the stages of a completed cascade, in their order."""
    return [f"stage{number + 1}" for number in range(len(config.cascade))]


def refuse_cascade(config: ConfigDict) -> None:
    """Raises InputError where a config is that of a cascade, and one run is wanted."""
    if is_cascade(config):
        runs = ", ".join(str(config.cascade[name].workdir) for name in stage_names(config))
        raise InputError(
            "This config is a cascade, for `sample`, `evaluate` and `plan` only. Give the other verbs one of its runs: "
            f"{runs}."
        )


def default_cascade(workdirs: tuple[str, ...]) -> ConfigDict:
    """Makes a cascade of these workdirs, other keys at their defaults. Locked, but for the stages' settings."""
    stages = {f"stage{number}": {"workdir": workdir} for number, workdir in enumerate(workdirs, start=1)}
    return completed(ConfigDict({"version": VERSION, "cascade": stages}))


def refuse_in_cascade(section: str) -> None:
    """Raises InputError where a cascade has no section of this name: it is its stages', or none at all."""
    if section in SETTINGS:
        raise InputError(f"A cascade has no section {section!r}: give it for a stage, as cascade.stage1.{section}.")
    if section in (*SECTIONS, *METHODS, *CONSTRUCTED, *OPTIONAL, "seed") and section not in OF_CASCADES:
        raise InputError(f"A cascade has no section {section!r}: it belongs to the config of each stage's run.")
    known = ("version", "cascade", *OF_CASCADES)
    if section not in known:
        raise unknown_name("section of the config", section, known)


def _completed_cascade(values: dict[str, Any]) -> ConfigDict:
    for section in values:
        refuse_in_cascade(section)
        if section != "version" and not isinstance(values[section], dict):
            raise InputError(f"{section}={quoted(values[section])}: give a section, as configs.base.get_cascade does.")
    version = values.get("version", VERSION)
    if version == 1 and not isinstance(version, bool | float):
        raise InputError(f"version=1: cascades are of version {VERSION}, give that.")
    migrated({"version": version})
    whole = ConfigDict({"version": VERSION})
    for section in OF_CASCADES:
        whole[section] = _plain_section(section, values.get(section, {}))
    stages, whole.cascade = values["cascade"], ConfigDict()
    for name in stages:
        if not _STAGE.fullmatch(str(name)):
            raise InputError(
                f"Unknown key of cascade: {quoted(name)}. Call the stages stage1, stage2, ... in their order."
            )
    for name in (f"stage{number + 1}" for number in range(max(1, len(stages)))):
        if name not in stages:
            raise InputError(f"cascade.{name} is missing: number the stages from 1 on, in their order.")
        whole.cascade[name] = _completed_stage(f"cascade.{name}", stages[name])
    return whole.lock()


def _completed_stage(where: str, given: Any) -> ConfigDict:
    """With the keys of `StageOptions`, and of its settings those that it states."""
    if not isinstance(given, dict):
        raise InputError(f"{where}={quoted(given)}: give a section with its workdir.")
    for key in given:
        if key not in (*options.keys_of(StageOptions), *SETTINGS):
            raise unknown_name(f"key of {where}:", str(key), (*options.keys_of(StageOptions), *SETTINGS))
    own = options.defaults_of(StageOptions) | {key: given[key] for key in options.keys_of(StageOptions) if key in given}
    for key, hint in typing.get_type_hints(StageOptions).items():
        if key in own:
            options.check_type(f"{where}.{key}", own[key], hint)
            StageOptions.__dataclass_fields__[key].metadata["values"].check(f"{where}.{key}", own[key])
    if not own["workdir"]:
        raise InputError(f"{where}.workdir is missing: name the folder of the stage's run.")
    stage = ConfigDict(own)
    for section in SETTINGS:
        settings = given.get(section, {})
        if not isinstance(settings, dict):
            raise InputError(f"{where}.{section}={quoted(settings)}: give a section.")
        check_settings(f"{where}.{section}", section, settings)
        stage[section] = _section(section, settings)
    return stage


def check_settings(where: str, section: str, settings: Mapping[str, Any]) -> None:
    """Raises InputError where settings of a section have a key that its method, or any if they name none, reads not."""
    name, table = settings.get("name"), METHODS[section]
    if "name" in settings and (not isinstance(name, str) or name not in table):
        raise unknown_name(f"{where}.name", str(name), table)
    known = {"name", *(key for method in table.values() for key in options.keys_of(method))}
    for key in settings:
        if key not in known:
            raise unknown_name(f"key of {where}:", str(key), known)
    if name is not None:
        check_keys(section, name, settings)


def check_keys(section: str, name: str | None, keys: Mapping[str, Any]) -> None:
    """Raises InputError where a section, of the method `name` if it has methods, does not read a key."""
    if name is not None:  # those first that no method reads, of which one may be the name, misspelt
        read = {"name", *(key for options_of in METHODS[section].values() for key in options.keys_of(options_of))}
        keys = dict.fromkeys(sorted(keys, key=lambda key: key in read))
    for key in keys:
        if name is None and key not in options.keys_of(SECTIONS[section]):
            hint = hint_of_moved(f"{section}.{key}")
            raise hint or unknown_name(f"key of {section}:", key, options.keys_of(SECTIONS[section]))
        if name is not None and key not in ("name", *options.keys_of(METHODS[section][name])):
            raise hint_of_moved(f"{section}.{key}") or unread_key(section, key, METHODS[section], name)


def made(config: ConfigDict, section: str) -> Any:
    """Returns the options of a section of a completed config.

    Raises:
      InputError: a value is of another type or out of range, or a key is not read.
    """
    values = config[section].to_dict()
    if section in METHODS:
        return options.make_method(section, METHODS[section], values)
    return options.make(SECTIONS[section], values)
