"""Conditions in words say what the conditions say, or are not used."""

from __future__ import annotations

import pytest

from pnp_lip.certifier import admits
from pnp_lip.cli.sizes import sizes_in_words

#: What the exporter wrote about DRUNet.
DRUNET = (
    *("C == 1", "H >= 32", "W >= 32", "(H % 8) == 0", "H > 31", "(W % 8) == 0", "W > 31"),
    *("(2*(W // 8)) == (W // 4)", "(2*(H // 8)) == (H // 4)", "(4*(W // 8)) == (W // 2)"),
    *("(4*(H // 8)) == (H // 2)", "(8*(W // 8)) == W", "(8*(H // 8)) == H", "dtype == float32"),
)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (DRUNET, "1 channel, H and W multiples of 8, at least 32, float32"),
        (
            ("C == 3", "H >= 4", "(H % 4) == 0", "W >= 2"),
            "3 channels, H a multiple of 4, W at least 2",
        ),
        (("H >= 2", "W >= 2", "(H // 2) != 1"), "H at least 4, W at least 2"),
        (("L >= 2", "C == 2"), "2 channels, L at least 2"),
        (("D >= 2", "H >= 2", "W >= 2"), "D and H and W at least 2"),
        ((), ""),
    ],
)
def test_simple_conditions_are_words(conditions: tuple[str, ...], words: str) -> None:
    assert sizes_in_words(conditions) == words


@pytest.mark.parametrize(
    "condition",
    [
        "W <= 499", "W != 40000", "H == W", "W*H <= 500", "B == 1", "B <= 40", "H == 24", "C >= 2",
        "W == 65536", "H >= W", "F == 6", "(W % 8) != 1", "2*H == 3*W",
    ],
)  # fmt: skip
def test_a_condition_that_is_not_simple_is_given_as_it_is(condition: str) -> None:
    assert condition in sizes_in_words(
        ("H >= 2", "W >= 2", condition) if "F" not in condition else (condition,)
    )


def test_the_words_about_drunet_are_true() -> None:
    for side in (31, 32, 36, 40, 8 * 129, 1025):
        assert admits(DRUNET, (2, 1, side, 64)) == (side >= 32 and side % 8 == 0)
