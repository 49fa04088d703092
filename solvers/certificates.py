"""What is proved of a denoiser, remembered for the process as long as the denoiser stays what it was."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pnp_lip.certifier import Statement, prove
from pnp_lip.solvers.fingerprint import fingerprint

__all__ = ["statement_of"]

#: Statements remembered; the oldest goes first.
_MOST = 64
_KNOWN: OrderedDict[str, Statement] = OrderedDict()


def statement_of(denoiser: nn.Module) -> Statement:
    """The statement about ``denoiser`` as it is now.

    Raises:
        Refusal: some part of it has no rule, named together with the remedy.
    """
    key = fingerprint(denoiser)
    if key is not None and key in _KNOWN:
        _KNOWN.move_to_end(key)
        return _KNOWN[key]
    statement = prove(denoiser)
    if key is not None:
        _KNOWN[key] = statement
        while len(_KNOWN) > _MOST:
            _KNOWN.popitem(last=False)
    return statement
