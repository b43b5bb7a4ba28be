"""`preflight`: each thing that can be wrong with a machine is found, with the exit code that it deserves."""

import json
import threading
from dataclasses import replace

import jax
import pytest
from etils import epath

from score_jax.errors import InputError, Outage
from score_jax.jobs import preflight_checks
from score_jax.jobs.preflight import Report, differing
from score_jax.jobs.preflight_checks import (
    Finding,
    check_devices,
    check_links,
    check_place,
    check_shared,
    known_product,
    within,
)
from score_jax.runtime.exit_codes import AGAIN, MEND
from tiny import here, write_config

CHECKS = ("devices", "memory", "disk", "checkpoints", "links", "data")
WELL = Finding("disk", "much is free")


def test_a_machine_that_is_well_passes_and_is_as_before(tmp_path, capsys):
    config = write_config(tmp_path)
    assert here("preflight", f"--config={config}", f"--workdir={tmp_path / 'run'}") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("Preflight of 1 process on 1 machine, ")
    assert tuple(line.split()[0] for line in lines) == CHECKS
    assert f"{jax.device_count()} x cpu" in lines[0] and "16 MiB" in lines[4] and "the first of 64 records" in lines[5]
    assert [path.name for path in tmp_path.iterdir()] == [config.name]


def test_data_that_are_not_there_are_a_persons_to_mend(tmp_path, capsys):
    missing = f"--config.data.name=folder:{tmp_path / 'none'}"
    code = here("preflight", f"--config={write_config(tmp_path)}", f"--workdir={tmp_path / 'run'}", missing)
    said = capsys.readouterr()
    assert code == MEND and "data         FAILED  process 0 (" in said.out
    assert said.err.startswith("score_jax preflight: process 0 (") and said.err.count("\n") == 1


def test_a_device_that_computes_one_number_wrong_is_named():
    def wrong(factor, start):
        return known_product(factor, start).at[2, 0, 0].add(1)

    found = check_devices(wrong)
    assert found.code == AGAIN and "wrong in 1 of 131072 numbers on" in found.said
    assert str(jax.devices()[2]) in found.said and str(jax.devices()[3]) not in found.said


def test_a_sum_that_lacks_a_device_is_found():
    found = check_links(lambda held: held[1:].sum(axis=0))
    assert found.code == AGAIN and f"wrong in {2**22} of" in found.said


def test_a_place_that_cannot_be_written_is_named_and_one_that_can_is_left_empty(tmp_path):
    assert check_place(epath.Path(tmp_path / "runs" / "checkpoints")).code == 0 and not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    found = check_place(epath.Path(tmp_path / "file" / "checkpoints"))
    assert found.code == MEND and str(tmp_path / "file") in found.said and "Not a directory" in found.said


def test_a_bucket_that_fails_now_is_no_persons_to_mend(monkeypatch):
    bucket = epath.Path("gs://bucket/run")
    assert str(preflight_checks.own_file(bucket, "preflight")).startswith("gs://bucket/run/.preflight-")

    class Away:
        parent = bucket

        def write_bytes(self, text):
            raise OSError("503 Service Unavailable")

        def unlink(self, missing_ok):
            pass

    monkeypatch.setattr(preflight_checks, "own_file", lambda directory, name: Away())
    found = check_place(bucket)
    assert found.code == AGAIN and "gs://bucket/run: 503 Service Unavailable" in found.said


def test_places_that_are_not_one_are_found(tmp_path):
    (tmp_path / "mark").touch()
    assert check_shared(epath.Path(tmp_path / "run" / "checkpoints"), "mark").code == 0
    found = check_shared(epath.Path(tmp_path / "run" / "checkpoints"), "other")
    assert found.code == MEND and "training.checkpoints=gs://" in found.said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no such data."), MEND),
        (PermissionError(13, "Permission denied"), MEND),
        (Outage("the bucket is away"), AGAIN),
        (ConnectionResetError(104, "reset"), AGAIN),
        (jax.errors.JaxRuntimeError("INTERNAL: the device is lost"), AGAIN),
    ],
)
def test_an_error_is_a_finding(error, code):
    def fails():
        raise error

    found = within(5.0, "data", fails)
    assert (found.check, found.code) == ("data", code) and str(error).rstrip(".") in found.said


def test_a_bug_is_no_finding():
    with pytest.raises(ZeroDivisionError):
        within(5.0, "data", lambda: 1 // 0)


def test_a_check_that_hangs_is_left_behind():
    ends = threading.Event()

    def hangs():
        ends.wait()
        return WELL

    found = within(0.05, "disk", hangs)
    ends.set()
    assert (found.check, found.code) == ("disk", AGAIN) and "not ended" in found.said


def test_the_clock_and_the_devices_that_are_unlike_the_others_are_found():
    facts = [json.dumps(each) for each in ([1000.0, "4 x TPU"], [1007.0, "4 x TPU"], [1000.1, "3 x TPU"])]
    found = differing([*facts, None])
    assert [process for process, finding in found if finding.warns] == [1]
    assert [(process, finding.code) for process, finding in found if finding.code] == [(2, AGAIN)]
    assert {process for process, finding in found if finding.check == "clock"} == {0, 1, 2}


def test_a_report_says_what_is_bad_where_and_ends_by_the_worst():
    broken, full = Finding("devices", "is wrong", AGAIN), Finding("checkpoints", "no room", MEND)
    low = replace(WELL, said="little is free", warns=True)
    report = Report(("a", "b", "b"), ((0, WELL), (1, low), (2, WELL), (2, broken)), 1.0)
    with pytest.raises(Outage, match=r"^process 2 \(b\): devices: is wrong\.$"):
        report.require()
    with pytest.raises(InputError, match=r"^process 1 \(b\): checkpoints: no room; process 2 .* is wrong\.$"):
        replace(report, found=(*report.found, (1, full))).require()
    assert report.table().splitlines() == [
        "Preflight of 3 processes on 2 machines, 1.0 s",
        "  disk         look    process 1 (b): little is free",
        "  devices      FAILED  process 2 (b): is wrong",
    ]
    replace(report, found=((0, WELL), (1, low))).require()
    assert report.warnings == ["process 1 (b): disk: little is free"]
