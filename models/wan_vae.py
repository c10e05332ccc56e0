"""The reference Wan 2.1 causal video VAE, in the published key layout.

Time runs one way: frame 0 is encoded alone, then groups of four; every causal layer carries the
last frames of its input to the next group in a ``State``, so that clips of any length are encoded
and decoded piece by piece with the result of the whole. Modules themselves hold no state.

Letters: B batch, C channels, F pixel frames, T latent frames, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..frames import TEMPORAL_STRIDE, latent_frames
from .configs import VAEConfig

LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip
"""Per-channel statistics of Wan 2.1 latents; networks work on (latent - mean) / std."""

State = dict[nn.Module, Tensor]
"""What each causal layer remembers of the frames before: the end of its input."""

CONTEXT_FRAMES = 2
"""Frames a causal 3-tap convolution looks back."""

NARROW_CHANNELS = 64
"""On a CPU, up to this width, three 2-D convolutions are faster than one 3-D one (up to 7 times at
8 channels, even at 96; ``benchmarks/vae_convolutions.py``)."""


class CausalConv3d(nn.Conv3d):
    """A convolution that sees the present and the two frames before, never the future.

    Narrow ones run as sums of 2-D convolutions on a CPU, the same within rounding.

    Attributes:
        looks_back: False computes with the newest tap alone; see ``WanVAE.skip_zero_taps``.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int | tuple[int, int, int]):
        super().__init__(channels_in, channels_out, kernel)
        self.looks_back = self.kernel_size[0] > 1
        self.spatial_padding = (self.kernel_size[1] // 2, self.kernel_size[2] // 2)

    def forward(self, x: Tensor, state: State) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolve a group of frames ``[B, C, F, H, W]``, continuing from ``state``."""
        narrow = self.in_channels <= NARROW_CHANNELS and x.device.type == "cpu"
        taps = self.kernel_size[0]
        if taps > 1 and not self.looks_back:
            return self.as_stills(x)
        if self.looks_back:
            if narrow and x.shape[2] == 1 and self not in state:
                taps = 1  # before the first frame there are zeros, which add nothing
            x = remember(self, x, state, CONTEXT_FRAMES)
        if self.looks_back and narrow:
            return self.as_2d(x, taps)
        return F.conv3d(x, self.weight, self.bias, padding=(0, *self.spatial_padding))

    def as_stills(self, x: Tensor) -> Tensor:
        """The newest tap on every frame of ``[B, C, F, H, W]`` by itself."""
        frames = x.transpose(1, 2).flatten(0, 1)
        y = F.conv2d(frames, self.weight[:, :, -1], self.bias, padding=self.spatial_padding)
        return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)

    def as_2d(self, x: Tensor, taps: int = CONTEXT_FRAMES + 1) -> Tensor:
        """The convolution of ``[B, C, F + 2, H, W]`` as a sum of 2-D ones over the last taps."""
        batch, frames = x.shape[0], x.shape[2] - CONTEXT_FRAMES
        flat, first = x.transpose(1, 2), self.kernel_size[0] - taps
        out: Tensor | None = None
        for tap, weight in enumerate(self.weight[:, :, first:].unbind(2), first):
            y = flat[:, tap : tap + frames].flatten(0, 1)
            bias = self.bias if tap == first else None
            y = F.conv2d(y, weight, bias, padding=self.spatial_padding)
            out = y if out is None else out.add_(y)
        assert out is not None
        return out.unflatten(0, (batch, frames)).transpose(1, 2)


def remember(layer: nn.Module, x: Tensor, state: State, frames: int) -> Tensor:
    """Put the layer's last input frames (zeros at first) before ``x``, and keep the new ones."""
    past = state.get(layer)
    if past is None:
        past = x.new_zeros(*x.shape[:2], frames, *x.shape[3:])
    x = torch.cat([past, x], dim=2)
    state[layer] = x[:, :, -frames:].clone()  # a view would keep the whole group alive
    return x


class ChannelNorm(nn.Module):
    """L2 norm over channels times the root of their number times gamma."""

    def __init__(self, channels: int, dims: int):
        super().__init__()
        self.scale = channels**0.5
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * dims))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[B, C, ...]``.

        Written out: torch's ``normalize`` takes twenty times as long over this axis on a CPU.
        """
        length = x.square().sum(dim=1, keepdim=True).clamp_min(1e-24).sqrt()
        return x * (self.scale / length) * self.gamma


class ResidualBlock(nn.Module):
    """Norm, SiLU, causal convolution, twice."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        # Positions 1, 4 and 5 are SiLU, SiLU and the dropout of training.
        self.residual = nn.ModuleDict(
            {
                "0": ChannelNorm(channels_in, 3),
                "2": CausalConv3d(channels_in, channels_out, 3),
                "3": ChannelNorm(channels_out, 3),
                "6": CausalConv3d(channels_out, channels_out, 3),
            }
        )
        if channels_in != channels_out:
            self.shortcut = CausalConv3d(channels_in, channels_out, 1)
        else:
            self.shortcut = None

    def forward(self, x: Tensor, state: State) -> Tensor:
        """Transform ``[B, C, F, H, W]``."""
        y = self.residual["2"](F.silu(self.residual["0"](x)), state)
        y = self.residual["6"](F.silu(self.residual["3"](y)), state)
        return y + (x if self.shortcut is None else self.shortcut(x, state))


class FrameAttention(nn.Module):
    """Single-head attention over the positions of each frame."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, _state: State) -> Tensor:
        """Attend within each frame of ``[B, C, F, H, W]``."""
        batch, height, width = x.shape[0], x.shape[3], x.shape[4]
        frames = x.transpose(1, 2).flatten(0, 1)
        qkv = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2)
        q, k, v = qkv.unsqueeze(1).chunk(3, dim=-1)
        y = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2)
        y = self.proj(y.unflatten(2, (height, width)))
        return x + y.unflatten(0, (batch, -1)).transpose(1, 2)


class Downsample(nn.Module):
    """Halve height and width, and time from the second group on."""

    def __init__(self, channels: int, temporal: bool):
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(channels, channels, 3, stride=2)})
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), (2, 1, 1)) if temporal else None

    def forward(self, x: Tensor, state: State) -> Tensor:
        """Transform ``[B, C, F, H, W]``; the first group, a single frame, keeps its time."""
        batch = x.shape[0]
        frames = F.pad(x.transpose(1, 2).flatten(0, 1), (0, 1, 0, 1))
        x = self.resample["1"](frames).unflatten(0, (batch, -1)).transpose(1, 2)
        if self.time_conv is None:
            return x
        if self not in state:
            state[self] = x[:, :, -1:]
            return x
        return self.time_conv(remember(self, x, state, 1))


class Upsample(nn.Module):
    """Double height and width, and time from the second latent frame on."""

    def __init__(self, channels: int, temporal: bool):
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(channels, channels // 2, 3, padding=1)})
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor, state: State) -> Tensor:
        """Transform ``[B, C, F, H, W]``; the first latent frame stays one frame."""
        batch = x.shape[0]
        if self.time_conv is not None and self in state:
            # Twice the channels are the two frames that take the place of one.
            pairs = self.time_conv(x, state).unflatten(1, (2, -1))
            x = pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        state.setdefault(self, x[:, :, :0])
        frames = x.transpose(1, 2).flatten(0, 1)
        frames = self.resample["1"](F.interpolate(frames, scale_factor=2, mode="nearest-exact"))
        return frames.unflatten(0, (batch, -1)).transpose(1, 2)


def middle(channels: int) -> nn.ModuleList:
    """Residual block, attention, residual block."""
    before, after = ResidualBlock(channels, channels), ResidualBlock(channels, channels)
    return nn.ModuleList([before, FrameAttention(channels), after])


def head(channels_in: int, channels_out: int) -> nn.ModuleDict:
    """Norm and the last convolution; position 1 is SiLU."""
    return nn.ModuleDict(
        {"0": ChannelNorm(channels_in, 3), "2": CausalConv3d(channels_in, channels_out, 3)}
    )


def run_head(layers: nn.ModuleDict, x: Tensor, state: State) -> Tensor:
    """Norm, SiLU, convolution."""
    return layers["2"](F.silu(layers["0"](x)), state)


class Encoder(nn.Module):
    """Frames to the moments of latents."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        widths = [config.width * multiplier for multiplier in (1, *config.multipliers)]
        self.conv1 = CausalConv3d(3, widths[0], 3)
        layers: list[nn.Module] = []
        last = len(config.multipliers) - 1
        for level, (channels_in, channels_out) in enumerate(pairwise(widths)):
            for _ in range(config.residual_blocks):
                layers.append(ResidualBlock(channels_in, channels_out))
                channels_in = channels_out
            if level < last:
                layers.append(Downsample(channels_out, config.temporal_down[level]))
        self.downsamples = nn.ModuleList(layers)
        self.middle = middle(widths[-1])
        self.head = head(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """One group of frames ``[B, 3, 1 or 4, H, W]`` to moments ``[B, 2C, 1, H/8, W/8]``."""
        x = self.conv1(x, state)
        for layer in (*self.downsamples, *self.middle):
            x = layer(x, state)
        return run_head(self.head, x, state)


class Decoder(nn.Module):
    """Latents to frames."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        widths = [config.width * m for m in (config.multipliers[-1], *reversed(config.multipliers))]
        temporal_up = tuple(reversed(config.temporal_down))
        self.conv1 = CausalConv3d(config.latent_channels, widths[0], 3)
        self.middle = middle(widths[0])
        layers: list[nn.Module] = []
        last = len(config.multipliers) - 1
        for level, (channels_in, channels_out) in enumerate(pairwise(widths)):
            if level > 0:
                channels_in //= 2  # the up-sampler before has halved them
            for _ in range(config.residual_blocks + 1):
                layers.append(ResidualBlock(channels_in, channels_out))
                channels_in = channels_out
            if level < last:
                layers.append(Upsample(channels_out, temporal_up[level]))
        self.upsamples = nn.ModuleList(layers)
        self.head = head(widths[-1], 3)

    def forward(self, z: Tensor, state: State) -> Tensor:
        """One latent frame ``[B, C, 1, H/8, W/8]`` to frames ``[B, 3, 1 or 4, H, W]``."""
        x = self.conv1(z, state)
        for layer in (*self.middle, *self.upsamples):
            x = layer(x, state)
        return run_head(self.head, x, state)


class WanVAE(nn.Module):
    """Encode frames to normalised latents and back.

    Source: Wan 2.1 ``WanVAE_``. Encoding is the mean of the posterior; nothing is sampled.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        channels = config.latent_channels
        self.encoder = Encoder(config)
        self.conv1 = CausalConv3d(2 * channels, 2 * channels, 1)
        self.conv2 = CausalConv3d(channels, channels, 1)
        self.decoder = Decoder(config)

    @torch.no_grad()
    def skip_zero_taps(self) -> WanVAE:
        """Leave out taps on earlier frames where all of a layer's are zero; returns itself.

        The result is the same. The encoder of the built-in demo is such a one: it sees groups of
        frames without those before, so that latents do not depend on their place in a chunk.
        """
        for module in self.modules():
            if isinstance(module, CausalConv3d) and module.kernel_size[0] > 1:
                module.looks_back = bool(module.weight[:, :, :-1].any())
        return self

    def encode(self, frames: Tensor) -> Tensor:
        """Encode a clip.

        Args:
            frames: ``[3, F, H, W]`` in [-1, 1]; frames past the last ``4n + 1`` are ignored.

        Returns:
            Normalised latents ``[C, T, H/8, W/8]``.
        """
        state: State = {}
        moments = [self.encoder(group, state) for group in frame_groups(frames[None])]
        mean = self.conv1(torch.cat(moments, dim=2), {}).chunk(2, dim=1)[0]
        shift, scale = latent_statistics(mean)
        return ((mean - shift) / scale)[0]

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode latents ``[C, T, H/8, W/8]``; yields frames ``[3, 1 or 4, H, W]`` in [-1, 1]."""
        shift, scale = latent_statistics(latents[None])
        z = self.conv2(latents[None] * scale + shift, {})
        state: State = {}
        for latent in z.split(1, dim=2):
            yield self.decoder(latent, state)[0].clamp(-1, 1)


def frame_groups(frames: Tensor) -> Iterator[Tensor]:
    """Frame 0 alone, then groups of four of ``[B, 3, F, H, W]``."""
    yield frames[:, :, :1]
    for group in range(1, latent_frames(frames.shape[2])):
        stop = TEMPORAL_STRIDE * group + 1
        yield frames[:, :, stop - TEMPORAL_STRIDE : stop]


def latent_statistics(like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, shaped for ``[B, C, T, H, W]``."""
    shape = (1, -1, 1, 1, 1)
    return like.new_tensor(LATENT_MEAN).view(shape), like.new_tensor(LATENT_STD).view(shape)
