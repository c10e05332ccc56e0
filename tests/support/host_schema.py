"""What is frozen of a node's interface, and what every node of the pack has to say about itself."""

import json
from pathlib import Path

HOST_TESTS = Path(__file__).absolute().parents[1] / "host"
OURS = HOST_TESTS / "object_info.json"
CORE = HOST_TESTS / "core_object_info.json"
PREFIX = "EndlessTalk"
FILES = "<files>"
"""Stands for the entries of a list that depend on what is on the disk."""

FILE_ENDINGS = (".safetensors", ".sft", ".gguf", ".png", ".jpg", ".wav", ".flac", ".mp3", ".mp4")
TEXTS = ("tooltip", "display_name")
CORE_NODES = (
    "CLIPLoader",
    "CLIPTextEncode",
    "CLIPVisionEncode",
    "CLIPVisionLoader",
    "DualCLIPLoader",
    "GetVideoComponents",
    "KSamplerSelect",
    "LoadAudio",
    "LoadImage",
    "LoadVideo",
    "LoraLoaderModelOnly",
    "ModelSamplingSD3",
    "PreviewImage",
    "TextEncodeHunyuanVideo_ImageToVideo",
    "UNETLoader",
    "VAELoader",
)
"""Nodes of the host that workflows of the pack may use."""


def ours(known: dict) -> dict:
    """The pack's own nodes in an object_info, by id in alphabetical order."""
    return {name: known[name] for name in sorted(known) if name.startswith(PREFIX)}


def frozen(info: dict) -> dict:
    """The part of a node's object_info that saved workflows depend on; wording is left out."""
    order = info["input_order"]
    outputs = zip(info["output"], info["output_name"], strict=True)
    return {
        "display_name": info["display_name"],
        "category": info["category"],
        "output_node": info["output_node"],
        "inputs": {
            group: {name: frozen_input(info["input"][group][name]) for name in order[group]}
            for group in ("required", "optional")
            if order.get(group)
        },
        "outputs": [list(pair) for pair in outputs],
    }


def frozen_input(spec: list) -> list:
    """Type and options of an input without texts and file names."""
    kind, options = spec[0], dict(spec[1]) if len(spec) > 1 else {}
    if isinstance(kind, list):  # the older notation of a list
        kind, options["options"] = "COMBO", kind
    kept = {key: value for key, value in options.items() if key not in TEXTS}
    if kind == "COMBO" and "options" in kept:
        kept["options"] = frozen_options(kept["options"])
        if is_file(kept.get("default")):
            kept["default"] = FILES
    return [kind, kept]


def frozen_options(options: list) -> list:
    """Entries of a list, all files as one; a list without any entry is one of files, too."""
    plain = [option for option in options if not is_file(option)]
    return plain if plain and len(plain) == len(options) else [*plain, FILES]


def is_file(option) -> bool:
    """Whether an entry of a list is the name of a file."""
    return isinstance(option, str) and option.lower().endswith(FILE_ENDINGS)


def broken(before: dict, now: dict) -> list[str]:
    """Why a workflow made for one frozen interface may fail with another; newer is mostly fine."""
    old, new = flat(before), flat(now)
    found = [f"it has no input {name}" for name in old if name not in new]
    for name in now["inputs"].get("required", {}):
        if name not in old:
            found.append(f"it wants a new input {name}")
    for name in old.keys() & new.keys():
        (old_kind, old_options), (kind, options) = old[name], new[name]
        lost = set(map(str, old_options.get("options", []))) - set(
            map(str, options.get("options", []))
        )
        if kind != old_kind or lost:
            found.append(f"{name} was {old_kind}, is {kind}, without {sorted(lost)}")
    if now["outputs"][: len(before["outputs"])] != before["outputs"]:
        found.append(f"its outputs are {now['outputs']}")
    return found


def flat(interface: dict) -> dict:
    """All inputs of a frozen interface in the order of its widgets."""
    groups = interface["inputs"]
    return {**groups.get("required", {}), **groups.get("optional", {})}


def silent(info: dict) -> list[str]:
    """What a node does not explain: inputs, outputs and itself."""
    found = [
        f"input {name} has no tooltip"
        for group in ("required", "optional")
        for name, spec in info["input"].get(group, {}).items()
        if len(spec) < 2 or not spec[1].get("tooltip")
    ]
    tooltips = info.get("output_tooltips") or [None] * len(info["output"])
    for name, tooltip in zip(info["output_name"], tooltips, strict=True):
        if not tooltip:
            found.append(f"output {name} has no tooltip")
    for key in ("description", "search_aliases", "display_name"):
        if not info.get(key):
            found.append(f"it has no {key}")
    if not info["category"].startswith("EndlessTalk/"):
        found.append(f"its category is {info['category']}")
    return found


def write(path: Path, content: dict) -> None:
    """JSON as it is committed."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict:
    """A frozen file."""
    return json.loads(path.read_text(encoding="utf-8"))
