"""deepinv's models that can be built without a download or an optional package, small."""

from __future__ import annotations

from collections.abc import Callable

import deepinv as dinv
import torch
from torch import nn

__all__ = ["MODELS"]


def _small() -> nn.Module:
    return dinv.models.DnCNN(1, 1, depth=3, nf=4, pretrained=None)


MODELS: dict[str, Callable[[], nn.Module]] = {
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
    "Anscombe, DnCNN": lambda: dinv.models.AnscombeDenoiser(_small()),
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
    "EquivariantDenoiser": lambda: dinv.models.EquivariantDenoiser(_small(), random=False),
    "MinusOneOne wrapper": lambda: dinv.models.MinusOneOneDenoiserWrapper(_small()),
    "EPLL": lambda: dinv.models.EPLLDenoiser(n_components=3, patch_size=4, pretrained=None),
    "MMSE": lambda: dinv.models.MMSE(torch.rand(4, 1, 16, 16)),
    "Complex wrapper, DnCNN": lambda: dinv.models.ComplexDenoiserWrapper(_small()),
    "Score wrapper, DnCNN": lambda: dinv.models.ScoreModelWrapper(_small(), sigma_t=lambda t: t),
    "ArtifactRemoval": lambda: dinv.models.ArtifactRemoval(_small()),
    "DeepImagePrior": lambda: dinv.models.DeepImagePrior(
        dinv.models.ConvDecoder((1, 32, 32), layers=3, channels=4), (4, 32, 32), iterations=2
    ),
    "EquivariantReconstructor": lambda: dinv.models.EquivariantReconstructor(
        dinv.models.ArtifactRemoval(_small())
    ),
    "MoDL": lambda: dinv.models.MoDL(_small(), num_iter=2),
    "PanNet": lambda: dinv.models.PanNet(_small(), hrms_shape=(4, 32, 32)),
    "Poisson2Sparse": lambda: dinv.models.Poisson2Sparse(_small(), num_iter=2),
    "TimeAgnosticNet": lambda: dinv.models.TimeAgnosticNet(_small()),
    "TimeAveragingNet": lambda: dinv.models.TimeAveragingNet(_small()),
    "VarNet": lambda: dinv.models.VarNet(_small(), num_cascades=2),
    "WienerDeconvolution": lambda: dinv.models.WienerDeconvolution(),
}
