"""Jobs of several processes, started as a user starts them."""

import os
import subprocess

from tiny import ROOT, environment


def local(*arguments):
    """A job of two processes of one device, not waited for; its output in one."""
    return subprocess.Popen(
        ["launch/local.sh", "2", "--", *map(str, arguments)],
        cwd=ROOT,
        env=environment(1) | {"VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", "none"), "GRACE": "60"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(job, code=0):
    """The output of a job that ends with this exit code."""
    output, _ = job.communicate(timeout=480)
    assert job.returncode == code, output
    return output


def in_two_processes(*arguments):
    """A command that two processes do together."""
    finished(local(*arguments))
