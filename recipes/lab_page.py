"""One page for the lab book: what was done, how it ended, and what is proved, in a single HTML file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["lab_page"]

_STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }
img { max-width: 100%; } h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.6em; }
table { border-collapse: collapse; } td, th { padding: 0.15em 1em 0.15em 0; text-align: left;
vertical-align: top; } td { overflow-wrap: anywhere; } .no { color: #a00; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } }
"""

_NUMBERS = {
    "psnr_observation": "PSNR before (dB)",
    "psnr_restoration": "PSNR after (dB)",
    "ssim_observation": "SSIM before",
    "ssim_restoration": "SSIM after",
    "noise": "noise level",
    "sigma": "strength of the denoiser",
    "solver": "solver",
    "stepsize": "stepsize",
    "iterations": "iterations",
    "residual": "fixed-point residual",
}


def lab_page(title: str, report: Mapping[str, Any], picture: bytes) -> str:
    """The page; it refers to no other file.

    Parameters
    ----------
    title
        of the page, such as the name of the image.
    report
        of a restoration, or of the pages of a stack.
    picture
        the figure, as PNG.
    """
    pages = report.get("pages") or [report]
    middle = pages[len(pages) // 2]
    shown = base64.b64encode(picture).decode("ascii")
    parts = [
        f"<h1>{html.escape(title)}: {html.escape(str(report['task']))}</h1>",
        f"<p>{html.escape(_end(report))}</p>",
        f'<p><img alt="figure" src="data:image/png;base64,{shown}"></p>',
        *([_heading("Pages"), _pages(pages)] if len(pages) > 1 else []),
        _heading("Result" if len(pages) == 1 else "The page in the middle"),
        _table((label, middle.get(key)) for key, label in _NUMBERS.items()),
        _heading("Guarantee"),
        _guarantee(middle),
        _heading("Certificate of the denoiser"),
        _certificate(middle),
        _heading("How to repeat it"),
        _table(_repetition(report, middle)),
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _end(report: Mapping[str, Any]) -> str:
    return str(report.get("message") or report["status"])


def _heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    lines = [
        f"<tr><th>{html.escape(label)}</th><td>{html.escape(_text(value))}</td></tr>"
        for label, value in rows
        if value is not None
    ]
    return "<table>" + "".join(lines) + "</table>"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _pages(pages: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for number, page in enumerate(pages, 1):
        cells = [number, page["status"], page.get("iterations"), page.get("psnr_restoration")]
        texts = ["" if cell is None else _text(cell) for cell in cells]
        rows.append("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in texts) + "</tr>")
    head = "<tr><th>page</th><th>end</th><th>iterations</th><th>PSNR</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _guarantee(report: Mapping[str, Any]) -> str:
    plan = report.get("plan")
    if plan is None:
        return "<p>The denoiser is applied once; what is proved of it stands below.</p>"
    if plan["theorem"] is None:
        reasons = "; ".join(plan["violations"])
        return f'<p class="no">No convergence theorem applies: {html.escape(reasons)}</p>'
    rows = [
        ("theorem", f"{plan['theorem']} ({plan['reference']})"),
        ("it says", plan["conclusion"]),
        ("norm of the physics", f"{plan['operator_norm_upper']!r}: {plan['operator_norm_source']}"),
        ("stability in the data", plan["stability"]),
    ]
    return _table([*rows, *(("remark", remark) for remark in plan["remarks"])])


def _certificate(report: Mapping[str, Any]) -> str:
    claims = report.get("certificate")
    if not claims:
        return '<p class="no">Nothing is proved of the denoiser.</p>'
    sentences = [f"<p>{html.escape(text)}</p>" for text in claims.values() if text]
    return "\n".join(sentences)


def _repetition(report: Mapping[str, Any], middle: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    command = report.get("command", middle.get("options", {}))
    yield from ((key, value) for key, value in command.items())
    yield from ((f"SHA-256 of {name}", value) for name, value in report.get("inputs", {}).items())
    yield "SHA-256 of the weights", middle.get("weights_sha256")
    yield from ((f"version of {name}", value) for name, value in middle["versions"].items())
