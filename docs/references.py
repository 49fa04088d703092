"""A Sphinx extension: names in docstrings lead to where users import them.

A docstring names an object as its own module sees it, and the API pages show it where it is exported. An
object of this package is linked to its page, and is plain text where it has none (a private function).
Names of other packages are plain text unless their inventories are loaded. Any other name is a mistake,
about which a strict build fails.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PACKAGE = "pnp_lip"
#: Roots of names that are documented elsewhere.
OTHERS = {"torch", "deepinv", "numpy", "torchvision", "matplotlib", "tqdm", "argparse", "dask"}
OTHERS |= {*sys.stdlib_module_names, *dir(builtins)}

#: Defining module and qualified name.
Definition = tuple[str, str]


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """The node for a reference that Sphinx did not find, or nothing if it names nothing."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if target.partition(".")[0] in OTHERS:
        return shown
    found = locate(target, node.get("py:module"), node.get("py:class"))
    if found is None:
        return None
    domain: Any = env.domains["py"]
    last = found[1].rpartition(".")[2]
    for path in sorted(domain.objects, key=len):
        if path.rpartition(".")[2] == last and definition(path) == found:
            link: nodes.Element | None = domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", path, node, shown
            )
            return link
    return shown


def locate(target: str, module: str | None, owner: str | None) -> Definition | None:
    """What ``target`` names inside a class, a module, by its full path, or anywhere in the package."""
    everywhere = [name for name in sys.modules if name.partition(".")[0] == PACKAGE]
    prefixes = [f"{module}.{owner}.", f"{module}.", "", *(f"{name}." for name in everywhere)]
    candidates = (definition(prefix + target) for prefix in prefixes)
    return next((found for found in candidates if found is not None), None)


def definition(path: str) -> Definition | None:
    """Where the object at a dotted path of this package is defined, if there is one."""
    parts = path.split(".")
    if parts[0] != PACKAGE:
        return None
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return getattr(found, "__module__", path), getattr(found, "__qualname__", parts[-1])
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
