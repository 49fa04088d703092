"""JSON read strictly: nothing twice, every number finite, neither large nor deep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pnp_lip.checker.entries import short
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["read_json", "require_depth"]

_BYTES, _DEPTH = 2**28, 12


def read_json(path: Path) -> Any:
    """The content of a file.

    Raises
    ------
    CertificateRejected
        it is large, or not JSON, or has an entry twice or a number that is none.
    FileNotFoundError
        no such file.
    """
    try:
        if path.stat().st_size > _BYTES:
            raise CertificateRejected(f"{path} is larger than {_BYTES} bytes: not a certificate")
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise CertificateRejected(f"{path} is not a certificate: {short(str(error))}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the entry '{twice}' occurs twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def require_depth(value: Any, depth: int = 0) -> None:
    """Refuse entries within entries within entries.

    Raises
    ------
    CertificateRejected
        they are nested too deep.
    """
    if depth > _DEPTH:
        raise CertificateRejected(f"entries are nested more than {_DEPTH} deep: not a certificate")
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, (dict, list)):
            require_depth(part, depth + 1)
