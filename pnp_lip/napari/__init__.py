"""The plugin of napari: denoise, deconvolve and inpaint the layers at hand, with the guarantee shown.

``layers`` computes and knows nothing of napari; ``widgets`` are the panels. Nothing is imported here, so
that napari reads the manifest without torch.
"""
