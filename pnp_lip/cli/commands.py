"""What each command does: read, call a recipe, write, print."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pnp_lip.certifier import Certificate, certify
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.cli.network import load_network
from pnp_lip.data.images import Image, ImageFileError, read_image, require_suffix
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.files import require_writable
from pnp_lip.recipes import deblur as deblurring
from pnp_lip.recipes import denoise as denoising
from pnp_lip.recipes import inpaint as inpainting
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, restore
from pnp_lip.training import Training, TrainingConfig, train_with_progress
from pnp_lip.training.processes import Processes

__all__ = ["certify_weights", "deblur", "denoise", "inpaint", "train"]


def deblur(options: argparse.Namespace) -> int:
    """``pnp-lip deblur``."""
    image, simulate = _input(options)
    kernel = read_image(options.kernel).pixels if options.kernel else None
    if kernel is None and not simulate:
        raise ValueError("a real image needs its --kernel; --simulate blurs a clean image instead")
    kernel = deblurring.motion_kernel() if kernel is None else kernel.mean(dim=1, keepdim=True)
    pixels = image.pixels.to(options.device)
    _require_noise(options.noise)
    if simulate:
        problem = deblurring.simulated(pixels, kernel, options.noise, options.seed)
    else:
        problem = deblurring.observed(pixels, kernel, options.noise)
    strength = deblurring.STRENGTH[options.solver] * max(options.noise, 0.003)
    return _solve(problem, strength, image, options)


def inpaint(options: argparse.Namespace) -> int:
    """``pnp-lip inpaint``."""
    image, simulate = _input(options)
    if options.mask is None and not simulate:
        raise ValueError("a real image needs its --mask; --simulate hides pixels instead")
    pixels = image.pixels.to(options.device)
    if options.mask is None:
        mask = inpainting.random_mask(pixels, options.missing, options.seed)
    else:
        mask = read_image(options.mask).pixels.to(options.device)
    _require_noise(options.noise)
    if simulate:
        problem = inpainting.simulated(pixels, mask, options.noise, options.seed)
    else:
        problem = inpainting.observed(pixels, mask, options.noise)
    strength = max(inpainting.STRENGTH[options.solver], options.noise)
    return _solve(problem, strength, image, options)


def denoise(options: argparse.Namespace) -> int:
    """``pnp-lip denoise``."""
    image, simulate = _input(options)
    _require_output(options.output)
    clean = image.pixels
    noisy = denoising.add_noise(clean, options.sigma, options.seed) if simulate else clean
    result = denoising.denoise(
        noisy,
        options.sigma,
        truth=clean if simulate else None,
        weights=options.weights,
        seed=options.seed if simulate else None,
        tile=options.tile,
        device=options.device,
    )
    written = result.save(options.output, image.dtype)
    print(result.summary())
    print("wrote " + ", ".join(str(path) for path in written))
    return 0


def certify_weights(options: argparse.Namespace) -> int:
    """``pnp-lip certify``."""
    if options.output:
        require_writable(options.output)
    network = load_network(options.weights, options.channels)
    if options.check:
        return _check(options.check, network)
    certificate = certify(network, gap=options.gap)
    print(_table(certificate))
    if options.output:
        certificate.save(options.output)
        print(f"wrote {options.output}")
    violated = certificate.lower > options.bound
    folder = options.witness or ("counterexample" if violated else None)
    if folder and certificate.witness:
        print("wrote " + ", ".join(map(str, certificate.witness.save(folder))))
    if violated:
        print(f"Lip(D) > {options.bound:g}: the two images written are a counterexample")
    met = certificate.upper <= options.bound
    print(f"Lip(D) <= {options.bound:g}: {'proved' if met else 'NOT proved'}")
    return 0 if met else 1


def train(options: argparse.Namespace) -> int:
    """``pnp-lip train``."""
    _require_device(options.device)
    config = TrainingConfig.read(options.config)
    processes = Processes.join(options.device)
    try:
        device = processes.device(options.device)
        training = Training(config, options.folder, device, processes)
        train_with_progress(training)
    finally:
        processes.leave()
    if processes.first:
        print(f"wrote {training.weights}")
    return 0


def _input(options: argparse.Namespace) -> tuple[Image, bool]:
    """The image, and whether it is to be degraded first."""
    _require_device(options.device)
    if options.image is None:
        return Image(photograph("camera"), np.dtype(np.uint8)), True
    if options.image in PHOTOGRAPHS and not Path(options.image).exists():
        return Image(photograph(options.image), np.dtype(np.uint8)), True
    return read_image(options.image), options.simulate


def _require_device(name: str) -> None:
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device '{name}' cannot be used: {reason}") from error


def _require_noise(noise: float) -> None:
    if not 0 <= noise < 1:
        raise ValueError(f"the noise must be a standard deviation in [0, 1), got {noise}")


def _require_output(path: str) -> None:
    require_suffix(Path(path))
    try:
        require_writable(path)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _solve(problem: Problem, strength: float, image: Image, options: argparse.Namespace) -> int:
    _require_output(options.output)
    chosen = Options(
        sigma=strength if options.sigma is None else options.sigma,
        solver=options.solver,
        stepsize=options.stepsize,
        max_iter=options.max_iter,
        tol=options.tol,
        device=options.device,
        seed=options.seed,
        weights=options.weights,
        verbose=True,
    )
    restoration = restore(problem, chosen)
    written = restoration.save(options.output, image.dtype)
    print(restoration.summary())
    print("wrote " + ", ".join(str(path) for path in written))
    return 0


def _check(certificate: str, network: nn.Module) -> int:
    """Prove a stored certificate again; 1 if it is rejected."""
    try:
        check_certificate(certificate, network)
    except CertificateRejected as reason:
        print(f"REJECTED: {reason}")
        return 1
    except ImportError as error:
        raise ValueError(str(error)) from error
    print(f"accepted: every bound of {certificate} was proved again")
    return 0


def _table(certificate: Certificate) -> str:
    rows = [
        f"{'layer':<12} {'norm, attained':>15} {'norm, proved':>13} {'Lip <=':>9} {'averaged':>9}"
    ]
    for layer in certificate.layers:
        lower = "" if layer.norm_lower is None else f"{layer.norm_lower:.6f}"
        upper = "" if layer.norm_upper is None else f"{layer.norm_upper:.6f}"
        averaged = "" if layer.averagedness is None else f"{layer.averagedness:.4f}"
        rows.append(f"{layer.name:<12} {lower:>15} {upper:>13} {layer.upper:>9.6g} {averaged:>9}")
    averagedness = certificate.averagedness
    return "\n".join(
        [
            *rows,
            "",
            f"upper (proved)    {certificate.upper:.9g}",
            f"lower (measured)  {certificate.lower:.9g}",
            f"averagedness      {'none' if averagedness is None else f'{averagedness:.6f}'}",
            *_allowed(averagedness),
        ]
    )


def _allowed(averagedness: float | None) -> list[str]:
    """Which solvers the averagedness allows, in words."""
    if averagedness is None:
        return [
            "forward-backward  refused: the denoiser may be expansive",
            "ADMM              refused",
        ]
    first = (
        "with any step below 2/L"
        if averagedness < 1
        else "with relaxation 1/2, or on strongly convex data terms"
    )
    second = (
        "as it is"
        if averagedness <= 0.5
        else f"relaxed to (1 - w) I + w D with w = {0.5 / averagedness:.4f}"
    )
    return [f"forward-backward  {first}", f"ADMM              {second}"]
