"""The structure of the package: arrows between its rooms run down, and no module stands in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Rooms from the ground up; a module imports from its own room and from those in lines below it.
FLOORS = (
    ("errors", "rounding", "versions"),
    ("files", "norms", "plain_modules"),
    ("formats", "layers"),
    ("data", "quality"),
    ("constraints", "weights"),
    ("denoisers",),
    ("certifier", "checker"),
    ("networks", "solvers"),
    ("training",),
    ("recipes",),
    ("cli", "napari"),
)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, packages under the name of their folder."""
    found = {}
    for folder, prefix in (("pnp_lip", ""), ("solvers", "pnp_lip."), ("recipes", "pnp_lip.")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder != "pnp_lip" or parts[1] not in ("solvers", "recipes"):
                name = prefix + ".".join(parts)
                found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, also inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_floor_and_every_arrow_runs_down() -> None:
    known = modules()
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    upward = []
    for module, path in known.items():
        if room(module) in ("", "__main__"):
            continue
        assert room(module) in floor, f"{module} stands in no room"
        for target in imports(path, known) - {"pnp_lip"}:
            if room(target) != room(module) and floor[room(target)] >= floor[room(module)]:
                upward.append(f"{module} -> {target}")
    assert not upward


def test_no_module_stands_in_a_circle() -> None:
    known = modules()
    arrows = {module: imports(path, known) - {module} for module, path in known.items()}
    # A package only re-exports: who imports from it does not wait for its other modules.
    packages = {module for module, path in known.items() if path.name == "__init__.py"}
    left = {module: targets - packages for module, targets in arrows.items()}
    left = {module: targets for module, targets in left.items() if module not in packages}
    while free := {module for module, targets in left.items() if not targets & left.keys()}:
        left = {module: targets for module, targets in left.items() if module not in free}
    assert not left, sorted(left)


def test_a_circle_of_two_files_is_seen(tmp_path: Path) -> None:
    """The reading of imports itself, on two files that import each other inside of functions."""
    known = {f"pnp_lip.{name}": tmp_path / f"{name}.py" for name in ("a", "b")}
    known["pnp_lip.a"].write_text("def f():\n    from pnp_lip.b import g\n")
    known["pnp_lip.b"].write_text("import pnp_lip.a\n")
    arrows = {module: imports(path, known) for module, path in known.items()}
    assert arrows == {"pnp_lip.a": {"pnp_lip.b"}, "pnp_lip.b": {"pnp_lip.a"}}
