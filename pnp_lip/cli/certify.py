"""``pnp-lip certify``: the bounds of a network, proved, or a stored certificate proved again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from torch import nn

from pnp_lip.certifier import Certificate, certify
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.cli.network import load_network
from pnp_lip.cli.sizes import sizes_in_words
from pnp_lip.errors import InputError
from pnp_lip.files import require_writable

__all__ = ["certify_weights"]


def certify_weights(options: argparse.Namespace) -> int:
    """Print the bounds of a network and whether the one asked for is proved."""
    if options.output:
        _require_free(Path(options.output), options.force)
    network = load_network(options.weights, options.channels)
    if options.check:
        return _check(options.check, network)
    certificate = certify(network, gap=options.gap, progress=True)
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


def _require_free(path: Path, force: bool) -> None:
    """A certificate may replace another certificate, and nothing else."""
    try:
        require_writable(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    if path.exists() and not force and (path.is_symlink() or not _is_certificate(path)):
        raise InputError(
            f"{path} exists and is no certificate: choose another name (-o), or overwrite it with "
            "--force"
        )


def _is_certificate(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"upper", "lower"} <= found.keys()


def _check(certificate: str, network: nn.Module) -> int:
    """Prove a stored certificate again; 1 if it is rejected."""
    if not Path(certificate).is_file():
        raise InputError(f"no such certificate: {certificate}")
    try:
        confirmed = check_certificate(certificate, network, progress=True)
    except CertificateRejected as reason:
        print(f"REJECTED: {reason}")
        return 1
    except ImportError as error:
        raise InputError(str(error)) from error
    for assumed in confirmed.assumed:
        print(f"not proved again, but assumed: {assumed}")
    every = "every other bound" if confirmed.assumed else "every bound"
    print(f"accepted: {every} of {certificate} was proved again")
    if confirmed.conditions:
        print(f"on images with {sizes_in_words(confirmed.conditions)}")
    print(f"only read, not verified: {', '.join(confirmed.unchecked)}")
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
    averagedness, sizes = certificate.averagedness, sizes_in_words(certificate.statement.conditions)
    return "\n".join(
        [
            *rows,
            "",
            f"upper (proved)    {certificate.upper:.9g}",
            *([f"for images with   {sizes}"] if sizes else []),
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
