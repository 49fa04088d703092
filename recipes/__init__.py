"""Recipes: deblurring, inpainting and denoising, composed from the library."""
