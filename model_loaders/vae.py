"""The Wan 2.1 VAE as the host's VAE.

Knows the host's loading calls. The check by the header is what the host's own loader does not do:
another VAE would only fail after the first chunk was sampled.
"""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import comfy.utils

from ..models.detect import vae_config
from ..models.weights import open_weights
from .folders import find_file


def find_vae(name: str) -> Path:
    """The file behind a list entry, checked by its header.

    Raises:
        InputError: Not a Wan 2.1 VAE.
        FileNotFoundError: The file is gone.
    """
    path = find_file("vae", name)
    vae_config(open_weights(path))
    return path


def load_vae(path: Path) -> comfy.sd.VAE:
    """Load a VAE that `find_vae` has checked; it offloads and clones like one of the host's."""
    weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=weights, metadata=metadata)
    vae.throw_exception_if_invalid()
    vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (str(path), metadata, None))
    return vae
