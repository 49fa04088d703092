"""Every example in a docstring runs and prints what it shows, and every main export has one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import pnp_lip

#: What people import first, by module.
MAIN = {
    "pnp_lip": (
        "Certificate Frozen Guard GuidedDenoiser LipschitzDenoiser Relaxed Tiled VolumeDenoiser "
        "certify check_certificate firmly_nonexpansive write_weights"
    ),
    "pnp_lip.certifier": "digest local_rules prove register_operator register_rule register_slope",
    "pnp_lip.constraints": "hold project",
    "pnp_lip.data": "photograph read_image write_image",
    "pnp_lip.layers": "ConvGradientStep GradientStep",
    "pnp_lip.networks": "Committee certified_radius from_max_min interpolant wasserstein1",
    "pnp_lip.norms": "convolution_norm grid_norm matrix_norm",
    "pnp_lip.quality": "psnr",
    "pnp_lip.solvers": (
        "ADMM Anderson ForwardBackward GuidedPlugAndPlay Plan PrimalDual operator_norm"
    ),
    "pnp_lip.weights": "read_weights",
}

#: What cannot be imported everywhere: panels need napari.
ELSEWHERE = ("pnp_lip.__main__", "pnp_lip.napari.widgets")
MODULES = sorted(
    {
        module.name
        for module in pkgutil.walk_packages(pnp_lip.__path__, "pnp_lip.")
        if module.name not in ELSEWHERE
    }
)


def _examples(module: ModuleType) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_show(name: str) -> None:
    for test in _examples(importlib.import_module(name)):
        lines: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
        runner.run(test, out=lines.append)
        assert runner.failures == 0, "".join(lines)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in MAIN.items() for name in names.split()]
)
def test_every_main_export_has_an_example(module: str, name: str) -> None:
    documented = getattr(importlib.import_module(module), name)
    assert ">>>" in (documented.__doc__ or "")
