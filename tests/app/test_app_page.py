"""The page as a person uses it: served by the command, seen and clicked in a browser without a screen."""

import contextlib
import importlib.util
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

import tiny
from score_jax import builder
from score_jax.app.serve import free_port, load_gradio, served
from score_jax.errors import InputError
from score_jax.jobs.trained import Trained
from score_jax.runtime.sharding import make_mesh

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
without_gradio = importlib.util.find_spec("gradio") is None
without_browser = BROWSER is None or importlib.util.find_spec("playwright") is None


def test_without_gradio_one_line_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"pip install 'score_jax\[app\]'"):
        load_gradio()
    (tmp_path / "config.json").write_text("{}")
    assert tiny.here("app", f"--config={tiny.write_config(tmp_path)}", f"--workdir={tmp_path}") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"Cannot listen on --host=127.0.0.1 --port={port}"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", port) == port and free_port("127.0.0.1", 0) > 0


@pytest.mark.slow
@pytest.mark.skipif(without_gradio, reason="gradio is not installed: pip install 'score_jax[app]'")
def test_the_server_speaks_to_no_other_machine(tmp_path, monkeypatch):
    """Nor looks up a name: what it asks for is seen at the sockets."""
    spec = importlib.util.spec_from_file_location("tiny_config", tiny.write_config(tmp_path))
    config = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(config)
    built = builder.experiment(config.get_config())
    model = Trained(built.config, tmp_path, built, make_mesh(), {}, 0)
    asked, connect, look_up = [], socket.socket.connect, socket.getaddrinfo

    def connecting(self, address):
        asked.append(address[0])
        return connect(self, address)

    def looking_up(host, *rest, **more):
        asked.append(host)
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", looking_up)
    with served(load_gradio(), model) as address:
        assert "<gradio-app" in urllib.request.urlopen(address).read().decode()
        time.sleep(3)  # threads of telemetry would have begun
    assert asked and not {str(host) for host in asked} - {"127.0.0.1", "localhost", "::1", "0.0.0.0"}


@contextlib.contextmanager
def command(workdir):
    """`app` in a process of its own: its address, and the process."""
    words = tiny.command("app", f"--workdir={workdir}", "--port=0")
    process = subprocess.Popen(
        words, env=tiny.environment(2), cwd=tiny.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        yield address[0], process
    finally:
        process.kill()
        process.wait()


def upload(page, area, file):
    page.locator(f"#{area} input[type=file]").set_input_files(str(file))
    page.get_by_text(file.name).locator("visible=true").first.wait_for()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


@pytest.mark.slow
@pytest.mark.skipif(without_gradio, reason="gradio is not installed: pip install 'score_jax[app]'")
@pytest.mark.skipif(without_browser, reason="needs playwright, and Chromium: apt-get install chromium")
def test_a_person_draws_measures_paints_compares_and_downloads(tmp_path):
    from playwright.sync_api import sync_playwright

    assert tiny.here("train", f"--config={tiny.write_config(tmp_path)}", f"--workdir={tmp_path / 'run'}") == 0
    levels = np.random.default_rng(0).integers(0, 255, (30, 40, 4), np.uint8)
    Image.fromarray(levels, "CMYK").save(tmp_path / "picture.jpg")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    requested, kept = [], files_of(tmp_path / "run")
    with command(tmp_path / "run") as (address, process), sync_playwright() as playwright:
        assert address.startswith("http://127.0.0.1:")
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(120_000)
        page.on("request", lambda sent: requested.append(sent.url))
        page.goto(address)
        page.get_by_role("button", name="Draw", exact=True).wait_for()
        assert page.get_by_role("tab").locator("visible=true").all_inner_texts() == [
            "Sample",
            "Likelihood",
            "Edit",
            "Compare",
        ]

        press(page, "Draw")
        samples = page.get_by_alt_text("grid of samples").bounding_box()
        assert samples["width"] == 8 * 66 - 2 and samples["height"] == 2 * 66 - 2
        assert page.get_by_alt_text("trajectories from noise to image").is_visible()

        page.get_by_role("tab", name="Likelihood").click()
        press(page, "Measure bits/dim")
        assert page.get_by_role("alert").locator("visible=true").inner_text() == "Give an image first."
        upload(page, "measured", tmp_path / "damaged.png")
        press(page, "Measure bits/dim")
        page.get_by_text("Cannot read the image damaged.png").wait_for()
        page.locator("#measured").get_by_label("Clear").click()
        upload(page, "measured", tmp_path / "picture.jpg")
        press(page, "Measure bits/dim")
        page.get_by_text("95 % interval").wait_for()
        assert re.search(r"\d\.\d{3} ± \d+\.\d{3}", page.locator(".shown table").inner_text())
        press(page, "Encode and decode")
        page.get_by_text("The decoded image differs by").wait_for()

        page.get_by_role("tab", name="Edit").click()
        upload(page, "edited", tmp_path / "picture.jpg")
        press(page, "Edit")
        assert "Nothing is painted" in page.get_by_role("alert").locator("visible=true").inner_text()
        paint(page)
        press(page, "Edit")
        page.get_by_alt_text("the known part, then the results").wait_for()

        page.get_by_role("tab", name="Compare").click()
        press(page, "Compare")
        page.get_by_alt_text("a column of samples for each sampler").wait_for()
        assert page.get_by_text("20 evaluations").count() >= 1

        with page.expect_download() as download:
            page.get_by_text("Download what is shown").click()
        shown = download.value.path().read_text()
        for title in ("Samples", "From noise to image", "Likelihood", "Latent by the ODE", "Edit", "side by side"):
            assert title in shown, title
        assert not re.search(r'(src|href)="(?!data:)', shown), "self-contained"

        browser.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert requested and not [url for url in requested if not url.startswith((address, "data:", "blob:"))]
    assert files_of(tmp_path / "run") == kept, "the page writes nothing into the workdir"


def files_of(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def paint(page):
    """A stroke over the middle of the picture."""
    box = page.locator("#painted canvas").last.bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 0.35 * box["height"])
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 0.6 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the editor sends what is painted after a while
