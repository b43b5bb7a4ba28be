"""`preflight`: which machine of a job is bad, found before the first step, with a line on each thing that is.

First every process looks at itself, without the others. Only where all are well do they compute together.
"""

import dataclasses
import json
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
from etils import epath
from jaxtyping import Array
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.errors import InputError, Outage
from score_jax.jobs.preflight_checks import (
    Finding,
    check_data,
    check_devices,
    check_disk,
    check_links,
    check_memory,
    check_place,
    check_shared,
    devices_here,
    known_product,
    own_file,
    within,
)
from score_jax.runtime.answers import answers
from score_jax.runtime.exit_codes import AGAIN, MEND
from score_jax.runtime.multihost import print_once
from score_jax.training.checkpoint import directory_of

_SECONDS = 20.0
"""Of a check that needs no other process, or only their devices."""
_DATA_SECONDS = 600.0
_CLOCK_SECONDS = 5.0
Checks = Mapping[str, Callable[[], Finding]]


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found on all processes.

    Attributes:
      hosts: the machine of each process.
      found: process and finding.
      seconds: that it took.
    """

    hosts: tuple[str, ...]
    found: tuple[tuple[int, Finding], ...]
    seconds: float

    @property
    def scope(self) -> str:
        """Returns how many processes on how many machines these are."""
        processes, machines = len(self.hosts), len(set(self.hosts))
        return f"{processes} process{'es' * (processes > 1)} on {machines} machine{'s' * (machines > 1)}"

    def _line(self, process: int, finding: Finding) -> str:
        return f"process {process} ({self.hosts[process]}): {finding.check}: {finding.said}"

    @property
    def failed(self) -> list[tuple[int, Finding]]:
        """Processes and findings that forbid to go on; what a person must mend comes first."""
        return sorted(((p, f) for p, f in self.found if f.code), key=lambda each: each[1].code)

    @property
    def warnings(self) -> list[str]:
        """Returns a line for each finding that is worth a look."""
        return [self._line(process, finding) for process, finding in self.found if finding.warns]

    def require(self) -> None:
        """Goes on where nothing failed.

        Raises:
          InputError: something is to be mended.
          Outage: a device, a network or a service fails.
        """
        if self.failed:
            kind = InputError if self.failed[0][1].code == MEND else Outage
            raise kind("; ".join(self._line(*each) for each in self.failed) + ".")

    def table(self) -> str:
        """Returns lines for a reader: of a check that is well everywhere the first process's, else all that are not."""
        lines = [f"Preflight of {self.scope}, {self.seconds:.1f} s"]
        for check in dict.fromkeys(finding.check for _, finding in self.found):
            of_check = [(process, finding) for process, finding in self.found if finding.check == check]
            bad = [(process, finding) for process, finding in of_check if finding.code or finding.warns]
            for process, finding in bad or of_check[:1]:
                state = "FAILED" if finding.code else "look" if finding.warns else "ok"
                where = f"process {process} ({self.hosts[process]}): " if bad else ""
                lines.append(f"  {check:<12} {state:<7} {where}{finding.said}")
        return "\n".join(lines)


def preflight(
    config: ConfigDict, workdir: Path, *, data: bool = True, product: Callable[[Array, Array], Array] = known_product
) -> Report:
    """Looks at every machine of a job; the same report on all processes, and nothing left behind but
    compiled programs.

    Args:
      config: of the run that is to be trained.
      workdir: of the run.
      data: also open the data and read a record, which may take long where a folder is large.
      product: what this process's devices compute; the answer that is expected is that of `known_product`.

    Raises:
      InputError: the config is not usable.
      Outage: the first process is silent.
    """
    began = time.monotonic()
    experiment = builder.experiment(config)
    directory = directory_of(workdir, experiment.config.training.checkpoints)
    hosts = tuple(host or "unknown machine" for host in answers("preflight/hosts", socket.gethostname(), _SECONDS))
    facts = answers("preflight/facts", json.dumps([time.time(), devices_here()]), _SECONDS)
    found = differing(facts)
    found += _asked(
        "alone",
        {
            "devices": lambda: check_devices(product),
            "memory": check_memory,
            "disk": lambda: check_disk(workdir),
            "checkpoints": lambda: check_place(directory),
        },
    )
    if not _any_failed(found):
        found += _together(directory, len(hosts))
    if data and not _any_failed(found):
        found += _asked("data", {"data": lambda: check_data(experiment)}, _DATA_SECONDS)
    return Report(hosts, tuple(found), time.monotonic() - began)


def before_training(config: ConfigDict, workdir: Path) -> None:
    """Goes on where every machine of the job is well, with a line on stdout; data are left to the training.

    Raises:
      InputError: something is to be mended.
      Outage: a device, a network or a service fails.
    """
    report = preflight(config, workdir, data=False)
    for line in report.warnings:
        print_once(f"Preflight: look at {line}.")
    report.require()
    rate = next(finding.said for _, finding in report.found if finding.check == "links")
    print_once(f"Preflight: {report.scope} are well; {rate} ({report.seconds:.1f} s).")


def _any_failed(found: Sequence[tuple[int, Finding]]) -> bool:
    return any(finding.code for _, finding in found)


def _asked(question: str, checks: Checks, seconds: float = _SECONDS) -> list[tuple[int, Finding]]:
    """What all processes find by these checks, each of which has so many seconds; a silent process is a finding too."""
    here = [dataclasses.asdict(within(seconds, name, work)) for name, work in checks.items()]
    found: list[tuple[int, Finding]] = []
    for process, said in enumerate(answers(f"preflight/{question}", json.dumps(here), len(checks) * seconds)):
        if said is None:
            found.append((process, Finding(question, "says nothing: look at this machine", AGAIN)))
        else:
            found += [(process, Finding(**each)) for each in json.loads(said)]
    return found


def _together(directory: epath.Path, processes: int) -> list[tuple[int, Finding]]:
    """The checks that need the other processes' devices, or a file of the first one."""
    checks: dict[str, Callable[[], Finding]] = {"links": check_links}
    if processes == 1:
        return _asked("together", checks)
    mark = own_file(directory, "first")
    first = jax.process_index() == 0
    if first:
        mark.write_text("")
    try:
        name = answers("preflight/mark", mark.name, _SECONDS)[0] or ""
        return _asked("together", checks | {"one place": lambda: check_shared(directory, name)})
    finally:
        if first:
            mark.unlink(missing_ok=True)


def differing(facts: Sequence[str | None]) -> list[tuple[int, Finding]]:
    """What differs between processes: clocks, which is worth a look, and devices, without which nothing goes on.

    Args:
      facts: of each process [seconds since the epoch, its devices] in JSON, taken at the same moment; None: silent.
    """
    told = {process: json.loads(text) for process, text in enumerate(facts) if text is not None}
    middle = statistics.median_low(clock for clock, _ in told.values())
    usual = Counter(devices for _, devices in told.values()).most_common(1)[0][0]
    found = []
    for process, (clock, devices) in told.items():
        if len(told) > 1:
            said = f"{clock - middle:+.2f} s from that of the others"
            found.append((process, Finding("clock", said, warns=abs(clock - middle) > _CLOCK_SECONDS)))
        if devices != usual:
            said = f"{devices}, where the others have {usual}. Leave this machine out"
            found.append((process, Finding("devices", said, AGAIN)))
    return found
