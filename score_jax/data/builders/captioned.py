"""TFDS builders of images with captions, written and read without TensorFlow: drawn shapes, and the emoji of a font."""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from score_jax.data import captioned_shapes
from score_jax.data.builders.packaged import as_png
from score_jax.data.emoji import GROUPS, SIDE, pictures

_PARTS = ("train", "test", "held_out")
_COUNTS = {"one": {"train": 20, "test": 2, "held_out": 10}, "two": {"train": 12, "test": 2, "held_out": 6}}
"""Images of each combination in each split."""


class _Captioned(tfds.core.GeneratorBasedBuilder):
    """Images with a caption and a label."""

    # TFDS loads builders by the module that defines them; this one only states what they have in common.
    SKIP_REGISTERING = True
    pkg_dir_path = None

    def _described(self, side: int, names: list[str]) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(side, side, 3), encoding_format="png"),
                "caption": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=names),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, description=self.__doc__)

    def _generate_examples(self, *args) -> Iterator:
        raise NotImplementedError  # _split_generators returns the generators themselves


class CaptionedShapes(_Captioned):
    """Coloured shapes of 32 x 32 pixels, drawn from a seed; captions and splits are those of `captioned_shapes`.

    The label is the number of the combination of what the caption says.
    """

    name = "captioned_shapes"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        tfds.core.BuilderConfig(name="one", description="One shape; the caption says all that is drawn."),
        tfds.core.BuilderConfig(name="two", description="One or two shapes, and how they stand to each other."),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        names = [each.captions[0] for each in captioned_shapes.combinations(self.builder_config.name)]
        return self._described(captioned_shapes.SIDE, names)

    def _split_generators(self, dl_manager) -> dict:
        return {part: self._rows(part) for part in _PARTS}

    def _rows(self, part: str) -> Iterator[tuple[int, dict]]:
        kind = self.builder_config.name
        apart, count = captioned_shapes.held_out(kind), _COUNTS[kind][part]
        labels = range(len(captioned_shapes.combinations(kind)))
        chosen = [label for label in labels if (label in apart) == (part == "held_out")]
        for i, label in enumerate(label for label in chosen for _ in range(count)):
            image, caption = captioned_shapes.example(kind, label, _PARTS.index(part), i % count)
            yield i, {"image": as_png(image), "caption": caption, "label": label}


class Emoji(_Captioned):
    """The emoji of the font Noto Color Emoji with their names in Unicode, 136 x 136 pixels on white.

    One picture for each name. A family, which is all skin tones, genders and hair of a picture, is in one split. The
    label is the group of Unicode.
    """

    name = "emoji"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        tfds.core.BuilderConfig(name="all", description="Every emoji that the font has."),
        tfds.core.BuilderConfig(name="plain", description="Without skin tones and without flags."),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return self._described(SIDE, list(GROUPS))

    def _split_generators(self, dl_manager) -> dict:
        found = pictures(plain=self.builder_config.name == "plain")
        parts = {
            part: [each for each in found if each.held_out == (part == "held_out")] for part in ("train", "held_out")
        }
        return {part: self._rows(each) for part, each in parts.items()}

    @staticmethod
    def _rows(chosen: list) -> Iterator[tuple[int, dict]]:
        for i, each in enumerate(chosen):
            yield i, {"image": as_png(each.image()), "caption": each.name, "label": each.group}


BUILDERS: dict[str, type[_Captioned]] = {"captioned_shapes": CaptionedShapes, "emoji": Emoji}
