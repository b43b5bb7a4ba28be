"""Every key of every section of every config: misspelt, or of a value that is not possible, it is one line at once."""

import dataclasses
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ml_collections import ConfigDict
from shipped import shipped_configs

from score_jax import builder
from score_jax.builder import kernels, network_tables, networks, prediction, processes
from score_jax.builder.learned import facts_of
from score_jax.builder.naming import arguments_of
from score_jax.builder.options import KERNELS, Options, Values, defaults_of, keys_of, make, make_method
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sampling import build_sampling
from score_jax.builder.sections import CONSTRUCTED, METHODS, check_keys, completed, made
from score_jax.builder.unread import refuse_unread, with_methods
from score_jax.errors import InputError
from score_jax.prediction.preconditioning import PRECONDITIONINGS

SHIPPED = shipped_configs()
COMPLETED = {name: completed(config).to_dict() for name, config in SHIPPED.items()}
TABLES = {"process": processes.PROCESSES, "network": network_tables.NETWORKS, "prediction": PRECONDITIONINGS}
POSSIBLE = {"process": processes.VALUES, "network": network_tables.VALUES, "prediction": prediction.VALUES}
OPTIONS = [(section, None, options) for section, options in SECTIONS.items()] + [
    (section, name, options) for section, table in METHODS.items() for name, options in table.items()
]


def refusal(call: Callable[[], Any], *parts: str) -> str:
    """The one line of the InputError that the call raises, which has all these parts."""
    with pytest.raises(InputError) as found:
        call()
    line = str(found.value)
    assert "\n" not in line and len(line) < 1200, line
    for part in parts:
        assert part in line, (part, line)
    return line


def doubled(word: str) -> str:
    """With the letter in its middle twice."""
    middle = len(word) // 2
    return word[:middle] + word[middle] + word[middle:]


def misspellings(key: str) -> Iterator[str]:
    yield doubled(key)
    if len(key) > 5:
        yield key[: len(key) // 2] + key[len(key) // 2 + 1 :]


def wrong_types(hint: Any) -> list[Any]:
    """Values that an annotation does not allow."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    wrong: list[Any] = [{"a": 1}, object]
    if type(None) not in parts:
        wrong.append(None)
    if str not in parts:
        wrong.append("x")
    if bool not in parts:
        wrong.append(True)
    if not {int, float} & set(parts):
        wrong.append(3)
    if float not in parts:
        wrong.append(0.5)
    of_tuple = [part for part in parts if typing.get_origin(part) is tuple]
    wrong += [("x", 1), (None,)] if of_tuple else [(1,), ()]
    return wrong


def values_of(values: Values) -> list[tuple[str, float]]:
    """Its bounds."""
    return [(k, v) for k in ("least", "above", "most", "below") if (v := getattr(values, k)) is not None]


def out_of_range(hint: Any, values: Values) -> Iterator[Any]:
    """Numbers, or tuples with one, that are not possible."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    of_tuple = next((part for part in parts if typing.get_origin(part) is tuple), None)
    of = typing.get_args(of_tuple)[0] if of_tuple else next(iter({int, float} & set(parts)), hint)
    count = 2 if of_tuple and Ellipsis not in typing.get_args(of_tuple) else 1
    numbers: list[Any] = []
    if of is int or of is float or isinstance(of, types.UnionType):
        below = 1 if of is int else 1e-3
        values = dataclasses.replace(values, **{k: int(v) for k, v in values_of(values) if of is int})
        numbers = [bound - below for bound in (values.least, values.above) if bound is not None]
        numbers += [bound + below for bound in (values.most, values.below) if bound is not None]
        numbers += [bound for bound in (values.above, values.below) if bound is not None]
        if of is not int and str not in typing.get_args(of):
            numbers += [math.nan, math.inf, -math.inf]
    for number in numbers:
        yield (number,) * count if of_tuple else number


def check_values(section: str, key: str, hint: Any, values: Values, build: Callable[[Any], Any]) -> int:
    """All values that are not possible, each with its line; returns how many."""
    name, cases = f"{section}.{key}", 0
    for value in wrong_types(hint):
        line = refusal(lambda value=value: build(value), name)
        assert "give" in line or "Known" in line, line
        cases += 1
    for value in out_of_range(hint, values):
        line = refusal(lambda value=value: build(value), name)
        finite = all(map(math.isfinite, value if isinstance(value, tuple) else (value,)))
        assert (values.described() if finite else "finite") in line, line
        cases += 1
    for choice in values.one_of or ():
        for wrong, near in ((doubled(choice), f"Did you mean {choice!r}?"), ("?", "Known")):
            line = refusal(lambda wrong=wrong: build((wrong,) if hint is not str else wrong), name, near)
            assert all(other in line for other in values.one_of or ()), line
            cases += 1
    return cases


@functools.cache
def hints_of(options: type[Options]) -> dict[str, Any]:
    return typing.get_type_hints(options)


@pytest.mark.parametrize(("section", "name", "options"), OPTIONS, ids=[f"{s}-{n}" for s, n, _ in OPTIONS])
def test_values_of_options_that_are_not_possible(section, name, options):
    def build(key: str, value: Any) -> Any:
        if name is None:
            return make(options, {key: value})
        return make_method(section, METHODS[section], {"name": name, key: value})

    for key in keys_of(options):
        values = options.__dataclass_fields__[key].metadata["values"]
        found = check_values(section, key, hints_of(options)[key], values, functools.partial(build, key))
        assert found >= 4
    if name is not None:
        for wrong in (doubled(name), "", None, 3, ("ode",), {"a": 1}):
            refusal(lambda wrong=wrong: make_method(section, METHODS[section], {"name": wrong}), f"{section}.name")


AGREEING = ("num_levels", "num_classes", "context_width", "concat_channels", "image_channels")
AGREEING += ("text_length", "text_width", "text_features", "augment_dim")
"""Keys of networks that keys of other sections must agree with."""
OF_IMAGES = {("clip", key) for key in ("patch", "width", "layers", "heads")}
"""What a CLIP needs that has a network of images; the section `clip` of others may have none."""


def unique_sections(section: str) -> Iterator[tuple[ConfigDict, dict[str, Any], str]]:
    """Configs whose sections differ, of all that are shipped; with what the section states, and its name."""
    for config_name in {repr(sorted(values[section].items())): name for name, values in COMPLETED.items()}.values():
        config = completed(SHIPPED[config_name])
        stated = config[section].to_dict()
        yield config, stated, str(stated.get("name", stated.get("preconditioning", "")))


def built(config: ConfigDict) -> None:
    """What of a config is built of the constructed sections."""
    process = processes.build_process(config)
    network = networks.build_network(config)
    if processes.kind_of(config.process.name) == KERNELS:
        kernels.build_kernels(config, network, process)
    elif config.network.name in (*network_tables.WITHOUT_PROCESS, *network_tables.OF_CODES):
        assert not config.prediction
    elif config.loss.name == "classifier":
        prediction.build_logits(config, network, process)
    else:
        prediction.build_predict(config, network, process)


def cases_of(section: str, config: ConfigDict) -> Iterator[tuple[str, Any, Values]]:
    """Each key that a constructed section may state, with its type and values."""
    values = config[section].to_dict()
    if section == "prediction" and processes.kind_of(config.process.name) == KERNELS:
        yield "output", str, Values(one_of=kernels.law_of(processes.build_process(config)).outputs)
        return
    if section == "prediction" and "preconditioning" not in values:
        yield from ((key, str, choices) for key, choices in prediction.CHOICES.items())
        return
    name = values["preconditioning" if section == "prediction" else "name"]
    for key, hint in arguments_of(TABLES[section][name]).items():
        if key not in network_tables.FROM_OTHERS:
            yield key, hint, POSSIBLE[section].get(key, Values())
    for key, table in network_tables.CHOICES.items() if section == "network" else ():
        if key in inspect.signature(TABLES[section][name]).parameters:
            yield key, str, Values(one_of=tuple(table))


@pytest.mark.parametrize("section", CONSTRUCTED)
def test_values_of_arguments_that_are_not_possible(section):
    seen: set[tuple[str, str]] = set()
    for config, stated, name in unique_sections(section):

        def build(key: str, value: Any, config=config, stated=stated) -> None:
            built(with_section(config, section, stated | {key: value}))

        for key, hint, values in cases_of(section, config):
            if (name, key) in seen:
                continue
            seen.add((name, key))
            check_values(section, key, hint, values, functools.partial(build, key))
            if hint is str and values.one_of is None:  # the network has the table
                refusal(functools.partial(build, key, "nonsense"), f"{section}.{key}", "Known: ")
                if key in stated:
                    right = stated[key]
                    refusal(functools.partial(build, key, doubled(right)), f"{section}.{key}", f"mean {right!r}?")
        name_key = "preconditioning" if section == "prediction" else "name"
        if name_key in stated and (name, name_key) not in seen:
            seen.add((name, name_key))
            for wrong in (doubled(name), "", None, 3, ("vp",), {"a": 1}):
                refusal(functools.partial(build, name_key, wrong), f"{section}.{name_key}", "Known: ")
    assert len(seen) >= {"process": 20, "network": 90, "prediction": 6}[section]


@pytest.mark.parametrize("section", CONSTRUCTED)
def test_numbers_among_arguments_have_bounds_and_tuples_of_choices_a_list(section):
    for name, made_of in TABLES[section].items():
        for key, hint in arguments_of(made_of).items():
            if section == "network" and key in network_tables.FROM_OTHERS:
                continue
            if {int, float} & {hint, *typing.get_args(hint)} or "tuple" in str(hint):
                assert key in POSSIBLE[section], (name, key)


def test_misspelt_keys_of_every_config():
    cases = 0
    for values in COMPLETED.values():
        for section in (*SECTIONS, *METHODS):
            name = values[section].get("name") if section in METHODS else None
            for key in values[section]:
                for wrong in misspellings(key):
                    line = refusal(functools.partial(check_keys, section, name, {wrong: 0}), section, repr(wrong))
                    assert f"Did you mean {key!r}?" in line, line
                    cases += 1
    assert cases > 100 * len(SHIPPED)


def with_section(config: ConfigDict, section: str, values: dict[str, Any]) -> ConfigDict:
    changed = config.copy_and_resolve_references()
    with changed.unlocked():
        changed[section] = ConfigDict(values)
    return changed


@pytest.mark.parametrize("section", CONSTRUCTED)
def test_misspelt_and_missing_arguments(section):
    seen: set[tuple[str, str]] = set()
    for config, stated, name in unique_sections(section):
        for key in [key for key in stated if (name, key) not in seen]:
            seen.add((name, key))
            rest = {other: value for other, value in stated.items() if other != key}
            for wrong in misspellings(key):
                misspelt = with_section(config, section, rest | {wrong: stated[key]})
                line = refusal(functools.partial(built, misspelt), section, repr(wrong))
                assert f"Did you mean {key!r}?" in line, line
            left_out = with_section(config, section, rest)
            if section == "prediction" and key in ("output", "label", "preconditioning"):
                needed = True
            elif key in ("name", "dtype"):
                needed = key == "name"
            else:
                parameter = inspect.signature(TABLES[section][name]).parameters[key]
                needed = parameter.default is parameter.empty or (name, key) in OF_IMAGES
            if needed:
                line = refusal(functools.partial(built, left_out), section)
                assert "is missing" in line or "Known: label, output, preconditioning" in line
            elif key not in AGREEING:
                built(left_out)


def test_a_config_is_refused_as_a_whole():
    """Each section once for every config, through what the verbs call."""
    for number, (name, whole) in enumerate(COMPLETED.items()):
        for section in (*SECTIONS, *METHODS, *CONSTRUCTED):
            keys = sorted(whole[section])
            if not keys:  # an autoencoder predicts nothing
                continue
            key = keys[number % len(keys)]
            rest = {other: value for other, value in whole[section].items() if other != key}
            wrong = doubled(key)
            misspelt = ConfigDict(whole | {section: rest | {wrong: whole[section][key]}})
            refusal(functools.partial(builder.experiment, misspelt), section, repr(wrong), f"Did you mean {key!r}?")
            value = "?" if section == "prediction" else {"a": 1}
            nonsense = ConfigDict(whole | {section: whole[section] | {key: value}})
            refusal(functools.partial(builder.experiment, nonsense), f"{section}.{key}")
        if number % 10 == 0:
            assert builder.experiment(ConfigDict(whole)).config.to_dict() == whole, name


@pytest.mark.parametrize("wrong", [-1, 2**32, 0.5, "x", None, True, (1,), {"a": 1}])
def test_seed(wrong):
    refusal(lambda: builder.experiment(ConfigDict(COMPLETED["configs/base.py"] | {"seed": wrong})), "seed=", "give")


@pytest.mark.parametrize("wrong", [0, -1, 3, 2.0, 1.0, "2", None, True, (2,), {"a": 1}])
def test_version(wrong):
    refusal(lambda: completed(ConfigDict(COMPLETED["configs/base.py"] | {"version": wrong})), "version=", "2")


@pytest.mark.parametrize("key", [*CONSTRUCTED, *SECTIONS, *METHODS, "seed", "version"])
def test_names_of_sections(key):
    whole = COMPLETED["configs/base.py"]
    rest = {other: value for other, value in whole.items() if other != key}
    misspelt = ConfigDict(rest | {doubled(key): whole[key]})
    refusal(lambda: builder.experiment(misspelt), repr(doubled(key)), f"Did you mean {key!r}?")
    if isinstance(whole[key], dict):
        for wrong in (3, "x", None, (1,)):
            refusal(lambda wrong=wrong: builder.experiment(ConfigDict(whole | {key: wrong})), f"{key}=", "give")
    if key in CONSTRUCTED:
        refusal(lambda: builder.experiment(ConfigDict(rest)), repr(key))
        refusal(lambda: builder.experiment(ConfigDict(whole | {key: {}})), key)


@pytest.mark.parametrize(("section", "name"), [(s, n) for s, n, _ in OPTIONS if n], ids=str)
def test_keys_that_only_other_methods_read(section, name):
    table = METHODS[section]
    others = {key for options in table.values() for key in keys_of(options)} - set(keys_of(table[name]))
    for key in others:
        readers = [other for other, options in table.items() if key in keys_of(options)]
        for check in (
            lambda key=key: check_keys(section, name, {key: 0}),
            lambda key=key: make_method(section, table, {"name": name, key: 0}),
        ):
            refusal(check, f"{section}.{key} is not read by {section}.name={name!r}", ", ".join(sorted(readers)))


def different(default: Any) -> Any:
    if isinstance(default, bool):
        return not default
    return default * 2 + 1 if isinstance(default, int | float) else None


UNREAD = [
    (section, name, field.name, other, read)
    for section, name, options in OPTIONS
    for field in dataclasses.fields(options)
    for other, read in field.metadata["where"].items()
]


@pytest.mark.parametrize(("section", "name", "key", "other", "read"), UNREAD, ids=str)
def test_what_nothing_reads_beside_another_key(section, name, key, other, read):
    """Refused where it is not the default; put back to the default where the command line states the other key."""
    options = METHODS[section][name]
    field, possible = options.__dataclass_fields__[key], options.__dataclass_fields__[other].metadata["values"].one_of
    choices = field.metadata["values"].one_of
    value = different(field.default)
    if value is None:
        value = next(choice for choice in choices if choice != field.default) if choices else "10"
    conditions = {beside: values[0] for beside, values in field.metadata["where"].items()}
    make_method(section, METHODS[section], {"name": name, **conditions, key: value})
    for choice in possible:
        stated = {"name": name, **conditions, other: choice}
        make_method(section, METHODS[section], stated | {key: field.default})
        if choice not in read:
            line = refusal(
                lambda stated=stated: make_method(section, METHODS[section], stated | {key: value}),
                f"{section}.{key}={value!r} is not read here",
                f"{section}.{other}={choice!r}",
            )
            assert all(text in line for text in read)
            config = SHIPPED["configs/base.py"].copy_and_resolve_references()
            config[section] = type(config[section])({"name": name, **conditions, key: value})
            config = with_methods(completed(config), {f"{section}.{other}": choice})
            assert config[section][key] == field.default
            assert with_methods(config, {f"{section}.{other}": choice, f"{section}.{key}": "0"})[section][key] == (
                field.default
            )


OF_CONTINUOUS_TIME = [
    ("sampler", "ancestral", "t_min", 1e-2),
    ("sampler", "ddim", "denoise", False),
    ("sampler", "predictor_corrector", "grid", "log_snr"),
    ("loss", "denoising", "t_min", 1e-2),
    ("likelihood", "vlb", "num_levels", 100),
    ("likelihood", "bound", "num_levels", 100),
]


@pytest.mark.parametrize(("section", "name", "key", "value"), OF_CONTINUOUS_TIME)
def test_what_no_chain_reads(section, name, key, value):
    config = SHIPPED["configs/lineage.py:ddpm"].copy_and_resolve_references()
    config[section] = type(config[section])({"name": name, key: value})
    refusal(lambda: builder.experiment(config), f"{section}.{key}={value!r} is not read here", "chain of levels")
    continuous = SHIPPED["configs/lineage.py:vp"].copy_and_resolve_references()
    continuous[section] = type(continuous[section])({"name": name, key: value})
    builder.experiment(continuous)


def test_solvers_of_the_command_line_never_fail_by_what_a_config_carries_over():
    """`--solver` of each method on every config: refused at most for its process."""
    seen, refused = set(), set()
    for config in map(completed, SHIPPED.values()):
        key = repr([config[section].to_dict() for section in ("process", "sampler")])
        if key in seen or config.loss.name == "classifier":
            continue
        seen.add(key)
        facts = facts_of(config, processes.build_process(config), networks.codec_of(config))
        for method in METHODS["sampler"]:
            switched = with_methods(config.copy_and_resolve_references(), {"sampler.name": method})
            try:
                build_sampling(made(switched, "sampler"), facts)
            except InputError as error:
                refused.add(str(error))
    assert len(seen) > 20
    assert all("sampler.name for process" in line for line in refused), refused


@pytest.mark.parametrize("section", ["likelihood", "guidance", "loss"])
def test_methods_of_the_command_line_never_fail_by_what_a_config_carries_over(section):
    for config in map(completed, SHIPPED.values()):
        facts = facts_of(config, processes.build_process(config), networks.codec_of(config))
        for method in METHODS[section]:
            switched = with_methods(config.copy_and_resolve_references(), {f"{section}.name": method})
            refuse_unread({section: made(switched, section)}, facts)
            assert made(switched, section) is not None


@pytest.mark.parametrize("method", ["ddim", "plms", "ancestral"])
@pytest.mark.parametrize("discretisation", ["score_sde", "latent_diffusion"])
def test_a_solver_of_the_command_line_keeps_the_levels_of_a_code_where_it_has_them(discretisation, method):
    config = SHIPPED["configs/lineage.py:ddpm"].copy_and_resolve_references()
    config.sampler = type(config.sampler)({"name": "ddim", "num_steps": 20, "discretisation": discretisation})
    switched = with_methods(completed(config), {"sampler.name": method})
    possible = METHODS["sampler"][method].__dataclass_fields__["discretisation"].metadata["values"].one_of
    assert switched.sampler.discretisation == (discretisation if discretisation in possible else "exact")
    assert made(switched, "sampler").num_steps == 20


def test_defaults_of_every_method_are_possible():
    for section, name, options in OPTIONS:
        stated = {"name": name} if name else {}
        config = completed(ConfigDict(COMPLETED["configs/base.py"] | {section: stated | defaults_of(options)}))
        assert made(config, section) == options()
