"""What the certifier says of deepinv's own models: a bound, or the operator that has none.

    python -m benchmarks.deepinv_models [--only NAME ...] [--limit SECONDS]

Every model that can be built without a download or an optional package is built small, with random weights:
a bound depends on the weights, whether there is one on the operators only. *Lip <=* is proved for
the sizes under *conditions*; a refusal names the operator. Each model has a process of its own, which ends
after ``--limit`` seconds of processor time.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import deepinv as dinv
import torch
from torch import nn

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.record import Rows
from pnp_lip.certifier import Refusal, prove
from pnp_lip.certifier.conditions import of_sizes
from pnp_lip.rounding import format_up

_MODELS: dict[str, Callable[[], nn.Module]] = {
    "DnCNN": lambda: dinv.models.DnCNN(1, 1, depth=5, nf=8, pretrained=None),
    "DnCNN, colour": lambda: dinv.models.DnCNN(3, 3, depth=5, nf=8, pretrained=None),
    "FFDNet": lambda: dinv.models.FFDNet(n_conv_layers=4, nf=8, pretrained=None),
    "DRUNet": lambda: dinv.models.DRUNet(1, 1, nc=(4, 6, 8, 10), nb=1, pretrained=None),
    "DRUNet, pooling": lambda: dinv.models.DRUNet(
        1,
        1,
        nc=(4, 6, 8, 10),
        nb=1,
        downsample_mode="maxpool",
        upsample_mode="upconv",
        pretrained=None,
    ),
    "UNet": lambda: dinv.models.UNet(1, 1, scales=2, batch_norm=False),
    "UNet, batch norm": lambda: dinv.models.UNet(1, 1, scales=2),
    "UNet, circular": lambda: dinv.models.UNet(
        1, 1, scales=2, circular_padding=True, batch_norm=False
    ),
    "SRResNet": lambda: dinv.models.SRResNet(num_blocks=1, feats=8, im_c=1),
    "GSDRUNet": lambda: dinv.models.GSDRUNet(
        in_channels=1, out_channels=1, nc=(4, 6, 8, 10), nb=1, pretrained=None
    ),
    "GSDRUNet, its network": lambda: (
        dinv.models.GSDRUNet(
            in_channels=1, out_channels=1, nc=(4, 6, 8, 10), nb=1, pretrained=None
        ).student_grad.model
    ),
    "SCUNet": lambda: dinv.models.SCUNet(in_nc=1, config=[1] * 7, dim=64, pretrained=None),
    "SCUNet, first convolution": lambda: (
        dinv.models.SCUNet(in_nc=1, config=[1] * 7, dim=64, pretrained=None).m_head
    ),
    "SwinIR": lambda: dinv.models.SwinIR(
        img_size=16, in_chans=1, embed_dim=12, depths=[1], num_heads=[2], pretrained=None
    ),
    "Restormer": lambda: dinv.models.Restormer(
        1,
        1,
        dim=8,
        num_blocks=(1, 1, 1, 1),
        num_refinement_blocks=1,
        heads=(1, 1, 1, 1),
        pretrained=None,
    ),
    "PromptIR": lambda: dinv.models.PromptIR(
        3, 3, dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, pretrained=None
    ),
    "AutoEncoder": lambda: dinv.models.AutoEncoder(dim_input=16, dim_mid=12, dim_hid=4),
    "ConvDecoder": lambda: dinv.models.ConvDecoder((1, 32, 32), layers=3, channels=4),
    "ConvLista": lambda: dinv.models.ConvLista(
        in_channels=1, out_channels=1, num_filters=4, num_iter=2
    ),
    "ICNN": lambda: dinv.models.ICNN(1, num_filters=4, num_layers=3),
    "DScCP": lambda: dinv.models.DScCP(depth=2, n_channels_per_layer=4, pretrained=None),
    "PDNet, primal": lambda: dinv.models.PDNet_PrimalBlock(6, 5, depth=2, nf=4),
    "PDNet, dual": lambda: dinv.models.PDNet_DualBlock(7, 5, depth=2, nf=4),
    "PatchGAN": lambda: dinv.models.PatchGANDiscriminator(1, ndf=4, n_layers=2),
    "ESRGAN": lambda: dinv.models.ESRGANDiscriminator((1, 32, 32), filters=(4, 4)),
    "DCGAN": lambda: dinv.models.DCGANDiscriminator(ndf=4, nc=1),
    "DCGAN, generator": lambda: dinv.models.DCGANGenerator(output_size=64, nz=8, ngf=4, nc=1),
    "CSGM, generator": lambda: dinv.models.CSGMGenerator(
        dinv.models.DCGANGenerator(output_size=64, nz=8, ngf=4, nc=1)
    ),
    "MPRNet": lambda: dinv.models.MPRNet(
        1, 1, n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1, pretrained=None
    ),
    "NCSNpp": lambda: dinv.models.NCSNpp(
        in_channels=1, out_channels=1, img_resolution=32, model_channels=8, pretrained=None
    ),
    "ADMUNet": lambda: dinv.models.ADMUNet(
        in_channels=1, out_channels=1, img_resolution=32, model_channels=8, pretrained=None
    ),
    "DiffUNet": lambda: dinv.models.DiffUNet(1, 1, pretrained=None),
    "MedianFilter": lambda: dinv.models.MedianFilter(3),
    "RAM": lambda: dinv.models.RAM(in_channels=(1,), pretrained=False),
    "EDM preconditioning": lambda: dinv.models.EDMPrecond(
        dinv.models.ADMUNet(
            in_channels=1, out_channels=1, img_resolution=32, model_channels=8, pretrained=None
        )
    ),
    "Anscombe, DnCNN": lambda: dinv.models.AnscombeDenoiser(
        dinv.models.DnCNN(1, 1, depth=3, nf=4, pretrained=None)
    ),
    "Kernel identification": lambda: dinv.models.KernelIdentificationNetwork(
        filters=2, blur_kernel_size=5, pretrained=None
    ),
    "DEAL": lambda: dinv.models.DEAL(pretrained=None, inner_iter=2, outer_iter=2),
    "TVL1Denoiser": lambda: dinv.models.TVL1Denoiser(n_it_max=5),
    "TVDenoiser": lambda: dinv.models.TVDenoiser(n_it_max=5),
    "TGVDenoiser": lambda: dinv.models.TGVDenoiser(n_it_max=5),
    "WaveletDenoiser": lambda: dinv.models.WaveletDenoiser(level=2),
    "WaveletDictDenoiser": lambda: dinv.models.WaveletDictDenoiser(
        level=2, list_wv=["db1", "db2"], max_iter=2
    ),
    "PatchCovarianceNoiseEstimator": lambda: dinv.models.PatchCovarianceNoiseEstimator(),
    "WaveletNoiseEstimator": lambda: dinv.models.WaveletNoiseEstimator(),
    "BilateralFilter": lambda: dinv.models.BilateralFilter(),
    "EquivariantDenoiser": lambda: dinv.models.EquivariantDenoiser(
        dinv.models.DnCNN(1, 1, depth=3, nf=4, pretrained=None), random=False
    ),
    "MinusOneOne wrapper": lambda: dinv.models.MinusOneOneDenoiserWrapper(
        dinv.models.DnCNN(1, 1, depth=3, nf=4, pretrained=None)
    ),
}


def outcome(build: Callable[[], nn.Module]) -> dict[str, Any]:
    """A bound with its conditions, a refusal, or why the model could not be built."""
    torch.manual_seed(0)
    try:
        model = build().eval()
    except Exception as error:
        return {
            "not built": str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        }
    start = time.process_time()
    try:
        statement = prove(model)
    except Refusal as refusal:
        return {"refused": str(refusal), "seconds": round(time.process_time() - start, 2)}
    except Exception as error:  # a fault of the certifier, which the table must show
        return {"refused": f"{type(error).__name__}: {error}"[:300], "fault": True}
    return {
        "upper": statement.upper,
        "averagedness": statement.averagedness,
        "conditions": list(of_sizes(statement.conditions)),
        "operators": len(statement.leaves()),
        "seconds": round(time.process_time() - start, 2),
    }


def limited_outcome(build: Callable[[], nn.Module], limit: int) -> dict[str, Any]:
    """The outcome in a process of its own, or that it came to none within its time."""
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    worker = forking.Process(target=_work, args=(build, limit, sender))
    worker.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        worker.join()
        found = {"no answer": f"none within {limit} s of processor time"}
        if worker.exitcode != -signal.SIGXCPU:
            found = {"no answer": f"the process ended with {worker.exitcode}"}
    worker.join()
    return found


def _work(build: Callable[[], nn.Module], limit: int, sender: Connection) -> None:
    """Send the outcome, unless the system ends the process before."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    sender.send(outcome(build))


def _outcomes(rows: Rows) -> str:
    """A line for each model that could be built."""
    lines = []
    for (name,), row in rows.items():
        if "upper" in row:
            lines.append([name, format_up(row["upper"]), ", ".join(row["conditions"])])
        elif "refused" in row:
            lines.append([name, "refused", row["refused"]])
        elif "no answer" in row:
            lines.append([name, "no answer", row["no answer"]])
    return table(["model, random weights", "Lip ≤", "for sizes with, or why not"], lines)


def _counts(rows: Rows) -> str:
    """How many models of each outcome, in words."""
    kinds = [
        next((k for k in ("upper", "refused", "no answer") if k in r), "") for r in rows.values()
    ]
    bounded, refused, silent = (kinds.count(kind) for kind in ("upper", "refused", "no answer"))
    return f"{bounded} are bounded, {refused} are refused, {silent} gave no answer in time"


BENCHMARK = Benchmark(
    "deepinv_models",
    __doc__,
    {"deepinv-models": _outcomes, "deepinv-models-counts": _counts},
    selecting=("only",),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--only", nargs="*", choices=sorted(_MODELS), help="these models alone")
    parser.add_argument("--limit", type=int, default=120, help="seconds for each (default 120)")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for name in options.only or _MODELS:
        recording.add(name, row=limited_outcome(_MODELS[name], options.limit))
    recording.close()


if __name__ == "__main__":
    main()
