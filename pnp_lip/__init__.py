"""Plug-and-Play image restoration with denoisers that are proved nonexpansive.

The names are listed in ``__init__.pyi`` and imported as they are first used, so that what needs no
network, the help of the command line for one, starts at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
