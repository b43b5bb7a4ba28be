"""Curves and pictures outlive the machine where checkpoints do."""

from etils import epath

from score_jax.training import mirror as module
from score_jax.training.mirror import FOLDER, Mirror


def written(workdir):
    for name, text in (("loss.jsonl", "1\n"), ("samples/step_1.png", "png"), ("tensorboard/events", "e"), ("x", "no")):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(text)
    return workdir


def texts(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_a_run_shows_is_copied_and_comes_back_on_a_fresh_machine(tmp_path):
    workdir, place = written(tmp_path / "run"), epath.Path(tmp_path / "bucket")
    with Mirror(workdir, place) as mirror:
        mirror.copy()
        (workdir / "loss.jsonl").write_text("1\n2\n")  # the copy under way may have either
    expected = texts(workdir)
    del expected["x"]
    assert texts(tmp_path / "bucket" / FOLDER) == expected
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "config.json").write_text("its own")
    with Mirror(fresh, place):
        assert texts(fresh) == expected | {"config.json": "its own"}
    assert texts(fresh) == expected | {"config.json": "its own"}


def test_a_workdir_with_its_own_checkpoints_has_no_copy(tmp_path):
    workdir = written(tmp_path)
    with Mirror(workdir, epath.Path(workdir / "checkpoints")) as mirror:
        mirror.copy()
    assert not (workdir / "checkpoints").exists()


def test_a_place_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch, capsys):
    said = []
    monkeypatch.setattr(module, "say_outage", said.append)
    (tmp_path / "file").write_text("")
    with Mirror(written(tmp_path / "run"), epath.Path(tmp_path / "file")) as mirror:
        mirror.copy()
    assert said and "the next checkpoint tries again" in said[0]
