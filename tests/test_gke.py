"""Kubernetes: a manifest that its schemas take, what it makes of each exit code, and the image that it runs."""

import ast
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

import score_jax
from score_jax.planning.chips import CHIPS
from score_jax.runtime.exit_codes import AGAIN, BUG, INTERRUPTED, MEND, STOPPED

ROOT = Path(__file__).resolve().parents[1]

RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "action"],
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
        "action": {"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
        "onJobFailureReasons": {"type": "array", "items": {"enum": ["BackoffLimitExceeded", "PodFailurePolicy"]}},
        "onJobFailureMessagePatterns": {"type": "array", "items": {"type": "string"}},
    },
}
JOBSET = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "failurePolicy": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "maxRestarts": {"type": "integer"},
                        "restartStrategy": {"enum": ["Recreate", "BlockingRecreate"]},
                        "rules": {"type": "array", "items": RULE},
                    },
                },
                "replicatedJobs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name", "template"],
                        "properties": {"name": {}, "replicas": {"type": "integer"}, "template": {"type": "object"}},
                    },
                },
            },
        },
    },
}
"""Of the fields of JobSet 0.13 those that a training uses."""


def manifest():
    """The account and the set."""
    return tuple(yaml.safe_load_all((ROOT / "launch" / "gke_jobset.yaml").read_text()))


@pytest.fixture
def job():
    return manifest()[1]["spec"]["replicatedJobs"][0]["template"]["spec"]


def test_the_schemas_take_the_manifest_and_no_misspelling():
    account, jobset = manifest()
    jsonschema.validate(jobset, JOBSET)
    kubernetes_validate.validate(account, "1.33", strict=True)
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "workers"}, **replicated["template"]}
    kubernetes_validate.validate(job, "1.33", strict=True)
    job["spec"]["parallelismm"] = 4
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.33", strict=True)
    jobset["spec"]["failurePolicy"]["rules"][0]["onJobFailureMessagePattern"] = []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(jobset, JOBSET)


def test_the_jobset_asks_for_the_chips_of_its_topology(job):
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    shape = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert math.prod(shape) == job["parallelism"] * int(container["resources"]["limits"]["google.com/tpu"])
    assert job["parallelism"] == job["completions"] and job["completionMode"] == "Indexed"
    assert "tpu7x" in (ROOT / "launch" / "gke_jobset.yaml").read_text() and "tpu7x" in CHIPS


def test_a_slice_is_of_one_job_and_on_spot(job):
    account, jobset = manifest()
    pod = job["template"]["spec"]
    assert jobset["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    (toleration,) = pod["tolerations"]
    assert pod["nodeSelector"][toleration["key"]] == toleration["value"] == "true"
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert pod["terminationGracePeriodSeconds"] <= 120  # the most that a Spot node gives


def outcome(job, container, code, disrupted):
    """Reason and message of a Job with a pod that ended so, as Kubernetes 1.33 has them."""
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions", [])
        if codes and codes["containerName"] == container and code in codes["values"]:
            what = f"Container {container} for pod default/workers-0 failed with exit code {code}"
        elif disrupted and {"type": "DisruptionTarget", "status": "True"} in conditions:
            what = "Pod default/workers-0 has condition DisruptionTarget"
        else:
            continue
        return "PodFailurePolicy", f"{what} matching {rule['action']} rule at index {index}"
    return "BackoffLimitExceeded", "Job has reached the specified backoff limit"


@pytest.mark.parametrize(
    ("code", "disrupted", "action"),
    [
        (MEND, False, "FailJobSet"),
        (MEND, True, "FailJobSet"),
        (STOPPED, False, "RestartJobSetAndIgnoreMaxRestarts"),
        (STOPPED, True, "RestartJobSetAndIgnoreMaxRestarts"),
        (137, True, "RestartJobSetAndIgnoreMaxRestarts"),
        (137, False, "RestartJobSet"),
        (AGAIN, False, "RestartJobSet"),
        (BUG, False, "RestartJobSet"),
        (INTERRUPTED, False, "RestartJobSet"),
    ],
)
def test_each_end_of_a_process_does_what_it_deserves(job, code, disrupted, action):
    rules = manifest()[1]["spec"]["failurePolicy"]["rules"]
    (container,) = job["template"]["spec"]["containers"]
    reason, message = outcome(job, container["name"], code, disrupted)
    matching = (
        rule["action"]
        for rule in rules
        if reason in rule["onJobFailureReasons"]
        and any(re.search(pattern, message) for pattern in rule.get("onJobFailureMessagePatterns", [""]))
    )
    assert next(matching, "RestartJobSet") == action and job["backoffLimit"] == 0


def test_the_exit_codes_of_the_manifest_are_those_of_the_library(job):
    codes = [rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert codes == [[MEND], [STOPPED]]


def instructions():
    """Of the Dockerfile: name and arguments each."""
    text = (ROOT / "launch" / "Dockerfile").read_text().replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


def sources(given):
    """What the COPY instructions among these take from the repository."""
    return [source for name, words in given if name == "COPY" for source in shlex.split(words)[:-1]]


def test_the_image_holds_what_the_manifest_starts(job):
    last = dict(instructions())
    (container,) = job["template"]["spec"]["containers"]
    assert container["workingDir"] == last["WORKDIR"] and container["command"] == ast.literal_eval(last["ENTRYPOINT"])
    config = next(word.partition("=")[2] for word in container["args"] if word.startswith("--config="))
    for file in (*container["command"], config):
        assert (ROOT / file).is_file() and any(Path(file).is_relative_to(source) for source in sources(instructions()))
    assert int(last["USER"]) == job["template"]["spec"]["securityContext"]["runAsUser"] > 0


def test_the_image_installs_an_extra_under_the_constraints_of_its_python():
    given = instructions()
    arguments = dict(word.partition("=")[::2] for name, word in given if name == "ARG")
    call = next(node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if is_setup(node))
    extras = next(keyword.value for keyword in call.keywords if keyword.arg == "extras_require")
    assert {arguments["EXTRA"], "cuda"} <= {ast.literal_eval(key) for key in extras.keys}
    install = next(words for name, words in given if name == "RUN" and "pip install" in words)
    constraints = ROOT / re.search(r"--constraint (\S+)", install)[1]
    python = re.match(r"python:([\d.]+)-slim", dict(given)["FROM"])[1]
    assert f"Python {python}." in constraints.read_text().splitlines()[0] and '".[$EXTRA]"' in install


def is_setup(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"


def test_what_is_copied_before_the_installation_is_enough_for_it(tmp_path):
    given = instructions()
    before = given[: next(i for i, (name, words) in enumerate(given) if "pip install" in words)]
    for name, words in before:
        if name == "COPY":
            *taken, to = shlex.split(words)
            for source in taken:
                place = tmp_path / to / Path(source).name if to.endswith("/") else tmp_path / to
                place.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    called = [sys.executable, "setup.py", "--quiet", "--version"]
    done = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == score_jax.__version__ and (tmp_path / "constraints").is_dir()
    assert all((ROOT / source).exists() for source in sources(given))
