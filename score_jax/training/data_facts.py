"""What is known of the data that a run is trained on, beside its config: the same names of classes, the same images."""

import dataclasses
import itertools
import json
import os
from pathlib import Path
from typing import Any

from score_jax.data.sources import Source
from score_jax.errors import InputError, counted, quoted
from score_jax.runtime.files import written_whole

_FILE, _SHOWN = "data.json", 10


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What tells data from other data, wherever it lies.

    Attributes:
      data: where it lay, for people.
      count: examples.
      classes: what the labels 0, 1, ... are called; () where there are none, None where the data does not say.
      content: hash of the examples, as of `Source.content`.
    """

    data: str
    count: int
    classes: tuple[str, ...] | None
    content: str


def facts_of(source: Source) -> DataFacts:
    """Looks at data, without reading all of its files.

    Raises:
      InputError: an example cannot be read.
    """
    return DataFacts(source.name, len(source), source.classes, source.content)


def save_facts(workdir: Path, facts: DataFacts) -> None:
    """Writes data.json atomically."""
    with written_whole(workdir / _FILE) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(facts), indent=2) + "\n")


def load_facts(workdir: Path) -> DataFacts | None:
    """Returns what a workdir knows of its data; None where it was made before that was kept, or was not trained here.

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / _FILE
    try:
        return facts_from(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} is damaged: restore it, or remove it to go on with the data as it is now, unchecked."
        ) from None


def facts_from(found: dict[str, Any]) -> DataFacts:
    """Returns the facts that `dataclasses.asdict` made JSON of.

    Raises:
      KeyError, TypeError, ValueError: they are none.
    """
    classes = found["classes"]
    names = None if classes is None else tuple(map(str, classes))
    return DataFacts(str(found["data"]), int(found["count"]), names, str(found["content"]))


def describe_classes(classes: tuple[str, ...]) -> str:
    """Returns the numbers and names of classes, in one line."""
    named = [f"{label} {quoted(name)}" for label, name in enumerate(classes)]
    middle = [f"and so on (all in {_FILE}) to", named[-1]] if len(named) > _SHOWN + 1 else named[_SHOWN:]
    return ", ".join([*named[:_SHOWN], " ".join(middle)] if middle else named)


def check_same_data(workdir: os.PathLike, kept: DataFacts, now: DataFacts) -> None:
    """Refuses to resume with other data; where it lies is free.

    Raises:
      InputError: saying what differs.
    """
    differ = _moved_class(kept.classes, now.classes)
    if kept.count != now.count:
        differ.append(f"it has {counted(now.count, 'image')} where there were {kept.count}")
    elif kept.content != now.content and not differ:
        differ.append("an image or a label is another")
    if differ:
        before = "" if kept.data == now.data else f", of {kept.data} then"
        raise InputError(
            f"{workdir} was trained on other data than that of {now.data}{before}: {'; '.join(differ)}. Bring the old "
            "data back, or use a new --workdir."
        )


def check_same_classes(workdir: Path, source: Source) -> None:
    """Refuses data whose labels stand for other classes than those that a workdir was trained on, as far as both say.

    Raises:
      InputError: naming the first class that moved.
    """
    kept = load_facts(workdir)
    if kept is not None and (differ := _moved_class(kept.classes, source.classes)):
        raise InputError(
            f"{workdir} was trained on other classes than those of {source.name}: {differ[0]}. Give the folders of the "
            "classes their old names."
        )


def _moved_class(kept: tuple[str, ...] | None, now: tuple[str, ...] | None) -> list[str]:
    """The first class whose number changed, in words."""
    if not kept or not now:
        return []
    for label, (before, after) in enumerate(itertools.zip_longest(kept, now)):
        if before != after:
            gone, new = ("no class" if name is None else quoted(name) for name in (before, after))
            return [f"class {label} was {gone} and is {new}"]
    return []
