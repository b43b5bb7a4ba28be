"""Do the tests find wrong formulas? Small changes of the sources, one at a time, each against the tests of its file.

    python benchmarks/mutation.py [--seed 0] [--count 154] [--packages=processes,losses] [--workers 1] [--json]
    python benchmarks/mutation.py --quick         one known mutant against one file of tests
    python benchmarks/mutation.py --kept=FILE     results are kept there; what was killed is not run again

Mutants (`mutants.py`) are drawn at random from each of the packages that hold formulas, as many of one as of another,
and are written into a temporary copy of the package, its configs and its tests. A mutant is killed where a test fails,
where the tests no longer start, or where they take several times as long as before; it survives where all of them pass.
What changes nothing that could be tested is in `EQUIVALENT`, each with a reason, and counts neither way.

The tests of a file are those of its room that import it and the fast ones of the other six rooms, its own first; where
its room has none, those of its room that import it through another file. All have to pass on the unchanged copy.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from mutants import Mutant, mutants
from mutation_equivalent import EQUIVALENT
from mutation_runs import CACHE, PACKAGES, ROOT, Found, copied, in_order, measured_times, tests_by_module, verdict, wait

from report import Claim, emit

_NO_FORMULAS = {"page", "report", "report_figures", "evaluation_report", "image_grid", "digit_features", "feature_set"}
"""Files of `evaluation` that lay out pages and pictures, read files, or train a classifier by a recipe of their own."""
TARGET, TARGET_OF_A_PACKAGE = 0.95, 0.9
KNOWN = (
    "score_jax/losses/time_sampling.py",
    "def log_normal_levels",
    "-1.2 -> 1.2",
    "tests/losses/test_time_sampling.py",
)
"""Of the quick form: the file, how the line begins, the change (the first such of the line), and the tests."""


def drawn(package: str, count: int, seed: int) -> list[Mutant]:
    """Mutants of a package at random; of one seed the first are the same for every count."""
    files = [path for path in sorted((ROOT / "score_jax" / package).glob("*.py")) if path.stem not in _NO_FORMULAS]
    every = [mutant for path in files for mutant in mutants(str(path.relative_to(ROOT)), path.read_text())]
    random.Random(f"{seed} {package}").shuffle(every)
    return every[:count]


def known_mutant() -> Mutant:
    """That of the quick form."""
    file, line, change, _ = KNOWN
    every = mutants(file, (ROOT / file).read_text())
    return next(m for m in every if m.content.startswith(line) and m.change == change)


def run(chosen: list[Mutant], workers: int, kept: Path | None) -> list[Found]:
    """What becomes of each. The workers take every n-th, each in a process and a copy of its own."""
    tests = tests_by_module()
    with tempfile.TemporaryDirectory(prefix="mutation_") as folder:
        results = kept or Path(folder) / "results.jsonl"
        done = {key for key, row in _read(results).items() if row["verdict"] == "killed"}
        todo = [mutant for mutant in chosen if mutant.key not in EQUIVALENT and mutant.key not in done]
        copies = [copied(Path(folder) / str(i)) for i in range(workers)]
        times = measured_times(copies[0], {file for mutant in todo for file in tests[mutant.file]})
        children = []
        for i, copy in enumerate(copies[1:], 1):  # the first worker is this process
            child = os.fork()
            if not child:
                _work(copy, todo[i::workers], tests, times, results)
                os._exit(0)
            children.append(child)
        _work(copies[0], todo[::workers], tests, times, results)
        for child in children:
            wait(child, float("inf"))
        rows = _read(results)
    equivalent = {"verdict": "equivalent", "by": ""}
    found = [(mutant, equivalent if mutant.key in EQUIVALENT else rows[mutant.key]) for mutant in chosen]
    return [Found(mutant, row["verdict"], row["by"]) for mutant, row in found]


def _work(copy: Path, todo: list[Mutant], tests: dict[str, list[str]], times: dict[str, float], results: Path) -> None:
    for i, mutant in enumerate(todo):
        files = in_order(tests[mutant.file], mutant, times)
        found = verdict(copy, mutant, files, sum(times[file] for file in files))
        with results.open("a") as stream:
            print(json.dumps({"key": mutant.key, "verdict": found.verdict, "by": found.by}), file=stream)
        print(f"{i + 1}/{len(todo)} {described(found)}", file=sys.stderr, flush=True)


def described(found: Found) -> str:
    """One line of it."""
    mutant = found.mutant
    place = f"{mutant.file}:{mutant.line}"
    return f"{found.verdict} {place}  {mutant.change}  [{found.by}, {found.seconds} s]  in: {mutant.content}"


def _read(results: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """By the mutants' keys; of one that was run again the last result."""
    rows = map(json.loads, results.read_text().splitlines() if results.is_file() else [])
    return {tuple(row["key"]): row for row in rows}


def _claim(name: str, found: list[Found], target: float) -> Claim:
    counts = {
        verdict: sum(each.verdict == verdict for each in found) for verdict in ("killed", "survived", "equivalent")
    }
    tried = counts["killed"] + counts["survived"]
    how = f"share of mutants that tests kill: {counts['killed']} of {tried}, and {counts['equivalent']} equivalent ones"
    survivors = [
        f"{each.mutant.file}:{each.mutant.line} {each.mutant.change}" for each in found if each.verdict == "survived"
    ]
    how += f"; alive: {'; '.join(survivors)}" if survivors else ""
    return Claim(name, counts["killed"] / max(1, tried), "share", target, ">=", how)


def measure(options: argparse.Namespace) -> list[Claim]:
    """The share of killed mutants, of all packages and of each."""
    each, more = divmod(options.count, len(options.packages))
    chosen = {package: drawn(package, each + (i < more), options.seed) for i, package in enumerate(options.packages)}
    found = run([mutant for some in chosen.values() for mutant in some], options.workers, options.kept)
    claims = [_claim("mutants_killed", found, TARGET)]
    for package in options.packages:
        of_it = [one for one in found if one.mutant.file.startswith(f"score_jax/{package}/")]
        claims.append(_claim(f"mutants_killed_{package}", of_it, TARGET_OF_A_PACKAGE))
    return claims


def measure_known() -> list[Claim]:
    """That a mutant which once lived does so no longer."""
    with tempfile.TemporaryDirectory(prefix="mutation_") as folder:
        found = verdict(copied(Path(folder) / "0"), known_mutant(), [KNOWN[-1]], usual=20.0)
    print(described(found), file=sys.stderr, flush=True)
    return [_claim("known_mutant_killed", [found], 1.0)]


def main() -> int:
    """Parses the flags; returns the exit code."""
    began, parser = time.monotonic(), argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--count", type=int, default=154, help="mutants in all, evenly over the packages")
    parser.add_argument("--packages", type=lambda text: text.split(","), default=list(PACKAGES), help="of score_jax")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--kept", type=Path, help="a file of results, which is read and written")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--quick", action="store_true", help="one known mutant")
    options = parser.parse_args()
    unknown = set(options.packages) - set(PACKAGES)
    if unknown or options.count < 1 or options.workers < 1:
        parser.error(f"packages are of {', '.join(PACKAGES)}; count and workers at least 1")
    CACHE.mkdir(parents=True, exist_ok=True)
    claims = measure_known() if options.quick else measure(options)
    return emit("mutation", claims, began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
