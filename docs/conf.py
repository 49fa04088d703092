"""Configuration of the documentation: ``sphinx-build -W --keep-going docs docs/_build``.

The build needs no network. With ``PNP_LIP_INTERSPHINX=1`` it fetches the inventories of torch, deepinv,
numpy and Python, and links their objects; without it their names are plain text. A local copy of MathJax
shows the formulas without network: ``PNP_LIP_MATHJAX=/path/to/mathjax/es5/tex-mml-chtml.js``.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The package documented is the one of this source tree, whatever is installed.
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("MPLBACKEND", "agg")

project = "pnp_lip"
author = "The pnp_lip developers"
copyright = "The pnp_lip developers"
release = importlib.metadata.version("pnp-lip")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "references",
]
exclude_patterns = ["_build", "gallery"]
highlight_language = "none"
nitpicky = True

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
# A ``forward`` without a docstring would show torch's.
autodoc_inherit_docstrings = False
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_rtype = False
# "x, y" names two attributes at once, as it does among parameters.
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = f"pnp_lip {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# The version whose configuration MyST writes: it lets formulas through, and dollars of prose not.
mathjax_path = os.environ.get(
    "PNP_LIP_MATHJAX", "https://cdn.jsdelivr.net/npm/mathjax@3.2.2/es5/tex-mml-chtml.js"
)

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "reset_modules": ("matplotlib",),
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
}

if os.environ.get("PNP_LIP_INTERSPHINX") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
        "deepinv": ("https://deepinv.github.io/deepinv/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "python": ("https://docs.python.org/3/", None),
    }
