"""A cascade gives what its models give one after another by hand, by the verbs of one model; mistakes are one line."""

import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_experiment import StopAfter
from ml_collections import ConfigDict
from shipped import shipped_configs

from score_jax import builder
from score_jax.builder.cascade import stage_experiments
from score_jax.builder.sections import completed
from score_jax.builder.workdirs import load_config
from score_jax.cli import verb
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs import plan_cascade
from score_jax.jobs.cascades import (
    cascade_sampler,
    check_last_finite,
    fitting_experiments,
    load_cascade,
    stage_seed,
)
from score_jax.jobs.plan import Planned, Setting, lower_sampling, table
from score_jax.jobs.sample import drawn_by
from score_jax.planning.chips import CHIPS
from score_jax.planning.program import Program
from score_jax.runtime.parts import Interrupted, parts_of
from score_jax.runtime.sharding import make_mesh
from score_jax.training.data_facts import DataFacts, save_facts
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params
from tiny import here

UNET = dict(name="adm", channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), learn_sigma=False)
COUNT, SEED = 12, 3
STEPS = (2, 3, 2)
"""Of the stages: what the second states, its run does not."""


def run_of(folder, name, size, *, low=0, classes=None, network=None, trained=True):
    """The workdir of a tiny model that draws images of this size, or enlarges to it."""
    config = base.get_config()
    own = UNET | {"dropout": 0.0, "dtype": "float32", "num_classes": classes, "super_resolution": bool(low)}
    base.replace_section(config, "network", **(network or own))
    config.data.update(image_size=size, channels=1, low_resolution=low)
    config.prediction.label = "999t"
    config.sampler.update(name="ddim", num_steps=2, denoise=False)
    if network is not None:
        config.loss.name = "classifier"
    save_config(folder / name, completed(config))
    if trained:
        params = builder.experiment(config).network.init(jax.random.key(size))
        noise = lambda a: a + 0.2 * jax.random.normal(jax.random.key(a.size), a.shape)  # noqa: E731
        save_params(folder / name, jax.tree.map(noise, params))
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A base with two classes, a model that enlarges and is told them, and one that is told none."""
    folder = tmp_path_factory.mktemp("runs")
    run_of(folder, "base", 4, classes=2)
    run_of(folder, "middle", 8, low=4, classes=2)
    run_of(folder, "top", 16, low=8)
    return folder


def cascade_of(runs, *names, size=16):
    config = base.get_cascade(*(str(runs / name) for name in names or ("base", "middle", "top")))
    config.data.update(name="dead_leaves", image_size=size, channels=1)
    config.sampling.update(num_samples=COUNT, batch_size=8, seed=SEED)
    config.evaluation.update(num_samples=COUNT, batch_size=1, seed=SEED)
    if len(config.cascade) > 1:
        config.cascade.stage2.sampler.num_steps = STEPS[1]
    return config


def file_of(config, folder):
    """A config file of a cascade, as one that reads what it is."""
    (folder / "cascade.json").write_text(json.dumps(config.to_dict()))
    (folder / "cascade.py").write_text(
        "import json\nfrom ml_collections import ConfigDict\n\ndef get_config():\n"
        f"    return ConfigDict(json.load(open({str(folder / 'cascade.json')!r})))\n"
    )
    return folder / "cascade.py"


@pytest.fixture(scope="module")
def drawn(runs, tmp_path_factory) -> Path:
    """The folder where `sample` drew."""
    folder = tmp_path_factory.mktemp("drawn")
    assert here("sample", f"--config={file_of(cascade_of(runs), folder)}", f"--workdir={folder / 'out'}") == 0
    return folder / "out"


@pytest.fixture
def folder(runs, tmp_path) -> Path:
    """The folder of a cascade that has drawn nothing yet."""
    save_config(tmp_path / "cascade", cascade_of(runs))
    return tmp_path / "cascade"


def arrays(path):
    found = np.load(path / "samples.npz")
    return {name: found[name] for name in found.files}


@pytest.fixture(scope="module", autouse=True)
def _environment():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
def test_a_cascade_is_its_models_one_after_another_to_the_byte(runs, drawn, tmp_path):
    facts, files = json.loads((drawn / "samples.json").read_text()), arrays(drawn)
    assert files["arr_0"].shape == (COUNT, 16, 16, 1) and set(files["arr_1"]) == {0, 1}
    assert facts["nfe_mean"] == facts["nfe_max"] == sum(STEPS)
    assert [Path(stage["workdir"]).name for stage in facts["stages"]] == ["base", "middle", "top"]
    before = []
    for stage, name, steps in zip(facts["stages"], ("base", "middle", "top"), STEPS, strict=True):
        assert stage["sampler"]["num_steps"] == steps and stage["step"] == 0
        arguments = [f"--workdir={runs / name}", f"--steps={steps}", f"--config.sampling.seed={stage['seed']}"]
        arguments += [f"--config.sampling.num_samples={COUNT}", "--config.sampling.batch_size=8", *before]
        assert here("sample", *arguments, f"--out={tmp_path / name}") == 0
        before = [f"--base={tmp_path / name}/samples.npz"]
        if name == "middle":
            np.testing.assert_array_equal(arrays(tmp_path / name)["arr_1"], files["arr_1"])
    np.testing.assert_array_equal(arrays(tmp_path / "top")["arr_0"], files["arr_0"])
    assert np.ptp(files["arr_0"].astype(int), axis=0).max() > 20
    assert not (drawn / "sample_parts").exists()


def test_the_seeds_of_stages_are_others():
    assert stage_seed(SEED, 0) == SEED
    seeds = {stage_seed(seed, place) for seed in range(50) for place in range(3)}
    assert len(seeds) == 150 and max(seeds) < 2**32


@pytest.mark.slow
def test_a_stopped_cascade_goes_on_to_the_byte_and_batches_make_no_difference(runs, drawn, tmp_path):
    models = load_cascade(completed(cascade_of(runs)), make_mesh(devices=jax.devices()[:4]))
    sampler, expected = cascade_sampler(models, seed=SEED), arrays(drawn)
    parts, indices = parts_of(tmp_path / "parts", {}), np.arange(COUNT, dtype=np.int32)
    with pytest.raises(Interrupted, match="4 of 12 examples are done"):
        drawn_by(sampler, models.mesh, indices, batch_size=4, parts=parts, stop=StopAfter(1))
    found, finite = drawn_by(sampler, models.mesh, indices, batch_size=4, parts=parts)
    np.testing.assert_array_equal(found.labels, expected["arr_1"])
    assert finite.all() and (found.nfe == sum(STEPS)).all()
    np.testing.assert_array_equal(found.images, expected["arr_0"])  # in batches of 8 there
    again, _ = drawn_by(sampler, models.mesh, indices, batch_size=4)
    np.testing.assert_array_equal(again.images, found.images)
    one, _ = drawn_by(sampler, models.mesh, indices[[5, 9, 1, 2]], batch_size=4)
    np.testing.assert_array_equal(one.images, found.images[[5, 9, 1, 2]])


@pytest.mark.slow
def test_evaluate_draws_the_same_samples_and_says_how(runs, drawn, tmp_path, monkeypatch):
    (tmp_path / "features_of_cascades.py").write_text("def flat(x):\n    return x.reshape(len(x), -1)[:, ::64] / 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    np.savez(tmp_path / "real.npz", arr_0=arrays(drawn)["arr_0"])
    flags = [f"--reference={tmp_path / 'real.npz'}", "--features=features_of_cascades:flat", "--save_samples"]
    assert here("evaluate", f"--workdir={drawn}", *flags) == 0  # by the config.json that `sample` wrote
    kept = np.load(drawn / "evaluation_samples" / "samples_00000.npz")
    np.testing.assert_array_equal(kept["arr_0"], arrays(drawn)["arr_0"])
    np.testing.assert_array_equal(kept["arr_1"], arrays(drawn)["arr_1"])
    values = json.loads((drawn / "evaluation.json").read_text())
    assert abs(values["fid_flat"]) < 1e-3 and values["nfe_mean"] == sum(STEPS) and values["n"] == COUNT
    assert [stage["seed"] for stage in values["stages"]] == [stage_seed(SEED, place) for place in range(3)]
    assert all({"workdir", "step", "sampler", "guidance", "parameters"} <= set(stage) for stage in values["stages"])
    assert "a cascade at steps 0 and 0 and 0" in (drawn / "evaluation.html").read_text()
    (drawn / "evaluation.html").unlink()


@pytest.mark.slow
def test_images_that_are_not_finite_name_their_stage(runs, tmp_path):
    shutil.copytree(runs / "base", tmp_path / "broken")
    experiment = builder.experiment(load_config(runs / "base"))
    save_params(tmp_path / "broken", jax.tree.map(lambda a: a * jnp.nan, experiment.network.init(jax.random.key(0))))
    config = cascade_of(runs)
    config.cascade.stage1.workdir = str(tmp_path / "broken")
    models = load_cascade(completed(config), make_mesh(devices=jax.devices()[:4]))
    with pytest.raises(InputError, match=r"^cascade\.stage1: 3 of 3 samples are not finite \(the first is number 7\)"):
        cascade_sampler(models, seed=0)(np.array([7, 8, 9, 9], np.int32), np.arange(4))
    with pytest.raises(InputError, match=r"^cascade\.stage3: 1 of 2 samples"):
        check_last_finite(models, np.array([True, False]), np.arange(2))


def set_of(stage, key, value):
    return lambda values: values["cascade"][stage].update({key: value})


def same_run(stage, other):
    return lambda values: values["cascade"][stage].update(workdir=values["cascade"][other]["workdir"])


CLASSIFIER = {**UNET, "name": "adm_classifier", "pool": "adaptive", "num_classes": 2}
del CLASSIFIER["learn_sigma"]
RUNS = {
    "no checkpoint": ("config alone", dict(size=8, low=4, classes=2, trained=False)),
    "other classes": ("three classes", dict(size=8, low=4, classes=3, trained=False)),
    "a classifier": ("a classifier", dict(size=8, network=CLASSIFIER, trained=False)),
}
"""What some mistakes name."""
AT = r"^cascade\.stage2: "
MISTAKES = {
    "no workdir": (set_of("stage2", "workdir", ""), r"^cascade\.stage2\.workdir is missing: name the folder"),
    "no run": (set_of("stage2", "workdir", "nowhere"), AT + r"No config\.json in nowhere"),
    "no checkpoint": (set_of("stage2", "workdir", "config alone"), AT + "No checkpoint in .*alone"),
    "no such step": (set_of("stage1", "step", 7), r"^cascade\.stage1: .*base has only parameters and no step 7"),
    "other classes": (
        set_of("stage2", "workdir", "three classes"),
        AT + "three classes knows 3 classes, and the first stage draws 2: name runs that fit",
    ),
    "a classifier": (set_of("stage2", "workdir", "a classifier"), AT + "This run has no sampler: it is a classifier"),
    "no images": (
        set_of("stage1", "workdir", "toy"),
        r"^cascade\.stage1: This run has no images: its data are numbers",
    ),
    "two bases": (
        same_run("stage2", "stage1"),
        AT + ".*base draws from noise, but the stage before draws images of 4 x 4 with 1 channel: give",
    ),
    "no base": (
        same_run("stage1", "stage2"),
        r"^cascade\.stage1: .*middle enlarges images of 4 x 4 with 1 channel, but no stage is before it: give another",
    ),
    "another size": (
        same_run("stage2", "stage3"),
        AT + ".*top enlarges images of 8 x 8 with 1 channel, but the stage before draws images of 4 x 4",
    ),
    "size of the data": (lambda v: v["data"].update(image_size=32), r"images of 16 x 16 .*data\.image_size=16"),
    "an unknown key": (
        set_of("stage2", "wrkdir", "x"),
        r"^Unknown key of cascade\.stage2: 'wrkdir'\. Did you mean 'wo",
    ),
    "a key of no sampler": (
        set_of("stage2", "sampler", {"num_stps": 2}),
        r"^Unknown key of cascade\.stage2\.sampler: 'num_stps'\. Did you mean 'num_steps'",
    ),
    "a key of another": (
        set_of("stage2", "sampler", {"churn": 2.0}),
        AT + r"sampler\.churn is not read by sampler\.name='ddim', but by",
    ),
    "a sampler": (
        set_of("stage2", "sampler", {"name": "dim"}),
        r"^Unknown cascade\.stage2\.sampler\.name 'dim'\. Did y",
    ),
    "a value": (set_of("stage2", "sampler", {"eta": "x"}), AT + r"sampler\.eta='x': give a number"),
    "no settings": (set_of("stage2", "sampler", 3), r"^cascade\.stage2\.sampler=3: give a section"),
    "a step": (set_of("stage2", "step", -2), r"^cascade\.stage2\.step=-2: give at least -1"),
    "a type": (set_of("stage2", "workdir", 3), r"^cascade\.stage2\.workdir=3: give a text"),
    "no stage": (lambda v: v["cascade"].update(stage2=3), r"^cascade\.stage2=3: give a section with its workdir"),
    "a number": (lambda v: v["cascade"].pop("stage2"), r"^cascade\.stage2 is missing: number the stages from 1"),
    "a name": (lambda v: v["cascade"].update(base={}), r"^Unknown key of cascade: 'base'\. Call the stages stage1, st"),
    "no stages": (lambda v: v.update(cascade={}), r"^cascade\.stage1 is missing"),
    "no section": (lambda v: v.update(cascade=3), "^cascade=3: give a section"),
    "a network": (
        lambda v: v.update(network={}),
        "^A cascade has no section 'network': it belongs to the config of each",
    ),
    "guidance": (lambda v: v.update(guidance={}), r"^A cascade has no section 'guidance': .* cascade\.stage1\.guida"),
    "a section": (lambda v: v.update(samplng={}), "^Unknown section of the config 'samplng'. Did you mean 'sampling'"),
    "a version": (lambda v: v.update(version=3), "^version=3: this release of score_jax reads configs up to version 2"),
    "an old version": (lambda v: v.update(version=1), "^version=1: cascades are of version 2"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_one_line(what, runs, tmp_path, monkeypatch):
    change, message = MISTAKES[what]
    monkeypatch.chdir(tmp_path)
    values = cascade_of(runs).to_dict()
    change(values)
    if what == "no images":
        save_config(Path("toy"), completed(shipped_configs()["configs/dpm2015/swiss_roll.py"]))
    if what in RUNS:
        name, how = RUNS[what]
        run_of(Path(), name, **how)
    with pytest.raises(InputError, match=message) as found:
        load_cascade(completed(ConfigDict(values)), make_mesh())
    assert "\n" not in str(found.value)


OF_ONE_RUN = [
    ["train"],
    ["likelihood"],
    ["encode"],
    ["edit", "--image=x.png"],
    ["export", "x"],
    ["inspect"],
    ["demo", "--config="],
]


@pytest.mark.parametrize("words", OF_ONE_RUN, ids=lambda words: words[0])
def test_verbs_of_one_run_say_so(words, runs, folder, tmp_path, capsys):
    words = [word.replace("--config=", f"--config={file_of(cascade_of(runs), tmp_path)}") for word in words]
    workdir = str(folder) if words[0] in ("inspect", "export") else f"--workdir={folder}"
    assert here(words[0], workdir, *words[1:]) == 2
    line = capsys.readouterr().err
    assert "This config is a cascade, for `sample`, `evaluate` and `plan` only" in line and str(runs) in line
    assert line.count("\n") == 1 and [path.name for path in folder.iterdir()] == ["config.json"]


def flags_of(runs, tmp_path, *words):
    config = file_of(cascade_of(runs), tmp_path)
    return verb.parse_flags(
        verb.with_aliases(["sample", f"--config={config}", f"--workdir={tmp_path}", *words]), ""
    ).config


def test_the_command_line_states_keys_of_stages(runs, tmp_path):
    at = "--config.cascade"
    config = flags_of(
        runs, tmp_path, f"{at}.stage1.sampler.eta=0.5", f"{at}.stage3.sampler.name=heun", f"{at}.stage2.step=4"
    )
    assert config.cascade.stage1.sampler.to_dict() == {"eta": 0.5}
    assert config.cascade.stage2.to_dict() == cascade_of(runs).cascade.stage2.to_dict() | {"step": 4}
    assert stage_experiments(config)["stage3"].config.sampler.name == "heun"
    config = flags_of(runs, tmp_path, f"{at}.stage2.sampler.num_steps=9", "--num_samples=5")
    middle = stage_experiments(config)["stage2"].config
    assert (middle.sampler.num_steps, middle.sampling.num_samples, middle.sampling.seed) == (9, 5, SEED)
    config = flags_of(runs, tmp_path, f"{at}.stage1.guidance.name=classifier", f"{at}.stage1.guidance.workdir=x")
    assert config.cascade.stage1.guidance.to_dict() == {"name": "classifier", "workdir": "x"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.cascade.stage4.step=1", "Unknown stage of the cascade 'stage4'. Did you mean 'stage3'?"),
        ("--config.cascade.stage1.stp=1", "Unknown key of cascade.stage1: 'stp'. Did you mean 'step'?"),
        ("--config.cascade.stage1.sampler.ta=1", "Unknown key of cascade.stage1.sampler: 'ta'. Did you mean 'eta'?"),
        ("--config.cascade.stage1.sampler.churn=1", "sampler.churn is not read by sampler.name='ddim'"),
        ("--config.cascade.stage1.sampler.name=dim", "Unknown cascade.stage1.sampler.name 'dim'. Did you mean 'ddim'?"),
        ("--config.cascade.stage1.step=x", "Bad argument"),
        ("--config.sampling.sed=1", "Unknown key of sampling: 'sed'. Did you mean 'seed'?"),
        ("--solver=heun", "A cascade has no section 'sampler': give it for a stage, as cascade.stage1.sampler"),
        ("--config.network.channels=8", "A cascade has no section 'network'"),
        ("--base=samples.npz", "a cascade begins with noise: leave it out"),
        ("--step=3", "--step is only for a single run: give the step of a stage"),
        ("--config.sampling.label=2", "the model has 2 classes: expected 0 to 1"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(word, message, runs, tmp_path, capsys):
    config = file_of(cascade_of(runs), tmp_path)
    assert here("sample", f"--config={config}", f"--workdir={tmp_path / 'out'}", word) == 2
    line = capsys.readouterr().err
    assert message in line and line.count("\n") == 1, line


def test_a_number_of_steps_is_the_respacing_of_a_chain(tmp_path):
    """The config's own respacing would win without a word."""
    config = base.get_config()
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=1000)
    base.replace_section(config, "network", **UNET, dropout=0.0, dtype="float32")
    config.prediction.label = "index"
    config.data.update(image_size=8, channels=1)
    config.sampler.update(name="ancestral", respacing="250")
    save_config(tmp_path / "base", completed(config))
    cascade = cascade_of(tmp_path, "base", size=8)
    assert stage_experiments(cascade)["stage1"].config.sampler.respacing == "250"
    cascade.cascade.stage1.sampler.num_steps = 20
    assert stage_experiments(cascade)["stage1"].config.sampler.respacing == "20"
    cascade.cascade.stage1.sampler.respacing = "ddim25"
    assert stage_experiments(cascade)["stage1"].config.sampler.respacing == "ddim25"
    (tmp_path / "cascade.json").write_text(json.dumps(cascade.to_dict()))
    word, file = "--config.cascade.stage1.sampler.num_steps=30", file_of(cascade, tmp_path)
    stated = verb.parse_flags(["sample", f"--config={file}", f"--workdir={tmp_path}", word], "").config
    assert stage_experiments(stated)["stage1"].config.sampler.respacing == "30"


def test_a_folder_is_of_one_cascade(runs, folder, tmp_path, capsys):
    for workdir, names, message in (
        (
            runs / "base",
            ("base", "middle", "top"),
            "base is the folder of one run: give the cascade a --workdir of its",
        ),
        (folder, ("base", "middle"), "is the folder of another cascade, of "),
    ):
        config = file_of(cascade_of(runs, *names, size=16 if "top" in names else 8), tmp_path)
        before = (workdir / "config.json").read_bytes()
        assert here("sample", f"--config={config}", f"--workdir={workdir}") == 2
        assert message in capsys.readouterr().err and (workdir / "config.json").read_bytes() == before
    words = ["--config.data.name=dead_leaves", "--config.data.image_size=16", "--config.data.channels=1"]
    assert here("train", "--config=configs/demo/mnist.py", f"--workdir={folder}", *words) == 2
    assert "is the folder of a cascade: use a new --workdir" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_has_a_row_for_each_stage_beside_the_others(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan_cascade, "slice_devices", lambda topology: (jax.devices()[:4], CHIPS["v5e"]))
    config = cascade_of(runs, "base", "middle", size=8)
    command = ["plan", f"--config={file_of(config, tmp_path)}", "--topology=v5e:2x2"]
    assert here(*command, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    sizes = [
        sum(leaf.size * 4 for leaf in jax.tree.leaves(found.network.shapes()))
        for found in stage_experiments(config).values()
    ]
    rows = result["programs"]
    assert [row["program"] for row in rows] == ["sample stage1", "sample stage2"]
    assert [row["state_bytes"] for row in rows] == sizes and result["parameters_bytes"] == sum(sizes)
    assert [row["other_stages_bytes"] for row in rows] == sizes[::-1]
    assert all(row["fits"] and row["memory"] > sum(sizes) and row["batch_size"] == 8 for row in rows)
    shown = table(result)
    assert shown.count("of parameters, in the memory above") == 2 and "all stages stay in memory" in shown
    assert here(*command, "--programs=train") == 2
    assert "A cascade has no program 'train': plan that of each of its runs" in capsys.readouterr().err


def test_a_stage_that_fits_alone_may_not_fit_beside_the_others():
    program = Program(True, 0.0, memory=3.0, limit=8.0)
    stage = Planned("sample", Setting(1, (), 1), 1, program, flops=1.0, state_bytes=2)
    assert [plan_cascade.beside(stage, others).program.fits for others in (0, 5, 6)] == [True, True, False]
    assert plan_cascade.beside(stage, 6).program.memory == 9.0


@pytest.mark.slow
def test_a_classifier_guides_a_base_and_its_classes_are_handed_on(runs, tmp_path):
    run_of(tmp_path, "plain", 4)
    run_of(tmp_path, "classifier", 4, network=CLASSIFIER)
    shutil.copytree(runs / "middle", tmp_path / "middle")
    config = cascade_of(tmp_path, "plain", "middle", size=8)
    with pytest.raises(InputError, match=r"stage2: .*middle knows 2 classes, and the first stage draws none"):
        load_cascade(completed(config), make_mesh())
    config.cascade.stage1.guidance.update(name="classifier", workdir=str(tmp_path / "classifier"), scale=50.0)
    models = load_cascade(completed(config), make_mesh(devices=jax.devices()[:4]))
    assert [stage.num_classes for stage in models.stages] == [2, 2] and models.num_classes == 0
    indices = np.arange(6, 10, dtype=np.int32)  # of both classes
    free, zeros, ones = (cascade_sampler(models, seed=SEED, label=y)(indices, indices)[0] for y in (-1, 0, 1))
    assert set(np.asarray(free["label"])) == {0, 1} and (np.asarray(ones["label"]) == 1).all()
    for place, label in enumerate(np.asarray(free["label"])):
        of_class = (zeros, ones)[label]["image"], (zeros, ones)[1 - label]["image"]
        found, same, other = (np.asarray(images)[place].astype(int) for images in (free["image"], *of_class))
        assert (found == same).all() and np.abs(found - other).max() > 5
    assert models.facts(SEED)["stages"][0]["guidance"]["scale"] == 50.0
    base_params, guide = models.stages[0].params, models.stages[0].given.classifier_params
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((base_params, guide)))
    assert lower_sampling(models.stages[0].experiment, models.mesh)[2] == held  # what `plan` counts


def test_classes_of_other_names_are_refused(runs, tmp_path):
    for name, classes in (("base", ("cat", "dog")), ("middle", ("cat", "cow")), ("top", ("x", "y"))):
        shutil.copytree(runs / name, tmp_path / name)
        save_facts(tmp_path / name, DataFacts("images", 9, classes, "hash"))
    config = cascade_of(tmp_path)
    with pytest.raises(
        InputError, match=r"stage2: .*middle calls class 1 'cow', and .*base, whose classes are drawn, 'dog'"
    ):
        load_cascade(completed(config), make_mesh())
    save_facts(tmp_path / "middle", DataFacts("others", 5, ("cat", "dog"), "hash"))
    assert len(fitting_experiments(config)) == 3  # the last is told no classes


@pytest.mark.parametrize("name", shipped_configs(cascades=True))
def test_shipped_cascades_fit(name, tmp_path, monkeypatch):
    """Of the runs whose names they state, as the configs of these names make them."""
    monkeypatch.chdir(tmp_path)
    config, shipped = shipped_configs(cascades=True)[name], shipped_configs()
    folder = name.rpartition("/")[0]
    for stage in config.cascade.values():
        for run in filter(None, (stage.workdir, stage.guidance.get("workdir"))):
            file = "_".join(Path(run).parts[1:])
            save_config(Path(run), completed(shipped[f"{folder}/{file}.py"]))
    found = list(stage_experiments(config).values())
    assert found[-1].image_shape == (config.data.image_size, config.data.image_size, 3)
    assert "unclip" in name or all(stage.config.sampler.respacing == "250" for stage in found)
    assert completed(config).to_dict() == config.to_dict()
