"""The four networks of the command line, found in a folder, checked against each other, loaded.

Nothing big is read before everything that can be refused has been refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..errors import InputError
from .adapter import AudioAdapter
from .configs import AdapterConfig, VAEConfig, WanConfig, Wav2VecConfig
from .detect import (
    Kind,
    adapter_config,
    check_features,
    check_fits,
    check_image_to_video,
    identify,
    require,
    vae_config,
    wan_config,
)
from .recipes import built_in_file, check_same_set, set_of
from .wan import WanModel
from .wan_vae import WanVAE
from .wav2vec import Wav2VecEncoder, load_wav2vec
from .wav2vec_keys import detect_wav2vec, wav2vec_metadata_beside
from .weights import WeightsFile, empty_weights, load_strict, open_weights

AnyModule = TypeVar("AnyModule", bound=nn.Module)

RANDOM_WAN = WanConfig(
    dim=96,
    ffn_dim=192,
    heads=2,
    layers=2,
    in_channels=36,
    out_channels=16,
    text_dim=32,
    text_tokens=4,
    image_dim=None,
)
RANDOM_ADAPTER = AdapterConfig(
    dim=96, layers=2, feature_size=3 * 48, hidden=32, tokens=8, token_dim=64
)
RANDOM_VAE = VAEConfig(width=8)
RANDOM_WAV2VEC = Wav2VecConfig(
    hidden=48,
    layers=3,
    heads=3,
    ffn_dim=96,
    conv_dims=(32,) * 7,
    position_kernel=16,
    position_groups=4,
)


@dataclass(frozen=True)
class WeightPaths:
    """Where the four networks are; ``base`` and ``adapter`` may be one merged file."""

    base: Path
    adapter: Path
    vae: Path
    wav2vec: Path


@dataclass(frozen=True)
class Networks:
    """What makes a clip.

    Attributes:
        base: The video transformer.
        adapter: Its audio adapter.
        vae: Frames to latents and back.
        wav2vec: The audio encoder.
    """

    base: WanModel
    adapter: AudioAdapter
    vae: WanVAE
    wav2vec: Wav2VecEncoder


ROLES = {
    "base": (Kind.WAN, Kind.MERGED, Kind.HYBRID, Kind.HYBRID_MERGED),
    "adapter": (Kind.ADAPTER, Kind.MERGED, Kind.HYBRID_ADAPTER, Kind.HYBRID_MERGED),
    "vae": (Kind.VAE,),
    "wav2vec": (Kind.WAV2VEC,),
}
"""What each file may be; where it has to be of Wan's system, the first."""

COMPANIONS = {"adapter": "audio adapter", "vae": "VAE", "wav2vec": "audio encoder"}
"""What belongs to a base, as messages call it."""


def find_weights(folder: Path | None, chosen: Mapping[str, Path | None]) -> WeightPaths:
    """Find the four networks by what the files hold, not by their names.

    Args:
        folder: Folder with safetensors files, searched with its subfolders; None searches nothing.
        chosen: Files the user named, by role (``base``, ``adapter``, ``vae``, ``wav2vec``).

    Raises:
        FileNotFoundError: The folder does not exist.
        InputError: A role has no file, or several equally good ones.
    """
    files = [] if folder is None else list(open_folder(folder))
    paths: dict[str, Path] = {}
    for field in fields(WeightPaths):
        role = field.name
        path = chosen.get(role)
        paths[role] = find_role(role, files, folder) if path is None else path
    return WeightPaths(**paths)


def built_in_weights(chosen: Mapping[str, Path | None]) -> WeightPaths:
    """The files that come with the package.

    Args:
        chosen: Files the user named instead, by role.

    Raises:
        FileNotFoundError: This copy of the package has them not.
    """
    return WeightPaths(**{role: chosen.get(role) or built_in_file(role) for role in ROLES})


def open_folder(folder: Path) -> Iterable[WeightsFile]:
    """Headers of all safetensors files below a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder.name} in {folder.parent}.")
    for path in sorted(folder.rglob("*.safetensors")):
        yield open_weights(path)


def find_role(role: str, files: Iterable[WeightsFile], folder: Path | None) -> Path:
    """The one file that can play a role."""
    kinds = ROLES[role]
    found = [file.path for file in files if identify(file) in kinds]
    if len(found) == 1:
        return found[0]
    where = "no folder was given" if folder is None else f"the folder {folder} has {len(found)}"
    names = f" ({', '.join(path.name for path in found)})" if found else ""
    raise InputError(
        f"expected one file that is {kinds[0].value}, but {where}{names}; "
        f"name the file with --{role}."
    )


def load_networks(paths: WeightPaths, device: torch.device, dtype: torch.dtype) -> Networks:
    """Read, check and load the four networks.

    Args:
        paths: Their files.
        device: Where they run.
        dtype: Type of transformer and adapter; the VAE and wav2vec2 run in float32, as published.

    Raises:
        FileNotFoundError, InputError: A file is missing, unreadable, of another kind, or does not
            fit the others; said before any tensor is read.
    """
    files = {role: require(open_weights(getattr(paths, role)), ROLES[role][0]) for role in ROLES}
    base, adapter = wan_config(files["base"]), adapter_config(files["adapter"])
    vae = vae_config(files["vae"])
    metadata = {**wav2vec_metadata_beside(paths.wav2vec), **files["wav2vec"].metadata}
    encoder = detect_wav2vec(files["wav2vec"].shapes, metadata)
    wav2vec = encoder.read_by(adapter.feature_size)
    check_image_to_video(base, files["base"].name)
    for role, what in COMPANIONS.items():
        check_same_set(set_of(files["base"]), set_of(files[role]), what)
    check_fits(base, adapter)
    check_features(adapter, wav2vec.hidden, wav2vec.states)
    with empty_weights():
        empty = WanModel(base), AudioAdapter(adapter), WanVAE(vae)
    return Networks(
        fill(empty[0], files["base"], dtype).to(device),
        fill(empty[1], files["adapter"], dtype).to(device),
        fill(empty[2], files["vae"], torch.float32).skip_zero_taps().to(device),
        load_wav2vec(wav2vec, files["wav2vec"].read(), files["wav2vec"].name),
    )


def fill(module: AnyModule, file: WeightsFile, dtype: torch.dtype) -> AnyModule:
    """Give a module the weights of its file."""
    load_strict(module, file.read(dtype=dtype), file.name)
    return module


def random_networks(seed: int, device: torch.device | str = "cpu") -> Networks:
    """Tiny networks with seeded random weights: they show that everything runs, and nothing else.

    Args:
        seed: Seed of the weights; the global generator is left as it was.
        device: Where all but wav2vec2 run.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(
            WanModel(RANDOM_WAN),
            AudioAdapter(RANDOM_ADAPTER),
            WanVAE(RANDOM_VAE),
            Wav2VecEncoder(RANDOM_WAV2VEC),
        )
    for field in fields(networks):
        network = getattr(networks, field.name).eval().requires_grad_(False)
        network.to("cpu" if field.name == "wav2vec" else device)
    return networks
