"""Hooks of mkdocs.yml: pages made of README.md, notebooks and docstrings, links to files, equations as MathML."""

import html
import json
import logging
import os
import re
from pathlib import Path

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files beside docs/ that are pages too; so are the notebooks."""
PAGES |= {path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md" for path in ROOT.glob("notebooks/*.ipynb")}
SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"""(?P<before>\]\(|\b(?:src|href)=")(?P<target>[^)\s"#:]+)(?P<anchor>#[^)\s"]*)?(?P<after>\)|")""")
_LABELLED = re.compile(r"!?\[(?P<label>[^\]]*)\]\(\x00\)")
_MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_DOCTEST = re.compile(r"(?:^>>> .*\n?(?:^(?!>>> )\S.*\n?)*)+", re.MULTILINE)
_log = logging.getLogger("mkdocs.hooks")


class ExamplesAsCode(griffe.Extension):
    """Fences the doctests of docstrings, which Markdown would take for text."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Changes the docstring of a module, class or function once it is read."""
        if obj.docstring is not None:
            fenced = _DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = fenced


def rooms() -> dict[str, list[str]]:
    """The modules of each room of the package that have a public function or class, by their dotted names."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "score_jax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if re.search(r"^(def|class) [a-zA-Z]", path.read_text(), re.MULTILINE) and parts[1] not in ("cli", "__main__"):
            found.setdefault(parts[1], []).append(".".join(part for part in parts if part != "__init__"))
    return found


def notebook(path: Path) -> str:
    """The cells of a notebook with their outputs as Markdown; pictures are in the text."""
    pieces = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        pieces.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", []):
            if "text" in output:
                pieces.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            elif picture := output["data"].get("image/png"):
                pieces.append(f"![plot](data:image/png;base64,{''.join(picture).strip()})")
    return "\n\n".join(pieces)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the API reference to the navigation."""
    pages = [{room: f"api/{room}.md"} for room in rooms()]
    config.nav = [*(config.nav or []), {"API": ["api/index.md", *pages]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made of other files."""
    sources = {page: ROOT / source for source, page in PAGES.items()}
    made = {page: notebook(path) if path.suffix == ".ipynb" else path.read_text() for page, path in sources.items()}
    links = "".join(f"- [`score_jax.{room}`]({room}.md)\n" for room in rooms())
    made["api/index.md"] = f"# API\n\nThe public names; below them the rooms.\n\n{links}\n::: score_jax\n"
    for room, modules in rooms().items():
        blocks = "\n\n".join(f"::: {module}" for module in modules)
        made[f"api/{room}.md"] = f"# score_jax.{room}\n\n{blocks}\n"
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Has every link of a page lead to a page, or to a file of the repository."""
    here = page.file.src_uri
    source = ROOT / SOURCES[here] if here in SOURCES else ROOT / "docs" / here

    def resolved(found: re.Match) -> str:
        target = (source.parent / found["target"]).resolve()
        if not target.exists():
            return found[0]  # MkDocs says that it is not there
        name = target.relative_to(ROOT).as_posix()
        inside = PAGES.get(name, name.removeprefix("docs/") if name.startswith("docs/") else None)
        if inside is not None and files.get_file_from_path(inside) is not None:
            to = os.path.relpath(inside, Path(here).parent)
            return f"{found['before']}{to}{found['anchor'] or ''}{found['after']}"
        if config.repo_url:
            return f"{found['before']}{config.repo_url.rstrip('/')}/blob/HEAD/{name}{found['after']}"
        return f"{found['before']}\x00{found['after']}"

    pieces = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)
    pieces[::2] = [_LABELLED.sub(r"\g<label>", _LINK.sub(resolved, piece)) for piece in pieces[::2]]
    return "".join(pieces)


def on_page_content(content: str, page: Page, **_: object) -> str:
    """Writes equations as MathML, which browsers draw without a script."""

    def drawn(found: re.Match) -> str:
        try:
            made = convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline")
        except Exception as error:
            made = f"\\{type(error).__name__}"
        if unread := re.search(r"\\\w+", made):  # what it does not know, it leaves as it is
            _log.warning("%s: the equation %s has %s", page.file.src_uri, found[2], unread[0])
        return made

    return _MATH.sub(drawn, content)
