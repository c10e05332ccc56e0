"""Which family of networks a MODEL of the host belongs to, and its sizes.

Asks the network for its settings and never looks at its weights, which may be of any format.
"""

from __future__ import annotations

from comfy.ldm.hunyuan_video.model import HunyuanVideo
from comfy.ldm.wan.model import WanModel
from comfy.model_patcher import ModelPatcher

from ..errors import InputError
from ..models.configs import HUNYUAN_CONCAT, HUNYUAN_REPLACE, WAN, Family, HybridConfig, WanConfig
from ..models.detect import check_image_to_video
from ..models.hybrid_detect import check_hybrid_base

__all__ = ["HUNYUAN_CONCAT", "HUNYUAN_REPLACE", "WAN", "Family", "model_sizes", "talking_family"]

_OTHER_INPUTS = ("vace", "camera", "camera_2.2", "s2v", "humo", "animate", "scail", "scail2")


def talking_family(model: ModelPatcher) -> Family:
    """How a reference picture and audio enter a loaded model.

    Raises:
        InputError: Another architecture, a variant with inputs of its own, or a Wan model that
            takes no picture.
    """
    sizes = model_sizes(model)
    if isinstance(sizes, HybridConfig):
        return sizes.family
    check_image_to_video(sizes, "The connected model")
    return WAN


def model_sizes(model: ModelPatcher) -> WanConfig | HybridConfig:
    """Sizes of a loaded transformer, from its settings and not from its weights.

    Raises:
        InputError: Another architecture, or a variant with inputs of its own.
    """
    network = model.model.diffusion_model
    if isinstance(network, HunyuanVideo):
        return _hybrid_sizes(network)
    if isinstance(network, WanModel):
        return _wan_sizes(network)
    raise InputError(
        f"The connected model is {type(model.model).__name__}, neither Wan nor HunyuanVideo; "
        "connect a Wan 2.1 image-to-video model, such as wan2.1_i2v_480p_14B_fp16.safetensors."
    )


def _wan_sizes(network: WanModel) -> WanConfig:
    if network.model_type in _OTHER_INPUTS:
        raise InputError(
            f"The connected model is the {network.model_type} variant of Wan; InfiniteTalk needs a "
            "plain image-to-video model, such as wan2.1_i2v_480p_14B_fp16.safetensors."
        )
    return WanConfig(
        dim=network.dim,
        ffn_dim=network.ffn_dim,
        heads=network.num_heads,
        layers=len(network.blocks),
        in_channels=network.in_dim,
        out_channels=network.out_dim,
        text_dim=network.text_dim,
        text_tokens=network.text_len,
        freq_dim=network.freq_dim,
    )


def _hybrid_sizes(network: HunyuanVideo) -> HybridConfig:
    params = network.params
    other = params.byt5 or params.meanflow or params.vision_in_dim or len(params.patch_size) != 3
    if other or params.vec_in_dim is None:
        raise InputError(
            "The connected model is a relative of HunyuanVideo with inputs of its own (1.5 or "
            "HunyuanImage); connect HunyuanVideo or HunyuanVideo-I2V, such as "
            "hunyuan_video_image_to_video_720p_bf16.safetensors."
        )
    config = HybridConfig(
        dim=params.hidden_size,
        double_blocks=len(network.double_blocks),
        single_blocks=len(network.single_blocks),
        in_channels=params.in_channels,
        text_dim=params.context_in_dim,
        out_channels=params.out_channels,
        pooled_dim=params.vec_in_dim,
        guidance_embed=params.guidance_embed,
    )
    check_hybrid_base(config, "The connected model")
    return config
