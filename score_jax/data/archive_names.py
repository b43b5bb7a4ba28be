"""Which members of an archive are images, by their names. Nothing is unpacked, so a name can lead nowhere."""

from collections.abc import Callable

from score_jax.data.folder_scan import FOREIGN, HIDDEN, LeftOut, begins_as_image, image_by_name, is_hidden

ASTRAY = "path that leads out of the archive"
_SIDECARS = (".txt", ".cls", ".json", ".jsonl", ".csv")


def sort_members(names: list[str], head_of: Callable[[str], bytes]) -> tuple[list[str], LeftOut]:
    """Returns the names of images, in the order given, and what was left out; texts that describe images are neither.

    Args:
      names: of files, no folders.
      head_of: returns the first kilobyte of one, whose name does not say what it is.
    """
    images: list[str] = []
    left_out: LeftOut = {}
    for name in names:
        steps = name.split("/")
        if name.startswith(("/", "\\")) or ".." in steps or "\0" in name or ":" in steps[0]:
            left_out.setdefault(ASTRAY, []).append(name)
        elif any(map(is_hidden, steps)):
            left_out.setdefault(HIDDEN, []).append(name)
        elif name.endswith(_SIDECARS):
            continue
        elif (known := image_by_name(name)) or (known is None and begins_as_image(head_of(name))):
            images.append(name)
        else:
            left_out.setdefault(FOREIGN, []).append(name)
    return images, left_out
