"""The progress bar of long work."""

import numpy as np

from score_jax.runtime.parts import in_parts, parts_of


def test_the_first_batch_is_not_silent_where_it_is_computed(tmp_path, capsys):
    parts = parts_of(tmp_path / "parts", {"what": "this"})

    def work(count: int) -> str:
        list(in_parts(lambda start, n: {"x": np.zeros(n)}, count=count, batch_size=2, name="w", parts=parts))
        return capsys.readouterr().err

    assert work(4).count("compiling (the first batch takes a while) ...") == 1
    assert "compiling" not in work(4)  # all of it is kept
    assert work(8).count("compiling") == 1
