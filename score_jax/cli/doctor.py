"""`doctor`: what this machine has, what is missing, and whether it computes right."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from score_jax.cli.arguments import VerbParser
from score_jax.runtime.compile_cache import compile_cache
from score_jax.runtime.jax_versions import INSTALL, known_defects, said_of

PACKAGE = "score_jax"
EXTRAS = {
    "cuda": "runs on NVIDIA GPUs",
    "tpu": "runs on TPUs",
    "text": "prompts, by CLIP's tokenizer",
    "demo": "the demo's data set, its classifier and its plots",
    "app": "the page of the verb app",
    "wandb": "logs to Weights & Biases",
    "mlflow": "logs to MLflow",
    "docs": "the documentation as a site",
    "dev": "tests and linters, with all extras but cuda and tpu",
}
_LOW_DISK_GB = 5.0


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
      what: what is wrong, and how to mend it, in one line.
      required: nothing runs while it is so; otherwise only a part is missing or slow.
    """

    what: str
    required: bool


def installed_version(name: str) -> str | None:
    """Version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def needed_by(requirements: list[Requirement], extra: str) -> list[Requirement]:
    """The requirements that `extra` adds; those of everyone where it is ""."""
    return [
        r
        for r in requirements
        if (r.marker is None and not extra)
        or (
            r.marker is not None
            and r.marker.evaluate({"extra": extra})
            and not (extra and r.marker.evaluate({"extra": ""}))
        )
    ]


def unmet(requirement: Requirement) -> str | None:
    """Why a requirement is not met, in a few words; None where it is."""
    version = installed_version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed, {requirement.specifier or 'any version'} is needed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, {requirement.specifier} is needed"
    # jax[cuda12] and its like: an extra of theirs that brings plugins.
    for extra in requirement.extras:
        inner = [Requirement(text) for text in importlib.metadata.requires(requirement.name) or []]
        for r in needed_by(inner, extra):
            if installed_version(r.name) is None:
                return f"{r.name} is not installed"
    return None


def check_python() -> tuple[dict[str, Any], list[Problem]]:
    """The interpreter."""
    version = platform.python_version()
    problems = []
    if not SpecifierSet(">=3.11").contains(version, prereleases=True):
        problems.append(Problem(f"Python is {version}: install 3.11 or newer and make a new environment.", True))
    return {"version": version, "executable": sys.executable}, problems


def check_packages() -> tuple[dict[str, Any], list[Problem]]:
    """Dependencies against the bounds that the installed package declares, and the extras."""
    declared = importlib.metadata.requires(PACKAGE) if installed_version(PACKAGE) else None
    if declared is None:
        mend = "run `pip install -e .` in the repository"
        return {"required": {}, "extras": {}}, [
            Problem(f"{PACKAGE} is not installed, so its requirements are not checked: {mend}.", True)
        ]
    requirements = [Requirement(text) for text in declared]
    required = needed_by(requirements, "")
    problems = [
        Problem(f"{reason}: run `pip install '{r.name}{r.specifier}'`.", True) for r in required if (reason := unmet(r))
    ]
    versions = {
        r.name: {"installed": installed_version(r.name), "required": str(r.specifier), "ok": unmet(r) is None}
        for r in required
    }
    extras = {}
    for extra, gives in EXTRAS.items():
        missing = [reason for r in needed_by(requirements, extra) if (reason := unmet(r))]
        extras[extra] = {"gives": gives, "missing": missing}
    return {"required": versions, "extras": extras}, problems


def check_devices(nvidia_driver: bool) -> tuple[dict[str, Any], list[Problem]]:
    """What jax computes on. `nvidia_driver`: whether the machine has an NVIDIA driver."""
    try:
        import jax

        devices = jax.devices()
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        return {}, [Problem(f"jax finds no device ({reason}): unset JAX_PLATFORMS, or reinstall jax.", True)]
    kind = devices[0]
    problems = []
    if nvidia_driver and kind.platform == "cpu" and os.environ.get("JAX_PLATFORMS") != "cpu":
        mend = f"run `pip install -e '.[cuda]'` for {PACKAGE}"
        problems.append(Problem(f"There is an NVIDIA driver, but jax runs on the CPU: {mend}.", False))
    return {"platform": kind.platform, "kind": kind.device_kind, "count": len(devices)}, problems


def check_release(platform: str | None) -> list[Problem]:
    """Whether the installed jax is known to compute wrong numbers.

    Args:
      platform: what JAX computes on, None where it finds no device.
    """
    problems = []
    for release, defect in known_defects().items():
        here = defect.platform in ("all", platform)
        elsewhere = "" if here else f"; this machine computes on {platform or 'no device'}"
        problems.append(Problem(f"{said_of(release, defect)}{elsewhere}: {INSTALL}.", here))
    return problems


def check_numerics() -> tuple[list[dict[str, Any]], list[Problem]]:
    """What JAX computes on this machine's devices against what is right: the results of the self-test."""
    try:
        from score_jax.self_test import suite
    except ImportError as error:
        reason = str(error).splitlines()[0]
        return [], [Problem(f"What jax computes is not tested ({reason}): install what is missing first.", True)]
    results = suite.run()
    problems = [Problem(result.message, True) for result in results if not result.ok]
    return [dataclasses.asdict(result) for result in results], problems


def _folder(name: str) -> dict[str, Any]:
    """A folder that may not be there yet: free space and rights are those of the nearest one above it.

    A bucket, gs://..., is named and not looked at.
    """
    if "://" in name:
        return {"path": name, "exists": None, "writable": None, "free_gb": None}
    path = Path(name).expanduser().absolute()
    there = next(p for p in (path, *path.parents) if p.exists())
    return {
        "path": str(path),
        "exists": path.is_dir(),
        "writable": there.is_dir() and os.access(there, os.W_OK),
        "free_gb": round(shutil.disk_usage(there).free / 1e9, 1),
    }


def check_folders() -> tuple[dict[str, Any], list[Problem]]:
    """Compile cache, data, and the present folder, where runs are written."""
    data = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    folders = {
        "compile cache": (_folder(compile_cache(os.environ)), "set JAX_COMPILATION_CACHE_DIR"),
        "data": (_folder(data), "set TFDS_DATA_DIR, or --config.data.data_dir"),
        "working folder": (_folder("."), "write to another disk with --workdir"),
    }
    problems = []
    for name, (folder, mend) in folders.items():
        if folder["writable"] is None:
            continue
        if not folder["writable"]:
            problems.append(Problem(f"The {name} {folder['path']} cannot be written: {mend}.", False))
        elif folder["free_gb"] < _LOW_DISK_GB:
            problems.append(Problem(f"The {name} {folder['path']} has {folder['free_gb']} GB free: {mend}.", False))
    return {name: folder for name, (folder, _) in folders.items()}, problems


def examine(numerics: bool = True) -> dict[str, Any]:
    """Everything as one JSON object; "ok" is whether what is required is there.

    Args:
      numerics: also run the self-test, which takes about 20 s on two cores; without it, or without a device, "numerics"
        is an empty list.
    """
    checks: dict[str, tuple[Any, list[Problem]]] = {
        "python": check_python(),
        "packages": check_packages(),
        "devices": check_devices(nvidia_driver=shutil.which("nvidia-smi") is not None),
        "folders": check_folders(),
    }
    devices, _ = checks["devices"]
    checks["numerics"] = check_numerics() if numerics and devices else ([], [])
    problems = [p for _, found in checks.values() for p in found] + check_release(devices.get("platform"))
    return {
        **{name: report for name, (report, _) in checks.items()},
        "problems": [dataclasses.asdict(p) for p in problems],
        "ok": not any(p.required for p in problems),
    }


def _numerics_table(results: list[dict[str, Any]]) -> list[str]:
    if not results:
        return []
    lines = ["", "Numerics  largest error, largest error that rounding explains"]
    for r in results:
        error, bound = ("-" if number is None else f"{number:.1e}" for number in (r["error"], r["bound"]))
        end = f"  {r['message']}" if r["ok"] and r["message"] else "" if r["ok"] else "  <- wrong"
        lines.append(f"  {r['name']:<32}{error:<10}{bound:<8}{end}".rstrip())
    return lines


def table(report: dict[str, Any]) -> str:
    """The report for a reader."""
    python, devices, packages = report["python"], report["devices"], report["packages"]
    lines = [f"Python    {python['version']}  {python['executable']}"]
    if devices:
        lines.append(f"Devices   {devices['count']} x {devices['platform']} ({devices['kind']})")
    lines += ["", "Packages  installed, required"]
    for name, p in packages["required"].items():
        lines.append(f"  {name:<22}{p['installed'] or '-':<12}{p['required']}{'' if p['ok'] else '   <- not met'}")
    lines += ["", "Extras    pip install -e '.[NAME]'"]
    for name, extra in packages["extras"].items():
        state = f"missing: {'; '.join(extra['missing'])}" if extra["missing"] else "installed"
        lines.append(f"  {name:<10}{extra['gives']}: {state}")
    lines += ["", "Folders"]
    for name, folder in report["folders"].items():
        state = "" if folder["exists"] else ", will be made"
        facts = "a bucket" if folder["exists"] is None else f"{folder['free_gb']} GB free{state}"
        lines.append(f"  {name:<16}{folder['path']} ({facts})")
    lines += _numerics_table(report["numerics"])
    lines += ["", *(f"{'Problem' if p['required'] else 'Note'}: {p['what']}" for p in report["problems"])]
    lines.append("All requirements are met." if report["ok"] else "A requirement is missing or wrong.")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Prints the report; returns 0 if what is required is there and computes right, else 1."""
    parser = VerbParser(argv[0], "Reports what this machine has, what is missing, and whether it computes correctly.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--no_numerics", action="store_true", help="do not test what jax computes")
    args = parser.parse_args(argv[1:])
    if not args.no_numerics:
        print("Testing what jax computes, for half a minute (--no_numerics skips this) ...", file=sys.stderr)
    report = examine(numerics=not args.no_numerics)
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0 if report["ok"] else 1
