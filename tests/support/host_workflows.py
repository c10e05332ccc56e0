"""The shipped prompts, made small enough to run: what is overridden, and nothing else.

The text encoder is the test pack's stand-in (ComfyUI has no small one), the size is 64x64 or 64x96,
and there are 2 steps and chunks or windows of 17 frames, so that 1.24 s of voice are three of them.
HunyuanVideo's VAE is Wan's under its name, as ``host_files`` says.
"""

import copy

from host_files import PAIR_SIZE, SIZE
from host_graphs import node as one_node

from endless_talk.models.recipes import BUILT_IN
from workflows import SAMPLERS, graphs

FIRST = "00 Try it now (no downloads)"
"""The one workflow that runs as it is, with the model that comes with the pack."""

SIZES = {path.stem: PAIR_SIZE if path.stem == "02 Two people" else SIZE for path in graphs()}
REFERENCES = ("EndlessTalkReferenceImage", "EndlessTalkReferenceVideo")
SMALL = {
    "EndlessTalkStreamingSampler": {"steps": 2, "chunk_frames": 17},
    "EndlessTalkSlidingSampler": {"steps": 2, "window_frames": 17, "overlap": 8},
}
ENCODERS = ("CLIPLoader", "DualCLIPLoader", "CLIPVisionLoader")
"""What loads a file that is empty here."""

HUNYUAN_TEXT = {"width": 24, "pooled": 768}
"""What the tiny HunyuanVideo reads."""


def sampler_of(prompt):
    """Class and inputs of what renders the clip."""
    (found,) = (node for node in prompt.values() if node["class_type"] in SAMPLERS)
    return found["class_type"], found["inputs"]


def tiny(prompt, size, **sampler):
    """The prompt with the overrides above."""
    small = copy.deepcopy(prompt)
    for name, node in list(small.items()):
        if node["class_type"] in (*ENCODERS, "CLIPVisionEncode"):
            del small[name]
        elif node["class_type"] == "CLIPTextEncode":
            small[name] = one_node("TestText", text=node["inputs"]["text"])
        elif node["class_type"] == "TextEncodeHunyuanVideo_ImageToVideo":
            small[name] = one_node("TestText", text=node["inputs"]["prompt"], **HUNYUAN_TEXT)
    height, width = size
    picked = {"size": "custom", "width": width, "height": height}
    for node in small.values():
        if node["class_type"] in REFERENCES:
            node["inputs"].update(picked)
        elif node["class_type"] == "EndlessTalkTimeline":
            del node["inputs"]["clip"]  # its lines are all notes
    kind, inputs = sampler_of(small)
    inputs.update({**SMALL[kind], **sampler})
    return small


def with_demo(prompt, demo, whole, **sampler):
    """The prompt with the model that comes with the pack, which has no LoRA and reads no text.

    Args:
        prompt: Of a workflow for published files.
        demo: The demo's name in the list of models.
        whole: Widgets of the sampler by its class, at the size that the demo was trained at.
        **sampler: More of them.
    """
    spoken = tiny(prompt, SIZE)
    for name, node in list(spoken.items()):
        if node["class_type"] in ("LoraLoaderModelOnly", "TestText"):
            del spoken[name]
        elif node["class_type"] == "EndlessTalkLoadModel":
            node["inputs"].update(base_model=demo, adapter="auto")
            model = name
        elif node["class_type"] in ("EndlessTalkLoadVAE", "EndlessTalkLoadWav2Vec"):
            node["inputs"][node["class_type"].removeprefix("EndlessTalkLoad").lower()] = BUILT_IN
    kind, inputs = sampler_of(spoken)
    for prompted in ("positive", "negative"):
        inputs.pop(prompted, None)
    inputs.update({"model": [model, 0], **whole[kind], **sampler})
    return spoken


def clip_of(server, outcome):
    """The finished clip of a workflow's one sampler."""
    files = (file for name in outcome.outputs for file in outcome.files(name))
    (clip,) = (file for file in files if file["type"] == "output")
    assert clip["filename"].endswith(".mp4")
    return server.path(clip)
