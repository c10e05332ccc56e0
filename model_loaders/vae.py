"""The Wan 2.1 VAE as the host's VAE.

Knows the host's loading calls. The check by the header is what the host's own loader does not do:
another VAE would only fail after the first chunk was sampled.
"""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import comfy.utils
import torch

from ..models.detect import vae_config
from ..models.recipes import SET, set_of
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
    """Load a VAE that `find_vae` has checked; it offloads and clones like one of the host's.

    One of a set is small, and runs in float32 as it was trained.
    """
    weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    belongs = set_of(open_weights(path))
    vae = comfy.sd.VAE(sd=weights, metadata=metadata, dtype=torch.float32 if belongs else None)
    vae.throw_exception_if_invalid()
    vae.patcher.set_attachments(SET, belongs)
    vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (str(path), metadata, None))
    return vae


def entry_set(name: str) -> str:
    """The set of the VAE behind a list entry, from its header.

    Raises:
        FileNotFoundError, InputError: As ``find_file``.
    """
    return set_of(open_weights(find_file("vae", name)))


def vae_set(vae: comfy.sd.VAE) -> str:
    """The set that a loaded VAE belongs to, empty for any from another loader."""
    return vae.patcher.get_attachment(SET) or ""
