"""Loaders: base model with adapter, adapter alone, VAE and audio encoder.

Every file is looked at by its header when the graph is queued, and again when it is opened, so that
a wrong one is refused in a sentence before anything big loads.
"""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io

from ..errors import InputError
from ..model_loaders.adapter import attach_adapter, load_adapter
from ..model_loaders.base import (
    WEIGHT_DTYPES,
    check_model,
    entry_recipe,
    find_adapter,
    find_pair,
    load_base,
)
from ..model_loaders.choice import AUTO
from ..model_loaders.folders import (
    default_base,
    describe,
    file_list,
    file_stamp,
    path_stamp,
)
from ..model_loaders.vae import find_vae, load_vae
from ..model_loaders.wav2vec import find_wav2vec, load_host_wav2vec
from ..models.recipes import BUILT_IN, BUILT_IN_BASES
from .sockets import Wav2Vec, show_under_node

CATEGORY = "EndlessTalk/load"
OUTPUTS, INPUT_TOO = "outputs", "input and outputs"
"""Which states of the audio encoder's layers the adapter reads."""

ADAPTER_TOOLTIP = (
    "Adapter file, from models/model_patches or models/diffusion_models. auto takes InfiniteTalk's "
    "single-speaker file when it is there, else the multi-speaker one, and MagicInfinite's for "
    "HunyuanVideo; choose the Multi file yourself for two people."
)


def refusal(check: Callable[..., object], *names: str | None) -> bool | str:
    """What to tell a user at queue time about files chosen in lists; True if nothing is wrong."""
    if None in names:
        return True  # a linked value, known only when the graph runs
    try:
        check(*names)
    except (InputError, FileNotFoundError) as error:
        return str(error)
    return True


class LoadModel(io.ComfyNode):
    """A base model from a file with the audio adapter attached."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkLoadModel",
            display_name="Load Talking Model",
            category=CATEGORY,
            description="Load a Wan 2.1 image-to-video model with the InfiniteTalk audio adapter, "
            "or HunyuanVideo with a MagicInfinite one. The built-in demo needs no files: a tiny "
            "model that comes with the pack, for first steps. For GGUF bases or other loaders use "
            "Apply Audio Adapter.",
            search_aliases=[
                "InfiniteTalk",
                "MultiTalk",
                "MagicInfinite",
                "HunyuanVideo",
                "talking head",
                "lip sync",
                "avatar",
            ],
            inputs=[
                io.Combo.Input(
                    "base_model",
                    options=[*BUILT_IN_BASES, *file_list("base")],
                    default=default_base(),
                    tooltip="Wan 2.1 I2V 14B, 480p or 720p, from models/diffusion_models; its T2V "
                    "model is refused. Or HunyuanVideo I2V. built-in demo: tiny models of drawn "
                    "faces, with adapters of their own; choose it in all three loaders. The one of "
                    "MagicInfinite is for Talk Sampler (Sliding Window).",
                ),
                io.Combo.Input(
                    "adapter",
                    options=[AUTO, *file_list("adapter")],
                    default=AUTO,
                    optional=True,
                    tooltip=ADAPTER_TOOLTIP,
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    optional=True,
                    advanced=True,
                    tooltip="How the base's weights are kept in memory. default is as in the file; "
                    "fp8 halves the memory of an fp16 file and costs some quality.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "model",
                    tooltip="The base with the adapter attached. LoRAs and other model nodes go "
                    "behind it.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, base_model: str | None = None, adapter: str | None = AUTO
    ) -> bool | str:
        return refusal(find_pair, base_model, adapter)

    @classmethod
    def fingerprint_inputs(
        cls, base_model: str, adapter: str = AUTO, weight_dtype: str = "default"
    ) -> object:
        return [path_stamp(path) for path in find_pair(base_model, adapter)]

    @classmethod
    def execute(
        cls, base_model: str, adapter: str = AUTO, weight_dtype: str = "default"
    ) -> io.NodeOutput:
        base_path, adapter_path = find_pair(base_model, adapter)
        recipe = entry_recipe(base_model)
        told = recipe.summary if recipe else describe("adapter", adapter_path)
        show_under_node(cls.hidden.unique_id, told)
        model = load_base(base_path, weight_dtype)
        check_model(model, adapter_path)
        return io.NodeOutput(attach_adapter(model, load_adapter(str(adapter_path))))


class ApplyAdapter(io.ComfyNode):
    """The audio adapter on a MODEL from any loader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkApplyAdapter",
            display_name="Apply Audio Adapter",
            category=CATEGORY,
            description="Attach an audio adapter to a model from any loader - GGUF, checkpoints, "
            "quantised files: InfiniteTalk's to Wan 2.1 image-to-video, MagicInfinite's to "
            "HunyuanVideo. Applied twice, the last one counts.",
            search_aliases=[
                "InfiniteTalk",
                "MultiTalk",
                "MagicInfinite",
                "HunyuanVideo",
                "GGUF",
                "model patch",
                "lip sync",
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan 2.1 I2V, 480p or 720p, or HunyuanVideo I2V, from any loader, with "
                    "or without LoRAs.",
                ),
                io.Combo.Input(
                    "adapter",
                    options=[AUTO, *file_list("adapter")],
                    default=AUTO,
                    optional=True,
                    tooltip=ADAPTER_TOOLTIP,
                ),
            ],
            outputs=[
                io.Model.Output(
                    "model",
                    tooltip="A clone with the adapter attached; the connected model stays as it "
                    "was.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, adapter: str | None = AUTO) -> bool | str:
        return refusal(find_adapter, adapter)

    @classmethod
    def fingerprint_inputs(cls, adapter: str = AUTO, **_linked: object) -> object:
        return path_stamp(find_adapter(adapter))

    @classmethod
    def execute(cls, model: io.Model.Type, adapter: str = AUTO) -> io.NodeOutput:
        path = find_adapter(adapter, model)
        check_model(model, path)
        show_under_node(cls.hidden.unique_id, describe("adapter", path))
        return io.NodeOutput(attach_adapter(model, load_adapter(str(path))))


class LoadVAE(io.ComfyNode):
    """The Wan 2.1 VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkLoadVAE",
            display_name="Load Talking VAE",
            category=CATEGORY,
            description="Load the Wan 2.1 VAE. The host's Load VAE does as well; this one finds "
            "the file and refuses another VAE before anything is sampled. HunyuanVideo's comes "
            "from the host's.",
            search_aliases=["Wan VAE", "InfiniteTalk VAE", "load VAE"],
            inputs=[
                io.Combo.Input(
                    "vae",
                    options=[BUILT_IN, AUTO, *file_list("vae")],
                    default=AUTO,
                    optional=True,
                    tooltip="Wan 2.1 VAE from models/vae. auto takes the published file; the VAE "
                    "of Wan 2.2 5B does not fit. built-in demo belongs to the base of that name.",
                )
            ],
            outputs=[io.Vae.Output("vae", tooltip="Turns frames into latents and back.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, vae: str | None = AUTO) -> bool | str:
        return refusal(find_vae, vae)

    @classmethod
    def fingerprint_inputs(cls, vae: str = AUTO) -> object:
        return file_stamp("vae", vae)

    @classmethod
    def execute(cls, vae: str = AUTO) -> io.NodeOutput:
        path = find_vae(vae)
        show_under_node(cls.hidden.unique_id, describe("vae", path))
        return io.NodeOutput(load_vae(path))


class LoadWav2Vec(io.ComfyNode):
    """The audio encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkLoadWav2Vec",
            display_name="Load Wav2Vec2",
            category=CATEGORY,
            description="Load the wav2vec2 audio encoder that turns a voice into features for the "
            "adapter.",
            search_aliases=["wav2vec2", "audio encoder", "chinese-wav2vec2-base", "InfiniteTalk"],
            inputs=[
                io.Combo.Input(
                    "wav2vec",
                    options=[BUILT_IN, AUTO, *file_list("wav2vec")],
                    default=AUTO,
                    optional=True,
                    tooltip="wav2vec2 file from models/audio_encoders, models/wav2vec2 or "
                    "models/transformers. InfiniteTalk was trained with chinese-wav2vec2-base, for "
                    "all languages; the large kind is refused. built-in demo belongs to the base "
                    "of that name.",
                ),
                io.Combo.Input(
                    "layers",
                    options=[OUTPUTS, INPUT_TOO],
                    default=OUTPUTS,
                    optional=True,
                    advanced=True,
                    tooltip="What the adapter reads of the encoder's layers. outputs: one state "
                    "per layer, 12 x 768 features, as InfiniteTalk. input and outputs: the input "
                    "of the first as well, for adapters of 13 x 768; the sampler says when an "
                    "adapter wants the other.",
                ),
            ],
            outputs=[
                Wav2Vec.Output(
                    "wav2vec",
                    tooltip="For every Encode Speaker. Runs in fp32 and is offloaded by ComfyUI.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, wav2vec: str | None = AUTO) -> bool | str:
        return refusal(find_wav2vec, wav2vec)

    @classmethod
    def fingerprint_inputs(cls, wav2vec: str = AUTO, **_chosen: object) -> object:
        return file_stamp("wav2vec", wav2vec)

    @classmethod
    def execute(cls, wav2vec: str = AUTO, layers: str = OUTPUTS) -> io.NodeOutput:
        path = find_wav2vec(wav2vec)
        encoder = load_host_wav2vec(path, with_input=layers == INPUT_TOO)
        size = f"{encoder.layers} x {encoder.hidden} features per frame"
        show_under_node(cls.hidden.unique_id, f"{describe('wav2vec', path)}, {size}")
        return io.NodeOutput(encoder)
