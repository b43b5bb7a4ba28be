"""The page: tabs of what a model can do, of Gradio's components."""

import dataclasses
import html
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from score_jax.app import sections
from score_jax.errors import InputError, Outage
from score_jax.evaluation.page import FIGURES, write_page
from score_jax.jobs import app
from score_jax.jobs.app import Abilities, Draw
from score_jax.jobs.sample import BALANCED_LABELS, RANDOM_LABEL
from score_jax.jobs.trained import Trained

_PAINTED = 384
"""Pixels of the side of an image that is painted on, about."""
_BRUSH = "#f97316"
_ONE = {"concurrency_id": "model", "concurrency_limit": 1}
"""One piece of work at a time: a second would need the memory of a second."""
CSS = f"""
.shown {{ --soft: #64748b; --line: var(--border-color-primary);
  {FIGURES}
  h2 {{ font-size: 1.1rem; font-weight: 600; margin: .4rem 0; }} figure + h2 {{ margin-top: 1.4rem; }}
  figcaption {{ font-size: .85rem; margin-top: .3rem; }} .wrong {{ color: #c2410c; font-weight: 600; }}
  table, tr, th, td {{ border-width: 0 !important; }} tr {{ border-bottom: 1px solid var(--line) !important; }}
}}
.gradio-container {{ max-width: 76rem !important; }}
"""


@dataclasses.dataclass(frozen=True, eq=False)
class _Page:
    """What the tabs share.

    Attributes:
      gr: Gradio.
      model: the model.
      can: what it can do.
      folder: of the pages that are downloaded.
      shown: state of a visitor, the sections that are shown by tab.
      download: the button.
    """

    gr: Any
    model: Trained
    can: Abilities
    folder: Path
    shown: Any
    download: Any

    def work(self, tab: str, function: Callable[..., str]) -> Callable[..., tuple[str, dict[str, str], Any]]:
        """The function of a tab, of the state and the inputs: to its section, the state, and a page to download.

        A message to the user is shown as one.
        """

        def worked(shown: dict[str, str], *inputs: Any) -> tuple[str, dict[str, str], Any]:
            try:
                section = function(*inputs)
            except (InputError, Outage) as error:
                return _wrong(error), shown, self.gr.update()
            shown = shown | {tab: section}
            path = Path(tempfile.mkdtemp(dir=self.folder)) / "score_jax.html"
            write_page(path, _title(self.model), _about(self.model), list(shown.values()))
            return f'<div class="shown">{section}</div>', shown, self.gr.update(value=str(path), interactive=True)

        return worked

    def button(self, name: str, tab: str, function: Callable[..., str], inputs: list[Any], shown: Any) -> None:
        """A button that shows what the function makes of the inputs."""
        pressed = self.gr.Button(name, variant="primary")
        outputs = [shown, self.shown, self.download]
        pressed.click(self.work(tab, function), [self.shown, *inputs], outputs, **_ONE)


def build(gr: Any, model: Trained, folder: Path) -> Any:
    """Returns the page of a model, as Gradio's `Blocks`.

    Args:
      gr: the module gradio.
      model: the model.
      folder: in which pages to download are written.

    Raises:
      InputError: the run draws no images.
    """
    can = app.abilities(model)
    with gr.Blocks(title=f"score_jax: {model.workdir.name}", analytics_enabled=False) as blocks:
        with gr.Row():
            gr.Markdown(f"# {_escaped(_title(model))}\n{_escaped(_about(model))}")
            download = gr.DownloadButton(
                "Download what is shown (HTML)", interactive=False, size="sm", scale=0, min_width=260
            )
        page = _Page(gr, model, can, folder, gr.State({}), download)
        if can.solvers:
            with gr.Tab("Sample"):
                _sample(page)
        if can.method is not None:
            with gr.Tab("Likelihood"):
                _likelihood(page)
        if can.tasks:
            with gr.Tab("Edit"):
                _edit(page)
        if len(can.compared) > 1:
            with gr.Tab("Compare"):
                _compare(page)
    return blocks


def _title(model: Trained) -> str:
    return f"score_jax: {model.workdir.name}"


def _about(model: Trained) -> str:
    config = model.config
    size = f"{config.data.image_size} x {config.data.image_size}"
    return f"{config.network.name}, process {config.process.name}, {config.data.name} at {size}, step {model.step}."


def _escaped(text: str) -> str:
    return html.escape(text).replace("_", "\\_").replace("*", "\\*")


def _hint(text: str) -> str:
    return f'<div class="shown"><p>{html.escape(text)}</p></div>'


def _wrong(error: InputError | Outage) -> str:
    return f'<div class="shown"><p class="wrong" role="alert">{html.escape(str(error))}</p></div>'


@dataclasses.dataclass(frozen=True, eq=False)
class _Controls:
    """How images are drawn: components, and what their values mean."""

    components: list[Any]
    names: list[str]
    model: Trained

    def draw(self, values: tuple[Any, ...], **fixed: Any) -> Draw:
        """What the values of the components ask for."""
        given = dict(zip(self.names, values, strict=True)) | fixed
        own = (self.model.config.sampler.name, app.own_steps(self.model))
        if not app.takes_steps(given["solver"]) or (given["solver"], given.get("steps")) == own:
            given["steps"] = None
        return Draw(**given)


def _controls(page: _Page, solvers: tuple[str, ...], *, stepping: bool = True, count: int = 8) -> _Controls:
    """The components that the model has a use for."""
    gr, can, model, found = page.gr, page.can, page.model, {}
    if stepping:
        found["solver"] = gr.Dropdown(list(solvers), value=solvers[0], label="Solver", filterable=False)
        most, own = app.most_steps(model), app.own_steps(model)
        takes = app.takes_steps(solvers[0])
        steps = gr.Slider(1, most, min(own, most), step=1, label="Steps", visible=takes)
        found["solver"].change(
            lambda solver: gr.update(visible=app.takes_steps(solver)), found["solver"], steps, queue=False
        )
        found["steps"] = steps
    if can.guided:
        found["scale"] = gr.Slider(0, 15, model.config.guidance.scale, step=0.1, label="Guidance scale (1: off)")
    if can.classes:
        choices = [("a random class each", RANDOM_LABEL), ("each class in turn", BALANCED_LABELS)]
        found["label"] = gr.Dropdown(choices + _numbered(can.classes), value=BALANCED_LABELS, label="Class")
    if can.texts:
        found["prompt"] = gr.Textbox(label="Prompt", placeholder="what the images are to show")
    found["count"] = gr.Slider(1, app.LARGEST, count, step=1, label="Images")
    found["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1)
    return _Controls(list(found.values()), list(found), model)


def _numbered(classes: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(name, label) for label, name in enumerate(classes)]


def _sample(page: _Page) -> None:
    gr = page.gr
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            controls = _controls(page, page.can.solvers, count=16)
            place = gr.Column()
        with gr.Column(scale=3):
            shown = gr.HTML(_hint("Choose a solver and press Draw. The first time, the program is compiled."))

    def run(*values: Any) -> str:
        asked = controls.draw(values)
        return sections.of_samples(app.sampled(page.model, asked), asked.solver, _note(asked))

    with place:
        page.button("Draw", "Sample", run, controls.components, shown)


def _note(asked: Draw) -> str:
    guided = "" if asked.scale is None else f", guidance scale {asked.scale:g}"
    prompt = f", prompt: {asked.prompt}" if asked.prompt else ""
    return f"Seed {asked.seed}{guided}{prompt}."


def _file(file: str | None) -> str:
    if not file:
        raise InputError("Give an image first.")
    return file


def _class_of_image(page: _Page) -> list[Any]:
    if not page.model.experiment.conditional:
        return []
    return [page.gr.Dropdown(_numbered(page.can.classes), value=0, label="Class of the image")]


def _likelihood(page: _Page) -> None:
    gr = page.gr
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            file = gr.File(label="Image, of any size", height=140, elem_id="measured")
            label = _class_of_image(page)
            place = gr.Column()
        with gr.Column(scale=3):
            shown = gr.HTML(_hint("Give an image: it is cropped and resized as images for edit are."))
            back = gr.HTML()

    def measured(file: str | None, label: int = 0) -> str:
        image = app.read_image(page.model, _file(file))
        return sections.of_likelihood(app.likelihood_of(page.model, image, label), image)

    def encoded(file: str | None, label: int = 0) -> str:
        image = app.read_image(page.model, _file(file))
        return sections.of_encoding(app.encoded(page.model, image, label))

    with place:
        page.button("Measure bits/dim", "Likelihood", measured, [file, *label], shown)
        if page.can.encodes:
            page.button("Encode and decode", "Latent", encoded, [file, *label], back)


def _edit(page: _Page) -> None:
    gr, tasks, model = page.gr, page.can.tasks, page.model
    size = model.config.data.image_size
    side = max(1, _PAINTED // size) * size
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            task = gr.Radio(list(tasks), value=tasks[0], label="Task")
            strength = gr.Slider(0.05, 1, 0.5, step=0.05, label="Strength: share of the steps taken", visible=False)
            controls = _controls(page, page.can.editors, count=7)
            place = gr.Column()
        with gr.Column(scale=3):
            file = gr.File(label="Image, of any size", height=130, elem_id="edited")
            editor = gr.ImageEditor(
                label="Paint over what is to be drawn anew",
                visible=tasks[0] == "inpaint",
                sources=(),
                transforms=(),
                layers=False,
                canvas_size=(side, side),
                fixed_canvas=True,
                brush=gr.Brush(default_size=side // 8, colors=[_BRUSH], color_mode="fixed"),
                buttons=[],
                height=side + 90,
                placeholder="Give an image first",
                elem_id="painted",
            )
            shown = gr.HTML()

    def read(file: str | None) -> tuple[Any, str]:
        try:
            image = app.read_image(model, _file(file))
        except InputError as error:
            return None, _wrong(error)
        return {"background": sections.for_painting(image, side), "layers": [], "composite": None}, ""

    def run(task: str, strength: float, file: str | None, editor: Any, *values: Any) -> str:
        asked, image = controls.draw(values), app.read_image(model, _file(file))
        painted = _painted(editor, size) if task == "inpaint" else None
        found, images = app.edited(model, asked, task, image, painted, strength if task == "sdedit" else None)
        return sections.of_edit(found, images, f"{task} by {asked.solver}. {_note(asked)}")

    file.upload(read, file, [editor, shown])
    task.change(lambda task: gr.update(visible=task == "inpaint"), task, editor, queue=False)
    task.change(lambda task: gr.update(visible=task == "sdedit"), task, strength, queue=False)
    with place:
        page.button("Edit", "Edit", run, [task, strength, file, editor, *controls.components], shown)


def _painted(editor: dict[str, Any] | None, size: int) -> np.ndarray:
    """The mask that is painted, at the model's size.

    Raises:
      InputError: there is none.
    """
    layers = editor["layers"] if editor else []
    mask = app.mask_of(layers[0], size) if layers else np.zeros(1)
    if not mask.any():
        raise InputError("Nothing is painted: paint over the part of the image that is to be drawn anew.")
    return mask


def _compare(page: _Page) -> None:
    gr, can = page.gr, page.can
    first = [name for name in ("ddim", "heun", "dpm_solver_2m") if name in can.compared]
    chosen = list(dict.fromkeys([*first, *can.compared]))[:3]
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            solvers = gr.Dropdown(
                list(can.compared), value=chosen, multiselect=True, max_choices=3, label="Two or three solvers"
            )
            evaluations = gr.Slider(2, 250, 20, step=1, label="Evaluations of the network, at most")
            controls = _controls(page, can.compared, stepping=False, count=4)
            place = gr.Column()
        with gr.Column(scale=3):
            shown = gr.HTML(_hint("Each solver takes as many steps as the evaluations allow, from the same noise."))

    def run(solvers: list[str], evaluations: int, *values: Any) -> str:
        asked = controls.draw(values, solver=solvers[0] if solvers else can.compared[0])
        return sections.of_comparison(app.compared(page.model, tuple(solvers), evaluations, asked), _note(asked))

    with place:
        page.button("Compare", "Compare", run, [solvers, evaluations, *controls.components], shown)
