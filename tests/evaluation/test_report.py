import base64
import dataclasses
import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.errors import InputError
from score_jax.evaluation.image_grid import grid
from score_jax.evaluation.report import Number, ReportData, write_report

RNG = np.random.default_rng(0)
HOSTILE = "<script>alert('&\"')</script>"


def images(*leading):
    return RNG.integers(0, 256, (*leading, 4, 4, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def data():
    return ReportData(
        title="t",
        summary="s",
        samples=images(8),
        trajectory=images(2, 3),
        times=np.array([1.0, 0.25, 0.0]),
        loss_steps=np.arange(60),
        losses=np.exp(-np.arange(60) / 20),
        bits_per_dim=np.array([2.0, 3.0, 4.5]),
        numbers=[Number("fid", "12.3", "± 0.4", "Fréchet")],
        neighbours=(images(5), images(5)),
        class_counts={"cat": 3, "dog": 5},
        config_text="{}",
        environment={"jax": "0"},
        durations={"training": 61.0},
    )


class Page(HTMLParser):
    """The page's elements, the text a reader sees, and whether every element was closed in order."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text, self.open, self.balanced = [], "", [], True
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.balanced &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def pictures(self):
        sources = [attrs["src"] for tag, attrs in self.elements if tag == "img"]
        return [np.asarray(PILImage.open(io.BytesIO(base64.b64decode(s.split(",")[1])))) for s in sources]


def written(tmp_path, data):
    write_report(tmp_path / "new" / "report.html", data)
    return Page(tmp_path / "new" / "report.html")


def test_pictures_are_those_given_and_times_stand_in_order(tmp_path, data):
    page = written(tmp_path, data)
    assert page.balanced
    assert not page.open
    samples, trajectory, pairs = page.pictures()
    np.testing.assert_array_equal(samples, grid(data.samples, 8))
    np.testing.assert_array_equal(trajectory[:64], grid(data.trajectory[0], 3))
    np.testing.assert_array_equal(pairs[66:], grid(data.neighbours[1], 5))
    assert "1.000.250.00" in page.text
    assert "mean 3.167" in page.text  # (2 + 3 + 4.5) / 3
    assert "± 0.4" in page.text
    assert "Fréchet" in page.text


def test_page_needs_no_script_and_nothing_from_elsewhere(tmp_path, data):
    page = written(tmp_path, data)
    assert "script" not in {tag for tag, _ in page.elements}
    for _, attrs in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)|@import", (tmp_path / "new" / "report.html").read_text(encoding="utf-8"))
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_every_text_is_escaped(tmp_path, data):
    hostile = dataclasses.replace(
        data,
        title=HOSTILE,
        summary=HOSTILE,
        numbers=[Number(*[HOSTILE] * 4)],
        class_counts={HOSTILE: 1},
        config_text=HOSTILE,
        environment={HOSTILE: HOSTILE},
        durations={HOSTILE: 1.0},
    )
    page = written(tmp_path, hostile)
    assert "script" not in {tag for tag, _ in page.elements}
    # title twice, summary, a row of four, class, config, environment twice, duration
    assert page.text.count(HOSTILE) == 12


def test_without_a_classifier_there_is_no_chart_of_classes(tmp_path, data):
    assert "Classes of the samples" in written(tmp_path, data).text
    assert "Classes of the samples" not in written(tmp_path, dataclasses.replace(data, class_counts=None)).text


def test_missing_matplotlib_is_said_and_nothing_is_written(tmp_path, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'score_jax\[demo\]'"):
        write_report(tmp_path / "report.html", data)
    assert not list(tmp_path.iterdir())
