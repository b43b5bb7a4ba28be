"""Pages for a person: one self-contained HTML file, that needs no other file and no network."""

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as PILImage

from score_jax.evaluation.image_grid import grid
from score_jax.runtime.files import written_whole

FIGURES = """
p, figcaption { color: var(--soft); } figure { margin: 0; }
img { max-width: 100%; height: auto; } svg { width: 100%; max-width: 40rem; height: auto; color: var(--soft); }
img { image-rendering: pixelated; background: #fff; border-radius: 4px; }
.strips { display: inline-block; max-width: 100%; } .strips img { display: block; }
.times { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; text-align: center; font-size: .7rem;
         color: var(--soft); }
.heads { font-size: .8rem; line-height: 1.3; padding-bottom: .3rem; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem; font-size: .8rem; align-items: start; }
.beside .wide { flex: 1 1 24rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; font-weight: 600; }
@media (max-width: 30rem) { th, td { padding: .35rem .25rem; font-size: .82rem; } }
"""
"""Style of what the functions here return, in the colours --soft and --line of the page that shows it."""

_STYLE = f"""
:root {{ color-scheme: light dark;
        --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --page: #fff; --accent: #2563eb; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e2e8f0; --soft: #94a3b8; --line: #334155; --page: #0f172a; --accent: #60a5fa; }} }}
body {{ font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 52rem;
       margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: .3rem; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .5rem; }}
{FIGURES}
pre {{ font-size: .8rem; overflow: auto; max-height: 24rem; border: 1px solid var(--line); padding: .8rem; }}
"""


def picture(pixels: UInt8[np.ndarray, "H W 3"], alt: str) -> str:
    """Returns the HTML of an image that is stored in the page itself."""
    buffer = io.BytesIO()
    PILImage.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def strips(
    trajectory: UInt8[np.ndarray, "m k h w c"], times: Float[np.ndarray, "k"], *, scale: int | None = None
) -> str:
    """Returns the HTML of trajectories from noise to image, a row each, above their times; `scale` as of `grid`."""
    rows = grid(trajectory.reshape(-1, *trajectory.shape[2:]), len(times), scale=scale)
    below = "".join(f"<span>{t:.{2 if times.max() < 10 else 0}f}</span>" for t in times)
    image = picture(rows, "trajectories from noise to image")
    return f'<div class="strips">{image}<div class="times">{below}</div></div>'


def table(header: list[str], rows: list[list[str]], number_column: int) -> str:
    """Rows of text, one column of them set as numbers (-1: none)."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)

    def cell(i: int, text: str) -> str:
        return f"<td{' class=number' if i == number_column else ''}>{html.escape(text)}</td>"

    body = "".join("<tr>" + "".join(cell(i, text) for i, text in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def shown_fact(value: Any) -> str:
    """Returns a fact as text; facts within facts in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown_fact(inner)}" for key, inner in value.items() if inner is not None)
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value).strip('"')


def section(title: str, content: str, caption: str = "") -> str:
    """Returns the HTML of a figure under a heading."""
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<h2>{html.escape(title)}</h2><figure>{content}{note}</figure>"


def write_page(path: Path, title: str, summary: str, sections: list[str]) -> None:
    """Writes the page, atomically, and makes its folder."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<p>{html.escape(summary)}</p>{''.join(sections)}</body></html>\n"
    )
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
