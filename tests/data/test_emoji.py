"""Emoji: Unicode's list, families, and the font where it is installed."""

import numpy as np
import pytest

from score_jax.data import emoji
from score_jax.data.emoji import GROUPS, Emoji, parse_names, pictures
from score_jax.data.sources import open_source
from score_jax.errors import InputError

LIST = """\
# group: People & Body
# subgroup: hand-fingers-open
1F44B                                                  ; fully-qualified     # x E0.6 waving hand
1F44B 1F3FB                                            ; fully-qualified     # x E1.0 waving hand: light skin tone
1F9D1 200D 2695 FE0F                                   ; fully-qualified     # x E12.1 health worker
1F9D1 200D 2695                                        ; minimally-qualified # x E12.1 health worker
1F468 1F3FC 200D 2695 FE0F                             ; fully-qualified     # x E4.0 man health worker: medium-light
# group: Component
1F3FB                                                  ; component           # x E1.0 light skin tone
# group: Flags
1F1E6 1F1F1                                            ; fully-qualified     # x E2.0 flag: Albania
#EOF
"""


def installed():
    try:
        emoji.find_files()
    except InputError:
        return False
    return True


def of(text):
    return Emoji("", tuple(ord(each) for each in text), 0, b"")


def test_the_list_is_read():
    rows = parse_names(LIST)
    assert [row[0] for row in rows][:2] == ["waving hand", "waving hand: light skin tone"] and len(rows) == 5
    assert rows[2] == ("health worker", (0x1F9D1, 0x200D, 0x2695), GROUPS.index("People & Body"))
    assert rows[4] == ("flag: Albania", (0x1F1E6, 0x1F1F1), GROUPS.index("Flags"))


def test_a_family_is_all_that_differs_in_skin_gender_and_hair():
    waving, worker = (
        [Emoji(*row, b"") for row in parse_names(LIST)[:2]],
        [Emoji(*row, b"") for row in parse_names(LIST)[2:4]],
    )
    assert len({each.family for each in waving}) == len({each.family for each in worker}) == 1
    assert waving[0].family != worker[0].family
    assert of("👨‍❤️‍👨").family == of("👩‍❤️‍💋‍👨").family == of("👨‍👩‍👧").family == of("👭").family
    assert of("🎅").family == of("🤶🏽").family == of("🧑‍🎄").family != of("🎄").family
    assert of("🇦🇱").family != of("🇦🇹").family


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(emoji, "_ROOTS", (str(tmp_path), "~/.local/share/score_jax"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        InputError, match="apt-get install fonts-noto-color-emoji unicode-data, or without root"
    ) as found:
        open_source("emoji", "train", image_size=136, channels=3, data_dir=str(tmp_path))
    assert "\n" not in str(found.value)


def test_a_font_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.ttf").write_bytes(b"no font")
    with pytest.raises(InputError, match=r"x.ttf is no font with coloured bitmaps"):
        emoji._read_font(tmp_path / "x.ttf")


@pytest.mark.skipif(not installed(), reason="needs fonts-noto-color-emoji and unicode-data")
def test_pictures_of_the_font():
    found = pictures(plain=False)
    assert len(found) > 3000 and len({each.name for each in found}) == len(found)
    plain = pictures(plain=True)
    assert len(plain) < len(found) and not any("skin tone" in each.name for each in plain)
    for part in (found, plain):
        assert 0.05 < sum(each.held_out for each in part) / len(part) < 0.15
    assert not {each.family for each in found if each.held_out} & {each.family for each in found if not each.held_out}
    named = {each.name: each for each in found}
    square = named["red square"].image()
    assert square.shape == (136, 136, 3) and (square[0] == 255).all()
    red, green, blue = square[68, 68].astype(int)
    assert red > 180 and max(green, blue) < 100
    assert not np.array_equal(named["flag: Albania"].image(), named["flag: Austria"].image())
