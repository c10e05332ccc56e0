"""The wav2vec2 audio encoder, with its features resampled to 25 fps before the transformer.

The layers are transformers' own, run one by one: their encoder resamples nothing and, from version
5 on, hands out no hidden states. Knows waveforms and state dicts; it knows nothing of clips,
speakers or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configs import Wav2VecConfig
from .wav2vec_keys import normalize_wav2vec_keys
from .weights import empty_weights, load_strict

_BLOCK_OUTPUTS = 12_800  # of the first convolution, measured at once: 4 s
_VARIANCE_EPS = 1e-7


class ChannelStatistics(NamedTuple):
    """Mean and variance of the first convolution's channels over a whole track, ``[B, C]``."""

    mean: Tensor
    variance: Tensor


class Wav2VecEncoder(nn.Module):
    """wav2vec2 of the base kind, with its convolution features resampled to the video's frame rate.

    Letters: B batch, n samples at 16 kHz, t convolution features, C their channels, F frames.
    Weights are random until loaded (`load_wav2vec`).

    Args:
        config: Its sizes.

    Source: InfiniteTalk, ``src/audio_analysis/wav2vec2.py``.
    """

    def __init__(self, config: Wav2VecConfig):
        super().__init__()
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        model = Wav2Vec2Model(Wav2Vec2Config(**_transformers_settings(config)))
        self.config = config
        self.feature_extractor = model.feature_extractor
        self.feature_projection = model.feature_projection
        self.encoder = model.encoder

    @property
    def hop_samples(self) -> int:
        """Samples from one convolution feature to the next (320)."""
        return math.prod(self.config.conv_strides)

    @property
    def field_samples(self) -> int:
        """Samples that one convolution feature sees (400)."""
        field = 1
        for kernel, stride in zip(
            reversed(self.config.conv_kernels), reversed(self.config.conv_strides), strict=True
        ):
            field = (field - 1) * stride + kernel
        return field

    def forward(self, waveform: Tensor, frames: int) -> Tensor:
        """Encode a whole track in one go, the published way.

        Args:
            waveform: ``[B, n]``, at least `field_samples` long.
            frames: Frames to resample to before the transformer.

        Returns:
            The output of every layer of the transformer, on demand its input before them,
            ``[B, F, states, hidden]``.
        """
        waveform = self.prepare(waveform)
        convolved = self.convolve(waveform, self.measure(waveform))
        resampled = F.interpolate(
            convolved.transpose(1, 2), size=frames, mode="linear", align_corners=True
        )
        return self.encode(resampled.transpose(1, 2))

    def prepare(self, waveform: Tensor) -> Tensor:
        """Zero mean and unit variance over the whole track if the checkpoint wants it, ``[B, n]``.

        Source: transformers, ``Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm``.
        """
        if not self.config.normalize_waveform:
            return waveform
        variance, mean = torch.var_mean(waveform, dim=-1, keepdim=True, correction=0)
        return (waveform - mean) / torch.sqrt(variance + _VARIANCE_EPS)

    def measure(self, waveform: Tensor) -> ChannelStatistics:
        """Statistics of the first convolution's group norm, taken block by block.

        Each channel is a group of its own, normalised over the whole track: the one operation of
        the convolutions that is not local. Blocks are put together in float64.

        Args:
            waveform: The whole prepared track, ``[B, n]``.
        """
        first = self._first_layer
        kernel, stride = self.config.conv_kernels[0], self.config.conv_strides[0]
        outputs = (waveform.shape[-1] - kernel) // stride + 1
        lengths, means, variances = [], [], []
        for begin in range(0, outputs, _BLOCK_OUTPUTS):
            end = min(begin + _BLOCK_OUTPUTS, outputs)
            stretch = waveform[:, None, begin * stride : (end - 1) * stride + kernel]
            block = first.conv(stretch.to(first.conv.weight)).float()
            variance, mean = torch.var_mean(block, dim=-1, correction=0)
            lengths.append(end - begin)
            means.append(mean.cpu().double())
            variances.append(variance.cpu().double())
        shares = (torch.tensor(lengths, dtype=torch.float64) / outputs)[:, None, None]
        block_means = torch.stack(means)
        mean = (shares * block_means).sum(0)
        spread = torch.stack(variances) + (block_means - mean).square()
        return ChannelStatistics(mean, (shares * spread).sum(0))

    def convolve(self, waveform: Tensor, statistics: ChannelStatistics) -> Tensor:
        """Convolution features of a stretch of a track, ``[B, n]`` to ``[B, t, C]``.

        Args:
            waveform: The stretch, beginning at a multiple of `hop_samples`.
            statistics: Of the whole track the stretch was cut from, see `measure`.
        """
        first, *later = self._convolution_layers
        convolved = first.conv(waveform[:, None].to(first.conv.weight))
        mean, variance = (value.float().to(convolved.device) for value in statistics)
        scale = first.layer_norm.weight.float() * torch.rsqrt(variance + first.layer_norm.eps)
        shift = first.layer_norm.bias.float() - mean * scale
        normalized = convolved * scale[..., None] + shift[..., None]
        hidden = first.activation(normalized.to(convolved.dtype))
        for layer in later:
            hidden = layer(hidden)
        return hidden.transpose(1, 2)

    def embed(self, features: Tensor) -> Tensor:
        """Input of the transformer, ``[B, F, C]`` to ``[B, F, hidden]``."""
        hidden, _ = self.feature_projection(features.to(self.feature_projection.projection.weight))
        return self.encoder.layer_norm(hidden + self.encoder.pos_conv_embed(hidden))

    def encode(self, features: Tensor) -> Tensor:
        """Transformer over features at 25 fps, ``[B, F, C]`` to ``[B, F, states, hidden]``."""
        hidden = self.embed(features)
        states = [hidden] if self.config.with_input else []
        for layer in self.encoder.layers:
            output = layer(hidden)
            # transformers 4 layers return a tuple.
            hidden = output[0] if isinstance(output, tuple) else output
            states.append(hidden)
        return torch.stack(states, dim=2)

    @property
    def _convolution_layers(self) -> Any:
        return self.feature_extractor.conv_layers

    @property
    def _first_layer(self) -> Any:
        return self._convolution_layers[0]


def load_wav2vec(
    config: Wav2VecConfig,
    state_dict: Mapping[str, Tensor],
    what: str = "wav2vec2",
    *,
    dtype: torch.dtype = torch.float32,
) -> Wav2VecEncoder:
    """Build the encoder without initialising it and give it weights of any float type.

    Args:
        config: Its sizes, see `detect_wav2vec`.
        state_dict: Any of the layouts that `normalize_wav2vec_keys` reads.
        what: How messages call the weights, usually the file's name.
        dtype: What the weights are cast to; the published encoder runs in float32.

    Returns:
        The encoder in eval mode, without gradients.

    Raises:
        InputError: Missing, unexpected or misshapen tensors, in one message.
    """
    with empty_weights():
        encoder = Wav2VecEncoder(config)
    weights = normalize_wav2vec_keys(state_dict)
    load_strict(encoder, {name: tensor.to(dtype) for name, tensor in weights.items()}, what)
    return encoder


def _transformers_settings(config: Wav2VecConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_dim,
        "conv_dim": config.conv_dims,
        "conv_kernel": config.conv_kernels,
        "conv_stride": config.conv_strides,
        "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups,
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
        # Never a mask nor a dropped layer, so that training the embedded encoder sees what runs.
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
        "layerdrop": 0.0,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
    }
