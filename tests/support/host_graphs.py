"""Graphs in API format as plain dicts of nodes by id; a variant is one argument away.

``one_speaker(steps=3)`` changes an input of the sampler; ``with_inputs`` changes any other node;
``["speaker", 0]`` is a link.
"""

import copy

import host_files

from endless_talk.models.recipes import BUILT_IN

SAMPLER = {
    "seed": 42,
    "steps": 2,
    "shift": 0.0,
    "stop_at": 0.0,
    "job_name": "test",
    "action": "render",
    "chunk_frames": 17,
    "context_frames": 9,
}
CLIP_FRAMES = round(host_files.VOICE_SECONDS * 25)
CHUNKS = 3
"""Of 17 frames, 9 of them context, for the 31 frames of ``voice.wav``."""


def node(class_type: str, /, **inputs) -> dict:
    """One node."""
    return {"class_type": class_type, "inputs": inputs}


def one_speaker(**sampler) -> dict:
    """A portrait, a voice, three chunks of 17 frames in two steps."""
    height, width = host_files.SIZE
    inputs = {
        "model": ["model", 0],
        "vae": ["vae", 0],
        "speech": ["speaker", 0],
        "reference": ["reference", 0],
        "positive": ["positive", 0],
        **SAMPLER,
        **sampler,
    }
    return {
        "picture": node("LoadImage", image="portrait.png"),
        "voice": node("LoadAudio", audio="voice.wav"),
        "model": node(
            "EndlessTalkLoadModel", base_model=host_files.BASE, adapter=host_files.SINGLE
        ),
        "vae": node("EndlessTalkLoadVAE", vae=host_files.VAE),
        "wav2vec": node("EndlessTalkLoadWav2Vec", wav2vec=host_files.WAV2VEC),
        "clip_vision": node("TestClipVision"),
        "positive": node("TestText", text="a person speaks to the camera"),
        "speaker": node("EndlessTalkSpeaker", audio=["voice", 0], wav2vec=["wav2vec", 0]),
        "reference": node(
            "EndlessTalkReferenceImage",
            image=["picture", 0],
            clip_vision=["clip_vision", 0],
            size="custom",
            width=width,
            height=height,
        ),
        "sampler": node("EndlessTalkStreamingSampler", **inputs),
    }


def built_in(**sampler) -> dict:
    """The same with the built-in demo in all loaders; it takes neither text nor CLIP vision."""
    graph = one_speaker(**{"job_name": "built_in", "steps": 4, **sampler})
    graph["model"] = node("EndlessTalkLoadModel", base_model=BUILT_IN)
    graph = with_inputs(graph, "vae", vae=BUILT_IN)
    graph = with_inputs(graph, "wav2vec", wav2vec=BUILT_IN)
    graph = with_inputs(graph, "reference", clip_vision=None)
    graph = with_inputs(graph, "sampler", positive=None)
    return {name: one for name, one in graph.items() if name not in ("clip_vision", "positive")}


def two_speakers(**sampler) -> dict:
    """Two people side by side, the second starting later."""
    graph = one_speaker(**{"job_name": "two", **sampler})
    graph["picture"] = node("LoadImage", image="two_people.png")
    graph["model"]["inputs"]["adapter"] = host_files.MULTI
    height, width = host_files.PAIR_SIZE
    graph["reference"]["inputs"] |= {"width": width, "height": height}
    graph["faces"] = node("EndlessTalkFaceMasks", picture=["picture", 0], find="split evenly")
    graph["speaker"]["inputs"] |= {"faces": ["faces", 0], "face": 1}
    graph["second_voice"] = node("LoadAudio", audio="voice2.flac")
    graph["second"] = node(
        "EndlessTalkSpeaker",
        audio=["second_voice", 0],
        wav2vec=["wav2vec", 0],
        others=["speaker", 0],
        faces=["faces", 0],
        face=2,
        start=0.4,
    )
    graph["sampler"]["inputs"]["speech"] = ["second", 0]
    return graph


def sliding(graph: dict | None = None, **sampler) -> dict:
    """The same through windows of 17 frames that share 8: three of them, in four steps."""
    graph = one_speaker() if graph is None else graph
    chunked = ("chunk_frames", "context_frames")
    kept = {k: value for k, value in graph["sampler"]["inputs"].items() if k not in chunked}
    windows = {"steps": 4, "window_frames": 17, "overlap": 8, "job_name": "sliding", **sampler}
    return with_node(graph, "sampler", "EndlessTalkSlidingSampler", **{**kept, **windows})


def with_guidance(graph: dict, text: float, audio: float) -> dict:
    """The same with Talk Guidance and a negative prompt."""
    guided = with_inputs(graph, "sampler", guidance=["guidance", 0], negative=["negative", 0])
    guided["guidance"] = node("EndlessTalkGuidance", text=text, audio=audio)
    guided["negative"] = node("TestText", text="blurred, static")
    return guided


def with_lora(graph: dict, strength: float = 1.0) -> dict:
    """The same with the host's LoRA loader between the model and the sampler."""
    patched = with_inputs(graph, "sampler", model=["lora", 0])
    patched["lora"] = node(
        "LoraLoaderModelOnly",
        model=["model", 0],
        lora_name=host_files.LORA,
        strength_model=strength,
    )
    return patched


def with_applied_adapter(graph: dict, loader: str = "UNETLoader") -> dict:
    """The same with the base from the host's own loader and Apply Audio Adapter."""
    chosen = graph["model"]["inputs"]
    applied = copy.deepcopy(graph)
    applied["base"] = node(loader, unet_name=chosen["base_model"], weight_dtype="default")
    applied["model"] = node("EndlessTalkApplyAdapter", model=["base", 0], adapter=chosen["adapter"])
    return applied


def with_inputs(graph: dict, name: str, /, **inputs) -> dict:
    """The same with some inputs of one node set; ``None`` takes an input away."""
    changed = copy.deepcopy(graph)
    for key, value in inputs.items():
        if value is None:
            changed[name]["inputs"].pop(key, None)
        else:
            changed[name]["inputs"][key] = value
    return changed


def with_node(graph: dict, name: str, class_type: str, /, **inputs) -> dict:
    """The same with one node more, or another in its place."""
    changed = copy.deepcopy(graph)
    changed[name] = node(class_type, **inputs)
    return changed


def saving(graph: dict, link: list, name: str = "saved") -> dict:
    """The same with a value's tensors written to ``name``."""
    return with_node(graph, f"save_{name}", "TestSave", value=link, name=name)
