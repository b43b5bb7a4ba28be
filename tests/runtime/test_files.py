import pytest

from score_jax.runtime.files import written_whole


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "result.json"
    with written_whole(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()

    def fails():
        with written_whole(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fails()
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]
    assert path.read_text() == "old"
