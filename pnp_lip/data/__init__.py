"""Images and other data: reading, writing, photographs that are shipped, data sets that are not."""

from pnp_lip.data.images import ImageFileError, read_image, write_image
from pnp_lip.data.mnist import Mnist, load_mnist
from pnp_lip.data.moons import TwoMoons, two_moons
from pnp_lip.data.patches import Photographs, find_data, read_folder
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph

__all__ = [
    "PHOTOGRAPHS",
    "ImageFileError",
    "Mnist",
    "Photographs",
    "TwoMoons",
    "find_data",
    "load_mnist",
    "photograph",
    "read_folder",
    "read_image",
    "two_moons",
    "write_image",
]
