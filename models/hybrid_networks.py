"""The networks of the command line where the base is a HunyuanVideo; what ``networks`` is for Wan.

VAE and audio encoder are of the same kinds; latents are scaled as ``hybrid_codec`` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .configs import WAN, Family
from .detect import Kind, base_kind, check_features, require, vae_config
from .hybrid import HybridModel
from .hybrid_adapter import HybridAudioAdapter
from .hybrid_detect import as_trained, check_hybrid_fits, hybrid_adapter_config, hybrid_config
from .hybrid_keys import to_comfy
from .networks import COMPANIONS, WeightPaths, fill
from .recipes import check_same_set, set_of
from .wan_vae import WanVAE
from .wav2vec import Wav2VecEncoder, load_wav2vec
from .wav2vec_keys import detect_wav2vec, wav2vec_metadata_beside
from .weights import empty_weights, load_strict, open_weights

KINDS = {
    "base": Kind.HYBRID,
    "adapter": Kind.HYBRID_ADAPTER,
    "vae": Kind.VAE,
    "wav2vec": Kind.WAV2VEC,
}
"""What each file has to be."""


@dataclass(frozen=True)
class HybridNetworks:
    """What makes a clip.

    Attributes:
        base: The video transformer.
        adapter: Its audio adapter.
        vae: Frames to latents and back, normalised for Wan.
        wav2vec: The audio encoder.
    """

    base: HybridModel
    adapter: HybridAudioAdapter
    vae: WanVAE
    wav2vec: Wav2VecEncoder


def weights_family(paths: WeightPaths) -> Family:
    """What the base in a file is; its window is what the adapter was trained on.

    Raises:
        InputError: A HunyuanVideo that takes no picture, or whose adapter is none.
    """
    file = open_weights(paths.base)
    if base_kind(file) is not Kind.HYBRID:
        return WAN
    return as_trained(
        hybrid_config(file).family, hybrid_adapter_config(open_weights(paths.adapter))
    )


def load_hybrid_networks(
    paths: WeightPaths, device: torch.device, dtype: torch.dtype
) -> HybridNetworks:
    """Read, check and load the four networks.

    Args:
        paths: Their files.
        device: Where they run.
        dtype: Type of transformer and adapter; the VAE and wav2vec2 run in float32.

    Raises:
        FileNotFoundError, InputError: A file is missing, unreadable, of another kind, or does not
            fit the others; said before any tensor is read.
    """
    files = {role: require(open_weights(getattr(paths, role)), KINDS[role]) for role in KINDS}
    base, adapter = hybrid_config(files["base"]), hybrid_adapter_config(files["adapter"])
    vae = vae_config(files["vae"])
    metadata = {**wav2vec_metadata_beside(paths.wav2vec), **files["wav2vec"].metadata}
    encoder = detect_wav2vec(files["wav2vec"].shapes, metadata).read_by(adapter.feature_size)
    for role, what in COMPANIONS.items():
        check_same_set(set_of(files["base"]), set_of(files[role]), what)
    check_hybrid_fits(base, adapter)
    check_features(adapter, encoder.hidden, encoder.states)
    with empty_weights():
        empty = HybridModel(base), HybridAudioAdapter(adapter), WanVAE(vae)
    load_strict(empty[0], to_comfy(files["base"].read(dtype=dtype)), files["base"].name)
    return HybridNetworks(
        empty[0].eval().to(device),
        fill(empty[1], files["adapter"], dtype).to(device),
        fill(empty[2], files["vae"], torch.float32).skip_zero_taps().to(device),
        load_wav2vec(encoder, files["wav2vec"].read(), files["wav2vec"].name),
    )
