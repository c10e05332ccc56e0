"""wav2vec2 under the host's memory management, as the encoder that feature tracks ask.

Knows devices and the host's patcher. The network is the pack's own, because the host's resamples
features after the transformer and not before it, which is not what the adapter was trained with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher

from ..models.configs import Wav2VecConfig
from ..models.detect import Kind, require
from ..models.recipes import set_of
from ..models.wav2vec import Wav2VecEncoder, load_wav2vec
from ..models.wav2vec_keys import detect_wav2vec, wav2vec_metadata_beside
from ..models.weights import WeightsFile, open_weights
from .folders import find_file


class HostWav2Vec:
    """A `FrameEncoder` whose weights the host moves to its device at use and away when it must.

    Always in float32, as published. Nothing is kept on the device between calls but the weights.

    Args:
        encoder: The network, on the CPU.
        name: How messages call it, usually the file's name.
        set_name: The set it belongs to, empty for published ones.
    """

    def __init__(self, encoder: Wav2VecEncoder, name: str, set_name: str = ""):
        self.name, self.set_name = name, set_name
        self.hidden = encoder.config.hidden
        self.layers = encoder.config.states
        self.hop_samples = encoder.hop_samples
        self.field_samples = encoder.field_samples
        self._encoder = encoder
        # The plain patcher: weights that are not of the host's layer classes load as a whole.
        self.patcher = ModelPatcher(
            encoder,
            load_device=comfy.model_management.text_encoder_device(),
            offload_device=comfy.model_management.text_encoder_offload_device(),
        )

    def prepare(self, waveform: torch.Tensor) -> torch.Tensor:
        """The whole track as the checkpoint wants it, ``[B, n]``; needs no weights."""
        return self._encoder.prepare(waveform)

    def measure(self, waveform: torch.Tensor) -> Any:
        """Statistics of the whole track for `convolve`, in main memory."""
        return self._loaded().measure(waveform)

    def convolve(self, waveform: torch.Tensor, statistics: Any) -> torch.Tensor:
        """Convolution features of a stretch, ``[B, t, C]``, on the encoder's device."""
        return self._loaded().convolve(waveform.to(self.patcher.load_device), statistics)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """Transformer at 25 fps, ``[B, F, C]`` to ``[B, F, layers, hidden]``, on its device."""
        return self._loaded().encode(features.to(self.patcher.load_device))

    def _loaded(self) -> Wav2VecEncoder:
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        return self._encoder


def find_wav2vec(name: str) -> Path:
    """The file behind a list entry, checked by its header.

    Raises:
        InputError: Not wav2vec2, or of the large kind.
        FileNotFoundError: The file is gone.
    """
    path = find_file("wav2vec", name)
    _config(open_weights(path))
    return path


def load_host_wav2vec(path: Path, *, with_input: bool = False) -> HostWav2Vec:
    """Read an encoder that `find_wav2vec` has checked.

    Args:
        path: Its file.
        with_input: Whether it hands out the input of its first layer, too.
    """
    file = open_weights(path)
    config = replace(_config(file), with_input=with_input)
    encoder = load_wav2vec(config, file.read(), file.name)
    return HostWav2Vec(encoder, file.name, set_of(file))


def _config(file: WeightsFile) -> Wav2VecConfig:
    file = require(file, Kind.WAV2VEC)
    return detect_wav2vec(file.shapes, {**wav2vec_metadata_beside(file.path), **file.metadata})
