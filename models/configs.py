"""What a checkpoint's keys and shapes say about its network, as plain numbers.

Frozen dataclasses, filled by ``detect``; no torch here, so that reading a header costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WanConfig:
    """A Wan 2.1 video transformer.

    Attributes:
        dim: Width of the token stream.
        ffn_dim: Inner width of the feed-forward layers.
        heads: Attention heads; ``dim // 128`` unless the file's metadata says otherwise.
        layers: Transformer blocks.
        in_channels: Channels of the patch embedding: 36 for image-to-video (16 noisy latent,
            4 mask, 16 reference latent), 16 for text-to-video.
        out_channels: Latent channels predicted.
        text_dim: Width of the text encoder's output.
        text_tokens: Text length that shorter prompts are padded to with zeros.
        freq_dim: Width of the timestep sinusoid.
        image_branch: Whether cross-attention has ``k_img``/``v_img`` weights.
        image_dim: Width of CLIP vision tokens, or None when ``img_emb`` is left out.
        eps: Epsilon of every norm except those of ``img_emb``.
    """

    dim: int
    ffn_dim: int
    heads: int
    layers: int
    in_channels: int
    out_channels: int
    text_dim: int
    text_tokens: int = 512
    freq_dim: int = 256
    image_branch: bool = True
    image_dim: int | None = 1280
    eps: float = 1e-6

    @property
    def is_image_to_video(self) -> bool:
        """Whether the network takes a mask and a reference latent beside the noisy latent."""
        return self.in_channels > self.out_channels


@dataclass(frozen=True)
class AdapterConfig:
    """The InfiniteTalk audio adapter: audio projection and one audio cross-attention per block.

    Attributes:
        dim: Width of the base's token stream.
        layers: Blocks of the base that get an audio cross-attention.
        feature_size: Audio features per frame: stacked wav2vec2 layers times channels (12 x 768).
        first_window: Audio frames seen by the first latent frame (5).
        group_window: Audio frames seen by each later latent frame (8).
        hidden: Inner width of the projection (512).
        tokens: Audio tokens per latent frame and speaker (32).
        token_dim: Width of an audio token (768).
    """

    dim: int
    layers: int
    feature_size: int
    first_window: int = 5
    group_window: int = 8
    hidden: int = 512
    tokens: int = 32
    token_dim: int = 768


@dataclass(frozen=True)
class VAEConfig:
    """A Wan 2.1 causal video VAE.

    Attributes:
        width: Channels at full resolution (96 as published).
        multipliers: Width of each level relative to ``width``.
        residual_blocks: Residual blocks per encoder level; a decoder level has one more.
        latent_channels: Channels of a latent (16).
        temporal_down: Which of the down levels also halve time.
    """

    width: int
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    residual_blocks: int = 2
    latent_channels: int = 16
    temporal_down: tuple[bool, ...] = (False, True, True)


@dataclass(frozen=True)
class Wav2VecConfig:
    """A wav2vec2 audio encoder of the base kind (group norm after convolution 0, post-norm).

    Attributes:
        hidden: Width of the transformer (768).
        layers: Transformer layers (12).
        heads: Attention heads (12).
        ffn_dim: Inner width of the feed-forward layers (3072).
        conv_dims: Channels of each convolution of the feature extractor.
        conv_kernels: Their kernels in samples of their input.
        conv_strides: Their strides.
        position_kernel: Kernel of the grouped positional convolution, in frames (128).
        position_groups: Its groups (16).
        normalize_waveform: Whether the waveform is brought to zero mean and unit variance first;
            the published preprocessor says no.
    """

    hidden: int
    layers: int
    heads: int
    ffn_dim: int
    conv_dims: tuple[int, ...]
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    position_kernel: int = 128
    position_groups: int = 16
    normalize_waveform: bool = False
