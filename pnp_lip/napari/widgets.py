"""The panels: what they ask for, and the plan they show. Imported by napari alone."""

# Annotations are objects here, and no texts: magicgui makes the panels of them.
from collections.abc import Callable
from typing import Annotated, Any

from magicgui import magic_factory
from napari.layers import Image, Labels
from napari.qt.threading import FunctionWorker, thread_worker
from napari.types import LayerDataTuple

from pnp_lip.data.psf import Optics
from pnp_lip.napari.layers import Answer, deconvolved, denoised, inpainted

__all__ = ["deconvolve_widget", "denoise_widget", "inpaint_widget"]

Level = Annotated[float, {"min": 0.0, "max": 0.99, "step": 0.005}]
Number = Annotated[float, {"min": 0.0, "max": 1e9}]
Text = Annotated[str, {"widget_type": "TextEdit", "label": "what is proved", "min_height": 150}]
#: Its types do not know options of single parameters.
_factory: Any = magic_factory


def _show_plan(widget: Any) -> None:
    """Start each computation in a thread of its own, and write its plan into the panel."""

    def started(worker: Any) -> None:
        widget.plan.value = "computing; the layer appears when it is done"
        worker.returned.connect(lambda layer: _write(layer[1]["metadata"]["pnp_lip_summary"]))
        worker.errored.connect(lambda error: _write(str(error)))
        worker.start()

    def _write(text: str) -> None:
        widget.plan.value = text

    widget.called.connect(started)


@_factory(
    call_button="Denoise",
    widget_init=_show_plan,
    sigma={"tooltip": "noise level, where 1 is white; 0 estimates it"},
    volume={"tooltip": "the third axis from the end is depth"},
    white={"tooltip": "the number that stands for white; 0: of the type"},
)
def denoise_widget(
    image: Image, sigma: Level = 0.0, volume: bool = False, white: Number = 0.0, plan: Text = ""
) -> FunctionWorker[LayerDataTuple]:
    """Denoise a layer; what is proved stands below and in the metadata of the result."""
    return _worker(
        image,
        "denoised",
        lambda: denoised(
            image.data, sigma=sigma, volume=volume, rgb=bool(image.rgb), white=white or None
        ),
    )


@_factory(
    call_button="Deconvolve",
    widget_init=_show_plan,
    psf={"tooltip": "a layer with the image of a bead; without it the optics below"},
    step_nm={"tooltip": "from slice to slice: deconvolves volumes; 0 slice by slice"},
    photons={"tooltip": "photons at white; 0 for Gaussian noise"},
    noise={"tooltip": "noise level, where 1 is white; 0 estimates it"},
    strength={"tooltip": "multiples of the noise; 0 for the default"},
)
def deconvolve_widget(
    image: Image,
    psf: Image | None = None,
    wavelength_nm: Number = 520.0,
    aperture: Number = 0.7,
    pixel_nm: Number = 150.0,
    step_nm: Number = 0.0,
    index: Number = 1.0,
    noise: Level = 0.0,
    photons: Number = 0.0,
    strength: Number = 0.0,
    white: Number = 0.0,
    plan: Text = "",
) -> FunctionWorker[LayerDataTuple]:
    """Deconvolve a layer with a layer that shows a bead, or with the optics of the microscope."""

    def compute() -> Answer:
        bead: Any = None if psf is None else psf.data
        if bead is None:
            bead = Optics(wavelength_nm, aperture, pixel_nm, step_nm or None, index)
        return deconvolved(
            image.data, bead, noise=noise, photons=photons, strength=strength, white=white or None
        )

    return _worker(image, "deconvolved", compute)


@_factory(
    call_button="Fill in",
    widget_init=_show_plan,
    labels={"tooltip": "paint over what is to be filled in"},
)
def inpaint_widget(
    image: Image, labels: Labels, noise: Level = 0.0, white: Number = 0.0, plan: Text = ""
) -> FunctionWorker[LayerDataTuple]:
    """Fill in the painted pixels of a layer."""
    return _worker(
        image,
        "filled in",
        lambda: inpainted(
            image.data, labels.data, noise=noise, rgb=bool(image.rgb), white=white or None
        ),
    )


def _worker(image: Any, what: str, compute: Callable[[], Answer]) -> Any:
    return thread_worker(_layer, start_thread=False)(image, what, compute)


def _layer(image: Any, what: str, compute: Callable[[], Answer]) -> Any:
    """The restored layer, beside the one it came from."""
    answer = compute()
    shown = {
        "name": f"{image.name}, {what}",
        "scale": tuple(image.scale),
        "contrast_limits": tuple(image.contrast_limits),
        "metadata": {"pnp_lip": answer.report, "pnp_lip_summary": answer.text},
    }
    return (answer.data, shown, "image")
