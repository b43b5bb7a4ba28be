"""unCLIP through the verbs: two priors, a decoder and an upsampler are trained, and drawn from one after another."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from clip_runs import write_config
from PIL import Image as PILImage
from safetensors.numpy import load_file, save_file
from unclip_runs import write_configs

from score_jax import builder
from score_jax.cli.config_files import config_of_file
from score_jax.data.images import fit
from score_jax.errors import InputError
from score_jax.jobs.cascades import stage_seed
from tiny import ROOT, checked, environment, here, run

PROMPT = "red square"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    clip = write_config(folder)
    return {"clip": clip} | write_configs(folder, clip)


@pytest.fixture(scope="module")
def runs(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = {name: folder / name for name in files}
    for name, folder in found.items():
        words = [f"--config.training.clip={found['clip']}"] if name not in ("clip", "upsampler") else []
        assert here("train", f"--config={files[name]}", f"--workdir={folder}", "--config.training.steps=2", *words) == 0
    return found


@pytest.fixture(scope="module")
def cascade(runs):
    path = runs["clip"].parent / "cascade.py"
    named = ", ".join(repr(str(runs[name])) for name in ("prior", "decoder", "upsampler"))
    path.write_text(
        "from score_jax.configs import base\n\ndef get_config():\n"
        f"    config = base.get_cascade({named})\n    config.data.update(image_size=8)\n"
        "    config.sampling.update(num_samples=8, batch_size=8)\n    return config\n"
    )
    return path


def arrays(folder):
    with np.load(folder / "samples.npz") as z:
        return z["arr_0"]


@pytest.mark.slow
def test_workdirs_are_whole_and_know_the_statistics(runs):
    of_priors = ("clip", "embedding_statistics")
    for name, parts in {"prior": of_priors, "autoregressive": of_priors, "decoder": ("clip",)}.items():
        for part in parts:
            assert (runs[name] / part / "params.safetensors").is_file()
    assert not (runs["decoder"] / "embedding_statistics").exists()


@pytest.mark.slow
def test_the_cascade_is_its_stages_one_after_another(runs, cascade, tmp_path):
    prompt = f"--prompt={PROMPT}"
    whole = tmp_path / "whole"
    assert here("sample", f"--config={cascade}", f"--workdir={whole}", prompt) == 0
    assert arrays(whole).shape == (8, 8, 8, 3) and arrays(whole).dtype == np.uint8
    assert len(json.loads((whole / "samples.json").read_text())["stages"]) == 3
    assert here("sample", f"--workdir={runs['prior']}", prompt, f"--out={tmp_path / 'prior'}") == 0
    assert arrays(tmp_path / "prior").shape == (8, 1, 1, 8) and arrays(tmp_path / "prior").dtype == np.float32
    two = tmp_path / "two.py"
    two.write_text(
        cascade.read_text().replace(f", {str(runs['upsampler'])!r}", "").replace("=8)\n    c", "=4)\n    c", 1)
    )
    assert here("sample", f"--config={two}", f"--workdir={tmp_path / 'two'}", prompt) == 0
    words = [f"--base={tmp_path / 'two' / 'samples.npz'}", f"--config.sampling.seed={stage_seed(0, 2)}"]
    assert here("sample", f"--workdir={runs['upsampler']}", *words, f"--out={tmp_path / 'up'}") == 0
    np.testing.assert_array_equal(arrays(tmp_path / "up"), arrays(whole))


KILLED = """
import os, signal, sys
from score_jax.cli import main
from score_jax.runtime.parts import Parts

write = Parts.write

def write_two(parts, start, columns):
    write(parts, start, columns)
    if start == 1:
        os.kill(os.getpid(), signal.SIGKILL)

Parts.write = write_two
sys.exit(main.main(["score_jax", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_a_cascade_that_is_killed_goes_on_to_the_same_pictures(cascade, tmp_path):
    own = ("--config.sampling.batch_size=1", f"--prompt={PROMPT}")
    words = {name: ("sample", f"--config={cascade}", f"--workdir={tmp_path / name}", *own) for name in ("whole", "cut")}
    assert run(*words["whole"], devices=1).returncode == 0
    killed = subprocess.run([sys.executable, "-c", KILLED, *words["cut"]], env=environment(1), cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "cut" / "samples.npz").exists()
    assert len(list((tmp_path / "cut").glob("sample_parts/**/*.npz"))) == 2
    assert run(*words["cut"], devices=1).returncode == 0
    np.testing.assert_array_equal(arrays(tmp_path / "cut"), arrays(tmp_path / "whole"))


@pytest.mark.slow
def test_the_stack_completes_an_image(runs, tmp_path, capsys):
    """The prior draws embeddings of a text, the decoder fills a hole by them, the upsampler enlarges what it drew."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    hole = np.where(np.arange(4) < 2, 0, 255).astype(np.uint8)[None].repeat(4, axis=0)
    for name, each in (("image", pixels), ("mask", hole)):
        PILImage.fromarray(each).save(tmp_path / f"{name}.png")
    files = [f"--{name}={tmp_path / name}.png" for name in ("image", "mask")]
    assert here("sample", f"--workdir={runs['prior']}", f"--prompt={PROMPT}", f"--out={tmp_path / 'prior'}") == 0
    rng, decoder = np.random.default_rng(1), tmp_path / "decoder"
    np.savez(tmp_path / "far.npz", arr_0=rng.normal(size=(3, 8)))
    assert here("export", str(runs["decoder"]), str(decoder)) == 0
    params = load_file(decoder / "params.safetensors")  # of two steps of training, which teach it to see no embedding
    params = {
        name: array + np.float32(0.3) * rng.normal(size=array.shape).astype("f4") for name, array in params.items()
    }
    save_file(params, decoder / "params.safetensors")
    found = {}
    for name, embeddings in (("near", tmp_path / "prior" / "samples.npz"), ("far", tmp_path / "far.npz")):
        words = (f"--prompt={PROMPT}", f"--embeddings={embeddings}", f"--out={tmp_path / name}")
        assert here("edit", f"--workdir={decoder}", *files, *words) == 0
        with np.load(tmp_path / name / "edit.npz") as z:
            found[name] = z["arr_0"]
        np.testing.assert_array_equal(found[name][:, :, :2], np.broadcast_to(pixels[:, :2], (8, 4, 2, 3)))
    assert (found["near"] != found["far"]).any()
    base = f"--base={tmp_path / 'near' / 'edit.npz'}"
    assert here("sample", f"--workdir={runs['upsampler']}", base, f"--out={tmp_path / 'large'}") == 0
    assert arrays(tmp_path / "large").shape == (8, 8, 8, 3)
    for name, file, said in (
        ("decoder", tmp_path / "near" / "edit.npz", "expected embeddings of 8 numbers"),
        ("upsampler", tmp_path / "far.npz", "takes no embedding of an image"),
    ):
        assert here("edit", f"--workdir={runs[name]}", *files, f"--embeddings={file}", f"--out={tmp_path / 'no'}") == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_guidance_and_candidates_change_what_a_prior_draws(runs, tmp_path):
    found = []
    for words in ([], ["--guidance.scale=3"], ["--guidance.candidates=2"], ["--prompt=blue circle"]):
        out = tmp_path / str(len(found))
        own = [f"--prompt={PROMPT}"] if "--prompt=blue circle" not in words else []
        assert here("sample", f"--workdir={runs['prior']}", f"--out={out}", *own, *words) == 0
        found.append(arrays(out))
    assert not any(np.array_equal(found[0], other) for other in found[1:])
    same = (found[0] == found[2]).all(axis=(1, 2, 3))
    assert same.any() and not same.all()


@pytest.mark.slow
def test_a_decoder_alone_draws_the_images_of_its_eval_split(runs, tmp_path):
    assert here("sample", f"--workdir={runs['decoder']}", f"--out={tmp_path}") == 0
    assert arrays(tmp_path).shape == (8, 4, 4, 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in {"a": (255, 0, 0), "b": (0, 0, 255)}.items():
        image = np.full((16, 16, 3), 255, np.uint8)
        image[2:11, 4:9] = colour
        PILImage.fromarray(image).save(folder / f"{name}.png")
    return folder


VARIATIONS = {
    "variations": (["--eta=0,1"], (2, 8, 8)),
    "interpolate": (["--to={}/b.png"], (8, 8, 8)),
    "text_diff": (["--text=blue square", "--from_text=red square"], (8,)),
    "components": (["--components=1,8"], (2,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", VARIATIONS)
def test_variations_of_an_image(task, runs, pictures, tmp_path):
    words, counts = VARIATIONS[task]
    words = [word.format(pictures) for word in words]
    own = [f"--workdir={runs['decoder']}", f"--task={task}", f"--image={pictures / 'a.png'}", f"--out={tmp_path}"]
    assert here("variations", *own, *words) == 0
    rows = list(json.loads((tmp_path / "variations.json").read_text())["rows"].values())
    with np.load(tmp_path / "variations.npz") as z:
        images = z["arr_0"].astype(int)
    assert tuple(rows) == counts and images.shape == (sum(counts), 4, 4, 3)
    assert (tmp_path / "variations.png").is_file()
    original = fit(np.asarray(PILImage.open(pictures / "a.png")), 4, 3, "bicubic", "a.png").astype(int)
    if task == "variations":
        np.testing.assert_array_equal(images[0], original)
        assert np.abs(images[1] - original).max() <= 2  # drawn again
        assert (images[2:10] == images[2]).all()  # no noise is added
        assert len(np.unique(images[10:], axis=0)) == 8
    elif task == "interpolate":
        assert np.abs(images[0] - original).max() <= 2 and np.abs(images[7] - images[0]).max() > 20
        assert not np.array_equal(images[8], images[16])  # of other noise
    elif task == "text_diff":  # which moves an embedding that two steps of training hardly read
        assert np.abs(images[0] - original).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "words", "message"),
    [
        ("decoder", [], "--image is missing"),
        ("decoder", ["--image=none.png"], "none.png"),
        ("decoder", ["--image={}/a.png", "--task=mix"], "Unknown --task 'mix'"),
        ("decoder", ["--image={}/a.png", "--theta=0.3"], "--theta is only for --task=text_diff"),
        ("decoder", ["--image={}/a.png", "--task=interpolate"], "--to is missing"),
        ("decoder", ["--image={}/a.png", "--task=text_diff"], "--text is missing"),
        ("decoder", ["--image={}/a.png", "--eta=-1"], "--eta=-1: give numbers of at least 0"),
        ("decoder", ["--image={}/a.png", "--task=components", "--components=9"], "has 1 to 8"),
        ("decoder", ["--image={}/a.png", "--guidance.scale=2"], "Guidance does not lead back to an image"),
        ("prior", ["--image={}/a.png"], "This run draws no images of embeddings"),
    ],
)
def test_mistakes_of_variations(run, words, message, runs, pictures, capsys):
    assert here("variations", f"--workdir={runs[run]}", *(word.format(pictures) for word in words)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error, error


@pytest.mark.slow
def test_a_prior_has_a_density_of_embeddings(runs):
    own = ("num_examples=8", "batch_size=8", "rtol=1e-2", "atol=1e-2", "sensitivity_batches=0")
    words = [f"--config.likelihood.{each}" for each in own]
    assert here("likelihood", f"--workdir={runs['prior']}", *words) == 0
    found = checked(runs["prior"] / "likelihood.json")
    assert found["of"] == "embeddings" and found["dimensions"] == 8


@pytest.mark.slow
def test_an_autoregressive_prior_draws_embeddings_that_the_decoder_takes(runs, tmp_path):
    prompt = f"--prompt={PROMPT}"
    drawn = {}
    for name, words in {
        "plain": [],
        "guided": ["--guidance.scale=3"],
        "likeliest": ["--config.sampler.top_p=0.1"],
    }.items():
        out = tmp_path / name
        assert here("sample", f"--workdir={runs['autoregressive']}", prompt, f"--out={out}", *words) == 0
        drawn[name] = arrays(out)
        assert drawn[name].shape == (8, 1, 1, 8) and drawn[name].dtype == np.float32
    assert not np.array_equal(drawn["plain"], drawn["guided"])
    assert len(np.unique(drawn["likeliest"], axis=0)) <= 2  # of two alignments above the half, one; and of no noise
    two = tmp_path / "two.py"
    two.write_text(
        "from score_jax.configs import base\n\ndef get_config():\n"
        f"    config = base.get_cascade({str(runs['autoregressive'])!r}, {str(runs['decoder'])!r})\n"
        "    config.data.update(image_size=4)\n    config.sampling.update(num_samples=8, batch_size=8)\n"
        "    return config\n"
    )
    assert here("sample", f"--config={two}", f"--workdir={tmp_path / 'two'}", prompt) == 0
    assert arrays(tmp_path / "two").shape == (8, 4, 4, 3)


@pytest.mark.slow
def test_an_autoregressive_prior_has_a_probability_of_codes(runs):
    words = ("--config.likelihood.num_examples=8", "--config.likelihood.batch_size=8")
    assert here("likelihood", f"--workdir={runs['autoregressive']}", *words) == 0
    found = json.loads((runs["autoregressive"] / "likelihood_codes.json").read_text())
    assert found["of"] == "codes" and found["dimensions"] == 4 and 0 < found["bits_per_code"] < 4
    assert found["bits_per_code"] == pytest.approx(-found["log_prob_nats"] / 4 / np.log(2), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate"], "This run has no images"),
        (["sample", "--base=x.npz"], "--base is only for super-resolution models"),
    ],
)
def test_what_a_prior_is_not_asked(runs, words, message, capsys):
    assert here(words[0], f"--workdir={runs['prior']}", *words[1:]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_prior_of_another_clip_is_refused(runs, cascade, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(runs["prior"], other)
    params = load_file(other / "clip" / "params.safetensors")
    name = next(iter(params))
    save_file({**params, name: np.asarray(params[name] + 1)}, other / "clip" / "params.safetensors")
    file = tmp_path / "other.py"
    file.write_text(cascade.read_text().replace(repr(str(runs["prior"])), repr(str(other))))
    assert here("sample", f"--config={file}", f"--workdir={tmp_path / 'run'}", f"--prompt={PROMPT}") == 2
    assert f"{runs['decoder']} was trained with another CLIP than {other}" in capsys.readouterr().err


@pytest.mark.slow
def test_stages_that_do_not_fit(runs, cascade, tmp_path, capsys):
    swapped = tmp_path / "swapped.py"
    swapped.write_text(cascade.read_text().replace(repr(str(runs["prior"])) + ", ", ""))
    assert here("sample", f"--config={swapped}", f"--workdir={tmp_path / 'run'}", f"--prompt={PROMPT}") == 2
    assert "takes embeddings of 8 numbers, but no stage is before it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "section", "values", "message"),
    [
        ("prior", "network", {"text_width": 9}, "This network's condition context has the shape (4, 9)"),
        ("prior", "clip", None, "codec.name=embeddings needs the section clip"),
        ("prior", "condition_encoder", {"width": 3}, "Unknown key of condition_encoder: 'width'"),
        ("prior", "clip", {"image_size": 16}, "data.image_size=8, but the CLIP sees images of 16"),
        ("autoregressive", "codec", {"components": 9}, "codec.components=9, but clip.features=8"),
        ("autoregressive", "codec", {"name": "embeddings"}, "codec.name=embeddings has none: give"),
        ("autoregressive", "process", {"name": "vp"}, "Unknown network.name for process 'vp': 'autoregressive_prior'"),
        (
            "autoregressive",
            "loss",
            {"name": "denoising"},
            "Unknown loss.name for process 'autoregressive':",
        ),
        ("autoregressive", "sampler", {"name": "ddim"}, "Unknown sampler.name for process 'autoregressive': 'ddim'"),
        ("autoregressive", "prediction", {"output": "x0"}, "prediction.output is not read by a model of codes"),
        ("autoregressive", "guidance", {"scale": 2.0, "sigma_low": 1.0}, "codes have no noise levels"),
        ("prior", "likelihood", {"name": "codes"}, "likelihood.name=codes is for process.name=autoregressive"),
        ("prior", "loss", {"name": "codes"}, "loss.name=codes is for process.name=autoregressive"),
        (
            "prior",
            "codec",
            {"name": "embedding_codes", "components": 8},
            "codec.name=embedding_codes are no numbers",
        ),
        ("decoder", "network", {"image_features": 9}, "network.image_features=9, but clip.features=8"),
        ("decoder", "clip", None, "needs the section clip"),
        ("decoder", "guidance", {"candidates": 2}, "guidance.candidates=2 is for a prior"),
        ("upsampler", "loss", {"crop": 5}, "loss.crop=5: give a multiple of 2, at most 8, or 0 for whole images"),
        ("upsampler", "loss", {"caption_dropout": 0.5}, "loss.caption_dropout is for models of captions"),
    ],
)
def test_mistakes_in_configs(files, name, section, values, message):
    config = config_of_file(str(files[name]))
    with config.unlocked():
        if values is None:
            del config[section]
        else:
            config[section].update(values)
    with pytest.raises(InputError) as found:
        _ = builder.experiment(config).candidates
    assert message in str(found.value) and "\n" not in str(found.value)
