"""What a checkpoint's keys and shapes say about its network, as plain numbers.

Frozen dataclasses, filled by ``detect``; no torch here, so that reading a header costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


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
class Family:
    """What a sampler has to know of the base it runs.

    Attributes:
        what: How messages call its members.
        holds_first_frame: Whether latent frame 0 of every denoising window has to be a clean
            latent, because the network takes it for one.
        window_frames: Pixel frames that the network was trained on at once.
    """

    what: str
    holds_first_frame: bool
    window_frames: int


WAN = Family("Wan 2.1 image-to-video", holds_first_frame=True, window_frames=81)
HUNYUAN_CONCAT = Family(
    "HunyuanVideo image-to-video of 33 channels", holds_first_frame=False, window_frames=129
)
HUNYUAN_REPLACE = Family(
    "HunyuanVideo of 16 channels with its first frame replaced",
    holds_first_frame=True,
    window_frames=129,
)


@dataclass(frozen=True)
class HybridConfig:
    """A HunyuanVideo transformer: double-stream blocks, then single-stream blocks.

    Attributes:
        dim: Width of the token stream, a multiple of 128.
        double_blocks: Blocks with separate weights for video and text.
        single_blocks: Blocks with the same weights for both.
        in_channels: Channels of the patch embedding: 33 (16 noisy latent, 16 reference latent, 1
            mask) or 16, where the first latent frame is replaced by the reference.
        out_channels: Latent channels predicted.
        text_dim: Width of the text encoder's output.
        pooled_dim: Width of the pooled text.
        guidance_embed: Whether the guidance scale is an input of the network.
        refiner_blocks: Blocks of the token refiner.
        head_dim: Width of an attention head.
        freq_dim: Width of the timestep sinusoid.
    """

    dim: int
    double_blocks: int
    single_blocks: int
    in_channels: int
    text_dim: int
    out_channels: int = 16
    pooled_dim: int = 768
    guidance_embed: bool = False
    refiner_blocks: int = 2
    head_dim: int = 128
    freq_dim: int = 256

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.dim // self.head_dim

    @property
    def family(self) -> Family:
        """How the reference picture enters."""
        concat = self.in_channels == 2 * self.out_channels + 1
        return HUNYUAN_CONCAT if concat else HUNYUAN_REPLACE


@dataclass(frozen=True)
class HybridAdapterConfig:
    """The MagicInfinite audio adapter: audio encoder and audio cross-attention after some blocks.

    Attributes:
        dim: Width of the base's token stream.
        heads: Attention heads.
        feature_size: Audio features per frame: stacked wav2vec2 layers times channels (13 x 768).
        double_layers: Double blocks that audio follows (all 20).
        single_layers: Single blocks that audio follows (every second of 40, from 1 on).
        window: Audio frames seen by a pixel frame (5).
        hidden: Inner width of the audio encoder (512).
        frame_tokens: Audio tokens per pixel frame (8), four times as many per latent frame.
        token_dim: Width of an audio token (768).
        null_audio: What silence is: ``zeros``, the tokens of zero features, or ``skip``, no audio
            cross-attention at all.
        trained_latents: Latent frames denoised at once in training; None is as the base's family.
    """

    dim: int
    heads: int
    feature_size: int
    double_layers: tuple[int, ...]
    single_layers: tuple[int, ...]
    window: int = 5
    hidden: int = 512
    frame_tokens: int = 8
    token_dim: int = 768
    null_audio: str = "zeros"
    trained_latents: int | None = None


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
        with_input: Whether the input of the first layer is handed out before the layers' outputs:
            13 states instead of 12, as adapters of 13 x 768 features read them.
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
    with_input: bool = False

    @property
    def states(self) -> int:
        """States that are stacked per frame."""
        return self.layers + self.with_input

    def read_by(self, feature_size: int) -> Wav2VecConfig:
        """The same encoder for an adapter, which tells by its size whether it reads the input."""
        return replace(self, with_input=feature_size == self.hidden * (self.layers + 1))
