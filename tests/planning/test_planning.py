"""What is read out of a compiled program, and in which order settings are tried; the TPU compiler where it is there."""

import importlib.util
import json
from types import SimpleNamespace

import jax
import pytest

from score_jax import builder
from score_jax.cli.main import main
from score_jax.configs.edm import cifar10_uncond_vp
from score_jax.errors import InputError
from score_jax.jobs.plan import Planned, Setting, kept, settings_to_try, slice_facts, table, with_setting
from score_jax.planning.chips import CHIPS, peak_flops
from score_jax.planning.hlo import collective_bytes
from score_jax.planning.program import Program, compiler_effort, too_much
from score_jax.planning.topology import slice_devices
from tiny import write_config

HLO = """
  %all-reduce.1 = f32[128,4]{1,0:T(8,128)} all-reduce(%x), channel_id=1
  %ag = (bf16[8]{0}, bf16[64]{0}) all-gather-start(%y), dimensions={0}
  %done = bf16[64]{0} all-gather-done(%ag)
  %both = (f32[10]{0}, /*index=1*/s32[2]{0}) all-reduce(%a, %b)
  %add = f32[128,4]{1,0} add(%x, %x)
"""


def test_collectives_are_counted_once_each():
    assert collective_bytes(HLO) == {"all-reduce": 128 * 4 * 4 + 40 + 8, "all-gather": 128}


def test_the_floor_is_of_the_slowest_resource():
    program = Program(True, 0.0, 1.0, 1.0, flops=197e12, bytes=2 * 819e9, collectives={"all-reduce": 10})
    floor = program.floor_seconds(CHIPS["v5e"])
    assert floor["matrix units"] == pytest.approx(1) and floor["memory"] == pytest.approx(2)
    assert floor["links"] == pytest.approx(10 / 200e9)


@pytest.mark.parametrize(
    ("message", "used"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.10G of 15.75G hbm. Exceeded by 4G", 20.1),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (18.87G) "
            "exceeds available HBM (15.75G).",
            18.87,
        ),
    ],
)
def test_what_does_not_fit_is_read_from_the_compilers_message(message, used):
    assert too_much(message) == pytest.approx((used * 2**30, 15.75 * 2**30))
    assert too_much("INTERNAL: something else") is None


def test_chips_are_known_by_their_kind():
    assert peak_flops("TPU v5 lite") == 197e12
    assert peak_flops("TPU v5") == 459e12
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("TPU7x") == 2307e12 / 2  # of one of a chip's two devices
    assert peak_flops("cpu") is None


def test_a_plan_counts_chips_and_measures_devices():
    program = Program(True, 0.0, 1.0, 2.0, flops=1e12, bytes=1e9)
    of_chips = {}
    for topology, devices, name in (("tpu7x:2x2x1", 8, "tpu7x"), ("v5e:2x4", 8, "v5e")):
        row = Planned("train", Setting(1, (), 1), 64, program, flops=1e12, state_bytes=0).as_dict(CHIPS[name], devices)
        facts = slice_facts(topology, devices, CHIPS[name])
        of_chips[name] = facts["chips"], table(facts | {"effort": "quick", "programs": [row]}).splitlines()[0]
    assert of_chips["tpu7x"][0] == 4 and of_chips["v5e"][0] == 8
    assert "4 chips (tpu7x:2x2x1), 2 devices each" in of_chips["tpu7x"][1] and "each" not in of_chips["v5e"][1]


def test_settings_end_with_the_leanest():
    tried = settings_to_try(Setting(1, (), 1), devices=4, batch_size=16, recomputes=True)
    assert tried == [
        Setting(1, (), 1),
        Setting(4, (), 1),
        Setting(4, ("residual", "attention"), 1),
        Setting(4, ("residual", "attention"), 2),
        Setting(4, ("residual", "attention"), 4),
    ]
    tried = settings_to_try(Setting(4, (), 1), devices=4, batch_size=8, recomputes=False)
    assert tried == [Setting(4, (), 1), Setting(4, (), 2)]


def test_the_floor_of_a_parted_batch_is_of_all_its_parts():
    program = Program(True, 0.0, 1.0, 1.0, flops=197e12, bytes=819e9, collectives={"all-gather": 400_000_000_000})
    planned = Planned("train", Setting(1, (), 4), 64, program, flops=4 * 197e12, state_bytes=0)
    row = planned.as_dict(CHIPS["v5e"], 1)
    assert row["floor_seconds"] == pytest.approx({"matrix units": 4, "memory": 4, "links": 8})
    assert row["images_per_s_at_most"] == pytest.approx(8) and row["bound_by"] == "links"


def test_a_setting_is_of_networks_that_cannot_recompute_too():
    config = with_setting(cifar10_uncond_vp.get_config(), Setting(4, (), 2))
    assert config.training.fsdp == 4 and config.training.accumulate == 2
    builder.experiment(config)


def test_effort_is_of_the_context_alone():
    before = jax.config.jax_optimization_level, jax.config.jax_memory_fitting_level
    with compiler_effort("quick"):
        assert (jax.config.jax_optimization_level, jax.config.jax_memory_fitting_level) == ("O1", "O1")
    assert (jax.config.jax_optimization_level, jax.config.jax_memory_fitting_level) == before
    with compiler_effort("full"):
        assert (jax.config.jax_optimization_level, jax.config.jax_memory_fitting_level) == before
    with pytest.raises(InputError, match="quick"), compiler_effort("quik"):
        pass


def test_a_plan_is_kept_and_never_taken_for_another(tmp_path):
    path = tmp_path / "plan.json"
    assert kept(path, "a", lambda: {"chips": 4})["chips"] == 4
    assert kept(path, "a", lambda: {"chips": 5})["chips"] == 4
    with pytest.raises(InputError, match="another command"):
        kept(path, "b", dict)


@pytest.mark.parametrize("name", ["v5e", "v9:2x2", "v5e:2"])
def test_unknown_slices_are_said(name):
    with pytest.raises(InputError, match=r"expected CHIP:SHAPE|Unknown chip"):
        slice_devices(name)


def test_a_slice_of_other_devices_than_the_chips_have_is_one_line(monkeypatch):
    eight = SimpleNamespace(devices=jax.devices()[:1] * 8)
    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", lambda platform, topology_name: eight)
    assert len(slice_devices("tpu7x:2x2x1")[0]) == 8
    with pytest.raises(InputError, match=r"8 devices for a v4:2x2x1 slice, which has 4: plan for another chip\.$"):
        slice_devices("v4:2x2x1")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.parametrize("topology", ["v5e:2x2", "tpu7x:2x2x1"])
def test_the_tpu_compiler_plans_training(topology, tmp_path, capsys):
    config = write_config(tmp_path)
    assert main(["", "plan", f"--config={config}", f"--topology={topology}", "--programs=train", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    row = result["programs"][0]
    assert result["chips"] == 4 and row["fits"] and 0 < row["state_bytes"] < row["memory"] < row["limit"]
    assert row["collectives"]["all-reduce"] > 0 and row["flops"] > 0


def test_the_compiler_of_another_jax_is_one_line(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ['libtpu==0.0.10.*; extra == "tpu"'])
    with pytest.raises(InputError, match=r"libtpu 0.0.1 is not the TPU compiler of jax .*, which is 0.0.10: `pip"):
        slice_devices("v5e:2x2")


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_the_compiler_the_message_names_the_extra(tmp_path, capsys):
    assert main(["", "plan", f"--config={write_config(tmp_path)}", "--programs=train"]) == 2
    assert ".[tpu]" in capsys.readouterr().err
