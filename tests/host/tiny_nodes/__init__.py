"""Nodes for tests only: what has no small checkpoint, sounds no file can carry, tensors to disk."""

import hashlib
import sys
from pathlib import Path
from typing import ClassVar

import comfy.clip_vision
import comfy.sd
import comfy.sd1_clip
import folder_paths
import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io
from safetensors.torch import save_file

IMAGE_TOKENS = {
    "model_type": "clip_vision_model",
    "hidden_size": 1280,
    "num_hidden_layers": 2,
    "num_attention_heads": 16,
    "intermediate_size": 32,
    "hidden_act": "gelu",
    "image_size": 224,
    "patch_size": 14,
    "num_channels": 3,
    "layer_norm_eps": 1e-5,
    "projection_dim": 16,
}
"""A ViT-H in width and number of tokens, and in nothing else."""

TEXT_ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}
"""As wide as the tiny base reads prompts."""


def generator(text: str) -> torch.Generator:
    """Random numbers that a string decides."""
    return torch.Generator().manual_seed(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16))


class TestText(io.ComfyNode):
    """Random text features that a string decides."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestText",
            category="testing",
            inputs=[
                io.String.Input("text", default="", optional=True),
                io.Int.Input("width", default=32, min=1, optional=True),
                io.Int.Input("tokens", default=4, min=1, optional=True),
                io.Int.Input("pooled", default=0, min=0, optional=True),
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, text="", width=32, tokens=4, pooled=0):
        random = generator(text)
        features = torch.randn(1, tokens, width, generator=random)
        whole = {"pooled_output": torch.randn(1, pooled, generator=random)} if pooled else {}
        return io.NodeOutput([[features, whole]])


class TinyTextEncoder:
    """What the host builds a CLIP from."""

    def __init__(self):
        self.params = {}
        self.clip, self.tokenizer = comfy.sd1_clip.SD1ClipModel, comfy.sd1_clip.SD1Tokenizer


class TestClip(io.ComfyNode):
    """The host's own text encoder with two random layers."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="TestClip", category="testing", outputs=[io.Clip.Output()])

    @classmethod
    def execute(cls):
        options = {"clip_l_model_config": TEXT_ENCODER, "dtype": torch.float32}
        clip = comfy.sd.CLIP(TinyTextEncoder(), model_options=options)
        random = generator("text")
        for name, weight in clip.cond_stage_model.named_parameters():
            noise = 0.1 * torch.randn(weight.shape, generator=random)
            weight.data = noise + 1 if "norm" in name and name.endswith("weight") else noise
        return io.NodeOutput(clip)


class TestClipVision(io.ComfyNode):
    """The host's own CLIP vision class with two random layers."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestClipVision",
            category="testing",
            inputs=[io.Int.Input("hidden_size", default=1280, min=16, step=16, optional=True)],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, hidden_size=1280):
        model = comfy.clip_vision.ClipVisionModel({**IMAGE_TOKENS, "hidden_size": hidden_size})
        random = generator("clip vision")
        state = model.get_sd()
        for name, value in state.items():
            one = "norm" in name and name.endswith("weight")
            noise = 0.05 * torch.randn(value.shape, generator=random)
            state[name] = (noise + 1.0 if one else noise).to(value.dtype)
        model.load_sd(state)
        return io.NodeOutput(model)


class TestSound(io.ComfyNode):
    """A tone with any shape and content, possible in a file or not."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestSound",
            category="testing",
            inputs=[
                io.Combo.Input("content", options=["tone", "silence", "nan", "inf"], optional=True),
                io.Float.Input("seconds", default=1.0, min=0.0, max=1e6, optional=True),
                io.Int.Input("rate", default=16000, min=0, optional=True),
                io.Int.Input("channels", default=1, min=0, optional=True),
                io.Int.Input("batch", default=1, min=0, optional=True),
                io.Float.Input("hertz", default=220.0, optional=True),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(cls, content="tone", seconds=1.0, rate=16000, channels=1, batch=1, hertz=220.0):
        time = torch.arange(round(seconds * (rate or 16000))) / (rate or 16000)
        sound = 0.2 * torch.sin(2 * torch.pi * hertz * time) * torch.sin(20 * time)
        if content != "tone":
            sound = sound * 0 if content == "silence" else torch.full_like(sound, float(content))
        return io.NodeOutput(
            {"waveform": sound.expand(batch, channels, -1).clone(), "sample_rate": rate}
        )


class TestMask(io.ComfyNode):
    """A mask that is one inside a box given in fractions of its size."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestMask",
            category="testing",
            inputs=[
                io.Int.Input("height", default=96, min=1, optional=True),
                io.Int.Input("width", default=96, min=1, optional=True),
                io.String.Input(
                    "box", default="0 0 1 1", tooltip="left top right bottom", optional=True
                ),
                io.Int.Input("batch", default=1, min=1, optional=True),
            ],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, height=96, width=96, box="0 0 1 1", batch=1):
        left, top, right, bottom = (float(part) for part in box.split())
        mask = torch.zeros(batch, height, width)
        rows = slice(round(top * height), round(bottom * height))
        mask[:, rows, round(left * width) : round(right * width)] = 1.0
        return io.NodeOutput(mask)


class TestSave(io.ComfyNode):
    """Every tensor of a value to a safetensors file in the output folder."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestSave",
            category="testing",
            is_output_node=True,
            inputs=[
                io.AnyType.Input("value"),
                io.String.Input("name", default="value", optional=True),
            ],
        )

    @classmethod
    def execute(cls, value, name="value"):
        found = dict(tensors(value, "value"))
        path = Path(folder_paths.get_output_directory()) / f"{name}.safetensors"
        save_file(found, path)
        saved = {"filename": path.name, "subfolder": "", "type": "output"}
        return io.NodeOutput(ui={"tensors": [saved]})


class TestHoard(io.ComfyNode):
    """From now on every frame that a job is given stays in memory, as a leak would keep it."""

    KEPT: ClassVar = []

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="TestHoard", category="testing", is_output_node=True)

    @classmethod
    def execute(cls):
        (journal,) = (
            module for name, module in [*sys.modules.items()] if name.endswith(".video.journal")
        )
        append = journal.JobSink.append

        def hoarding(sink, frames):
            cls.KEPT.append(frames.mul(127.5).add(127.5).byte())
            append(sink, frames)

        journal.JobSink.append = hoarding
        return io.NodeOutput()


def tensors(value, name):
    """Tensors inside lists, dicts and dataclasses, by dotted name."""
    if isinstance(value, torch.Tensor):
        yield name, value.detach().cpu().clone().contiguous()
    elif isinstance(value, np.ndarray):
        yield name, torch.from_numpy(value.copy())
    elif isinstance(value, str | bytes | Path):
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors(item, f"{name}.{index}")
    elif hasattr(value, "__dataclass_fields__"):
        for key in value.__dataclass_fields__:
            yield from tensors(getattr(value, key), f"{name}.{key}")


class TestNodes(ComfyExtension):
    """The nodes above."""

    async def get_node_list(self):
        return [TestText, TestClip, TestClipVision, TestSound, TestMask, TestSave, TestHoard]


async def comfy_entrypoint():
    return TestNodes()
