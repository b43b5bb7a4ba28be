"""Jobs of several processes, started as a user starts them."""

import os
import subprocess

from tiny import ROOT, environment


def local(*arguments, processes=2, devices=1):
    """A job of so many processes, not waited for; its output in one."""
    return subprocess.Popen(
        ["launch/local.sh", str(processes), "--", *map(str, arguments)],
        cwd=ROOT,
        env=environment(devices) | {"VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", "none"), "GRACE": "60"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(job, code=0):
    """The output of a job that ends with this exit code."""
    output, _ = job.communicate(timeout=240)
    assert job.returncode == code, output
    return output
