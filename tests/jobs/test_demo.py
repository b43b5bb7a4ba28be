"""The whole of it in one process, tiny, with every annotation checked."""

import json

import numpy as np
import pytest
from PIL import Image

from score_jax.configs.demo import mnist
from score_jax.jobs.demo import demo


@pytest.mark.slow
def test_demo_leaves_everything_it_promises_and_is_not_done_twice(tmp_path, capsys):
    config = mnist.get_config()
    config.data.update(name="digits", image_size=8, data_dir=str(tmp_path / "tfds"))
    config.network.update(channels=8, channel_mult=(1,), attention_resolutions=())
    config.training.update(batch_size=16, steps=6, log_every=1, checkpoint_every=3, sample_every=3)
    config.sampler.update(name="euler_maruyama", num_steps=8)
    config.likelihood.update(num_examples=12, batch_size=8, rtol=1e-2, atol=1e-2)
    config.evaluation.update(num_samples=70, batch_size=40)
    workdir = tmp_path / "run"
    assert demo(config, workdir) is None
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["step"] == 6 and metrics["num_samples"] == 70 and metrics["likelihood"]["count"] == 12
    assert metrics["fid_digits_real"] < metrics["fid_digits_noise"] and "fid" not in metrics
    assert metrics["classifier_accuracy"] > 0.8
    stages = json.loads((workdir / "stage_times.json").read_text())
    assert list(stages) == ["training", "sampling", "likelihood", "distances", "report"]
    assert metrics["seconds"] == stages | {"total": pytest.approx(sum(stages.values()))}
    assert len(np.load(workdir / "likelihood.npz")["bits_per_dim"]) == 12
    assert (workdir / "samples" / "step_00000003.png").is_file() and (workdir / "samples.png").is_file()
    with Image.open(workdir / "trajectories.png") as strips:
        assert strips.height >= 6 * 64 and strips.width > 2 * 64
    assert any((workdir / "tensorboard").iterdir())
    page = (workdir / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3 and 'src="http' not in page
    assert f"{metrics['fid_digits']:.2f}" in page
    for stage in ("training", "sampling", "likelihood", "distances"):
        assert f"<td>{stage}</td><td class=number>{stages[stage]:.0f} s</td>" in page
    capsys.readouterr()
    assert demo(config, workdir) is None
    assert "This demo is done" in capsys.readouterr().out
