"""A workdir goes on with the data it was trained on, wherever that lies, and with no other."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax import builder
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs.claim import claim_workdir
from score_jax.jobs.open_split import open_split
from score_jax.training.checkpoint import directory_of
from score_jax.training.data_facts import describe_classes, facts_of, load_facts


def config_of(name, split="all", **options):
    config = base.get_config()
    config.data.update(name=str(name), train_split=split, image_size=8, channels=1, resize_filter="box", **options)
    return config


def with_classes(config):
    """The same data for a model of three classes."""
    network = {"name": "adm", "channels": 32, "channel_mult": (1,), "num_res_blocks": 1, "attention_resolutions": ()}
    base.replace_section(config, "network", **network, num_classes=3, dropout=0.0, dtype="float32")
    return config


def claim(workdir, config):
    claim_workdir(config, workdir, directory_of(workdir, ""), open_split(config, "train_split"))


def trained(workdir, config):
    """A workdir as training leaves it."""
    claim(workdir, config)
    (workdir / "checkpoints" / "2").mkdir(parents=True)
    return workdir


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("1", "2", "10"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            PILImage.fromarray(pixels).save(tmp_path / "pictures" / label / f"{i}.png")
    return tmp_path / "pictures"


@pytest.fixture
def arrays(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((50, 8, 8), np.uint8), labels=np.arange(50) % 3)
    return tmp_path / "x.npz"


def test_the_numbers_of_the_classes_are_printed_and_kept(pictures, tmp_path, capsys):
    config = config_of(f"folder:{pictures}")
    claim(tmp_path / "run", config)
    assert "Classes: 0 '1', 1 '2', 2 '10'.\n" in capsys.readouterr().out
    kept = json.loads((tmp_path / "run" / "data.json").read_text())
    assert kept["classes"] == ["1", "2", "10"] and kept["count"] == 12
    assert load_facts(tmp_path / "run") == facts_of(open_split(config, "train_split"))
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == json.loads(
        json.dumps(builder.completed(config).to_dict())
    )


def test_a_moved_folder_is_the_same_data(pictures, tmp_path):
    workdir = trained(tmp_path / "run", config_of(f"folder:{pictures}"))
    (tmp_path / "elsewhere").mkdir()
    pictures.rename(tmp_path / "elsewhere" / "moved")
    moved = config_of(f"folder:{tmp_path / 'elsewhere' / 'moved'}")
    claim(workdir, moved)
    assert json.loads((workdir / "config.json").read_text())["data"]["name"] == moved.data.name


def test_a_moved_array_file_is_the_same_data(arrays, tmp_path):
    workdir = trained(tmp_path / "run", config_of(arrays))
    claim(workdir, config_of(arrays.rename(tmp_path / "y.npz")))


def overwrite(arrays, place):
    with np.load(arrays) as file:
        images, labels = file["images"], file["labels"]
    {"pixel": images, "label": labels}[place][23] = 1
    np.savez(arrays, images=images, labels=labels)


@pytest.mark.parametrize("place", ["pixel", "label"])
def test_an_array_overwritten_in_one_place_is_other_data(arrays, tmp_path, place):
    workdir = trained(tmp_path / "run", config_of(arrays))
    overwrite(arrays, place)
    before = {path.name: path.read_bytes() for path in workdir.iterdir() if path.is_file()}
    with pytest.raises(InputError, match="was trained on other data than .*: an image or a label is another"):
        claim(workdir, config_of(arrays))
    assert before == {path.name: path.read_bytes() for path in workdir.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: shutil.copy(p / "1" / "0.png", p / "1" / "new.png"), "it has 13 images where there were 12"),
        (lambda p: (p / "2" / "0.png").unlink(), "it has 11 images where there were 12"),
        (lambda p: shutil.copy(p / "1" / "0.png", p / "2" / "0.png"), "an image or a label is another"),
        (lambda p: (p / "1" / "0.png").rename(p / "2" / "new.png"), "an image or a label is another"),
        (lambda p: (p / "2").rename(p / "3"), "class 1 was '2' and is '3'"),
        (lambda p: shutil.rmtree(p / "10"), "class 2 was '10' and is no class; it has 8 images"),
        (lambda p: shutil.copytree(p / "1", p / "0"), "class 0 was '1' and is '0'; it has 16 images"),
    ],
)
def test_a_changed_folder_is_other_data(pictures, tmp_path, change, message):
    workdir = trained(tmp_path / "run", config_of(f"folder:{pictures}"))
    change(pictures)
    with pytest.raises(InputError, match=message):
        claim(workdir, config_of(f"folder:{pictures}"))


def test_without_a_checkpoint_data_may_be_mended(pictures, tmp_path):
    claim(tmp_path / "run", config_of(f"folder:{pictures}"))
    (pictures / "1" / "0.png").unlink()
    claim(tmp_path / "run", config_of(f"folder:{pictures}"))
    assert load_facts(tmp_path / "run").count == 11


def test_runs_that_did_not_keep_facts_resume_and_get_them(arrays, tmp_path, capsys):
    workdir = trained(tmp_path / "run", config_of(arrays))
    (workdir / "data.json").unlink()
    overwrite(arrays, "pixel")
    claim(workdir, config_of(arrays))
    assert "does not say which images it was trained on" in capsys.readouterr().out
    assert load_facts(workdir) == facts_of(open_split(config_of(arrays), "train_split"))


def test_runs_that_called_a_whole_set_train_resume_on_all(arrays, pictures, tmp_path):
    for name in (arrays, f"folder:{pictures}"):
        for bounds in ("", "[:50%]"):
            workdir = trained(tmp_path / f"run{bounds}{len(str(name))}", config_of(name, f"all{bounds}"))
            (workdir / "data.json").unlink()
            config = json.loads((workdir / "config.json").read_text())
            config["data"]["train_split"] = f"train{bounds}"
            (workdir / "config.json").write_text(json.dumps(config))
            with pytest.raises(InputError, match=r"data.train_split \('train"):
                claim(workdir, config_of(name, "all[:90%]"))
            claim(workdir, config_of(name, f"all{bounds}"))


def test_old_runs_whose_classes_had_other_numbers_are_refused(pictures, tmp_path):
    config = with_classes(config_of(f"folder:{pictures}"))
    workdir = trained(tmp_path / "run", config)
    claim(workdir, config)
    (workdir / "data.json").unlink()
    with pytest.raises(
        InputError, match=r"alphabetical order \(1, 10, 2, ...\), but now their order is numerical \(1, 2"
    ):
        claim(workdir, config)


def test_damaged_facts_are_one_line(arrays, tmp_path):
    workdir = trained(tmp_path / "run", config_of(arrays))
    for content in (b"{", b"[]", b'{"data": 1}', b"\xff\xfe", b"null"):
        (workdir / "data.json").write_bytes(content)
        with pytest.raises(InputError, match="data.json is damaged"):
            claim(workdir, config_of(arrays))


def test_other_classes_are_named_where_a_split_is_opened(pictures, tmp_path):
    config = config_of(f"folder:{pictures}", eval_split="all")
    workdir = trained(tmp_path / "run", config)
    (pictures / "1").rename(pictures / "7")
    open_split(config, "eval_split", workdir)  # a model that is told no classes
    with_classes(config)
    with pytest.raises(InputError, match="trained on other classes .*: class 0 was '1' and is '2'"):
        open_split(config, "eval_split", workdir)
    (pictures / "7").rename(pictures / "1")
    assert open_split(config, "eval_split", workdir).classes == ("1", "2", "10")


def test_many_classes_are_told_in_short():
    assert describe_classes(("a", "b\n")) == "0 'a', 1 'b\\n'"
    many = describe_classes(tuple(map(str, range(1000))))
    assert many.startswith("0 '0', 1 '1', ") and many.endswith("9 '9', and so on (all in data.json) to 999 '999'")
    assert describe_classes(tuple("abcdefghijk")).endswith("9 'j', 10 'k'")
