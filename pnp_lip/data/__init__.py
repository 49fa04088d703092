"""Images and other data: reading, writing, photographs that are shipped, data sets that are not."""

from pnp_lip.data.images import Image, ImageFileError, read_image, read_stack, write_image
from pnp_lip.data.kernels import read_kernel
from pnp_lip.data.masks import Mask, read_mask
from pnp_lip.data.mnist import Mnist, load_mnist
from pnp_lip.data.moons import TwoMoons, two_moons
from pnp_lip.data.patches import Photographs, find_data, read_folder
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph

__all__ = [
    "PHOTOGRAPHS",
    "Image",
    "ImageFileError",
    "Mask",
    "Mnist",
    "Photographs",
    "TwoMoons",
    "find_data",
    "load_mnist",
    "photograph",
    "read_folder",
    "read_image",
    "read_kernel",
    "read_mask",
    "read_stack",
    "two_moons",
    "write_image",
]
