"""The three files of a result, written so that nothing of anybody else's is lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike
from torch import Tensor

from pnp_lip.data.images import write_image
from pnp_lip.errors import InputError
from pnp_lip.files import require_writable, write_text
from pnp_lip.formats.raster import Storage
from pnp_lip.formats.reading import require_suffix
from pnp_lip.recipes.lab_page import lab_page

__all__ = ["Outputs", "digest"]

_REMEDY = "choose another name (-o), or overwrite it with --force"


@dataclass(frozen=True)
class Outputs:
    """``NAME.png``, ``NAME.figure.png`` and ``NAME.json`` for an image called ``NAME.png``.

    The report holds the hashes of the two pictures. A later run replaces the three if these hashes
    still hold: then they are its own, unchanged. Whatever else lies there is the user's.

    Attributes
    ----------
    image
        where the restored image goes; its suffix chooses the format.
    force
        overwrite anything.
    page
        write ``NAME.html`` too, a page for the lab book.
    """

    image: Path
    force: bool = False
    page: bool = False

    @property
    def figure(self) -> Path:
        """Where the figure goes."""
        return self.image.with_suffix(".figure.png")

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.image.with_suffix(".json")

    @property
    def html(self) -> Path:
        """Where the page for the lab book goes."""
        return self.image.with_suffix(".html")

    @property
    def paths(self) -> tuple[Path, ...]:
        """Image, figure, the page if there is one, and the report."""
        return self.image, self.figure, *([self.html] if self.page else []), self.report

    def require_free(self, inputs: Sequence[Path] = ()) -> None:
        """Check before long work that all can be written, and that nothing is lost by it.

        Parameters
        ----------
        inputs
            files that are read.

        Raises
        ------
        InputError
            an unknown suffix, a folder that does not exist or cannot be written, a folder
            in the place of a file; and unless ``force`` is set: an input, a link, or a file that
            an earlier run did not write.
        """
        require_suffix(self.image)
        for path in self.paths:
            _require_place(path)
        if self.force:
            return
        for path in self.paths:
            if path.is_symlink():
                raise InputError(f"{path} is a link to another file: {_REMEDY}")
            for given in inputs:
                if path.exists() and given.exists() and path.samefile(given):
                    raise InputError(f"{path} is the input: {_REMEDY}")
        self._require_own()

    def write(
        self,
        pixels: Tensor,
        stored: Storage | DTypeLike,
        draw: Callable[[Path], None],
        report: dict[str, Any],
    ) -> tuple[Path, ...]:
        """Write them, the report last, and return their paths.

        Parameters
        ----------
        pixels
            the image.
        stored
            how to store it, see :func:`pnp_lip.data.images.write_image`.
        draw
            writes the figure to the path it is given.
        report
            plain numbers and strings.
        """
        self.require_free()
        write_image(self.image, pixels, stored)
        draw(self.figure)
        if self.page:
            write_text(self.html, lab_page(self.image.name, report, self.figure.read_bytes()))
        files = {path.name: digest(path) for path in self.paths[:-1]}
        write_text(self.report, json.dumps({**report, "files": files}, indent=2) + "\n")
        return self.paths

    def earlier(self) -> dict[str, Any] | None:
        """The report of an earlier run whose files lie there unchanged."""
        if not all(path.is_file() for path in self.paths):
            return None
        recorded = _recorded(self.report)
        pictures = {path.name: digest(path) for path in self.paths[:-1]}
        if recorded != pictures:
            return None
        found: dict[str, Any] = json.loads(self.report.read_text(encoding="utf-8"))
        return found

    def _require_own(self) -> None:
        existing = [path for path in self.paths if path.exists()]
        if not existing:
            return
        recorded = _recorded(self.report)
        if recorded is None:
            raise InputError(f"{existing[0]} exists, and no run of pnp-lip wrote it: {_REMEDY}")
        if self.image.name not in recorded:
            raise InputError(f"{self.report} is the report of {_picture(recorded)}: {_REMEDY}")
        for path in existing:
            if path != self.report and recorded.get(path.name) != digest(path):
                raise InputError(f"{path} was changed since pnp-lip wrote it: {_REMEDY}")


def _require_place(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder: a file of this name is to be written")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}: create it first")
    try:
        require_writable(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _recorded(report: Path) -> dict[str, str] | None:
    """Names and hashes of the files that a report of ours accounts for; ``None`` if it is not ours."""
    try:
        found = json.loads(report.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) and found else None


def _picture(recorded: dict[str, str]) -> str:
    """The image among the files of a report."""
    return min(recorded, key=lambda name: (name.endswith(".figure.png"), name))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
