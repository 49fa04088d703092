"""What is proved of a denoiser, remembered for the process as long as the denoiser stays what it was."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from pnp_lip.certifier import Statement, digest, prove

__all__ = ["statement_of"]

#: Statements remembered; the oldest goes first.
_MOST = 64
_KNOWN: OrderedDict[str, Statement] = OrderedDict()


def statement_of(denoiser: nn.Module) -> Statement:
    """The statement about ``denoiser`` as it is now.

    Raises
    ------
    Refusal
        some part of it has no rule, named together with the remedy.
    """
    # A part that cannot be read gives another digest every time, and nothing is remembered.
    key = digest(denoiser)
    if key not in _KNOWN:
        _KNOWN[key] = prove(denoiser)
        if len(_KNOWN) > _MOST:
            _KNOWN.popitem(last=False)
    _KNOWN.move_to_end(key)
    return _KNOWN[key]
