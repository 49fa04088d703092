"""What a document shows, and whether a program still prints it: words alike, numbers to a tolerance.

A decimal of at least three digits may differ by one unit of the last; machines differ there. When an
iteration falls below its tolerance depends on rounding as well: a count of at least ten may differ by one
or by 5 %, a number in scientific notation, such as the last residual, by 20 %. All others, such as a proved
bound of 1, must be the same.
"""

from __future__ import annotations

import re

__all__ = ["difference", "shell_examples"]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w])")


def difference(printed: str, shown: str) -> str | None:
    """The first line that differs, or nothing."""
    lines = [text.strip().splitlines() for text in (printed, shown)]
    if len(lines[0]) != len(lines[1]):
        return f"{len(lines[0])} lines are printed and {len(lines[1])} are shown:\n{printed}"
    for now, before in zip(*lines, strict=True):
        if not _alike(now, before):
            return f"printed: {now}\nshown:   {before}"
    return None


def shell_examples(text: str) -> list[tuple[str, str | None]]:
    """The commands of all ``bash`` blocks; the only command of a block with what is shown to be printed,
    the next block if it has no language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    examples: list[tuple[str, str | None]] = []
    for (language, block), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language != "bash":
            continue
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        commands = [line for line in lines if not line.startswith("#")]
        alone = len(commands) == 1 and following == "" and shown
        examples += [(line, shown if alone else None) for line in commands]
    return examples


def _alike(printed: str, shown: str) -> bool:
    if _NUMBER.sub("#", printed).split() != _NUMBER.sub("#", shown).split():
        return False
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(shown), strict=True)
    return all(abs(float(now) - float(before)) <= _tolerance(before) for now, before in pairs)


def _tolerance(shown: str) -> float:
    mantissa, _, exponent = shown.lower().partition("e")
    if exponent:
        return 0.2 * abs(float(shown))
    _, _, decimals = mantissa.partition(".")
    value = abs(float(shown))
    if not decimals:
        return max(1.0, 0.05 * value) if value >= 10 else 0.0
    digits = len(mantissa.lstrip("-0.").replace(".", ""))
    # The hundredth is room for the binary form of decimals.
    return 1.01 * 10.0 ** -len(decimals) if digits >= 3 else 0.0
