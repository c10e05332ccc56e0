"""Workflows without a server: is a graph, or an API prompt, possible with the frozen interfaces?

A graph is what the browser saves; a prompt is what it sends. ``prompt_of`` makes the latter from
the former as the browser does, so that both are checked alike and twins can be compared.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from host_schema import CORE, FILES, OURS, flat, is_file, read

FOLDER = Path(__file__).absolute().parents[2] / "workflows"
NOTES = {"Note", "MarkdownNote"}
"""Kinds that exist in the browser only."""

WIDGETS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": object}
BYPASSED, MUTED = 4, 2
SAMPLERS = ("EndlessTalkStreamingSampler", "EndlessTalkSlidingSampler")
"""What renders the clip; a workflow has one of them."""

UNPUBLISHED = {
    "magicinfinite_audio_adapter.safetensors": "the authors published the paper without weights",
}
"""Files that a workflow needs and nobody can download, and why."""


def graphs() -> list[Path]:
    """The graphs of the pack."""
    return sorted(FOLDER.glob("*.json"))


def prompts() -> list[Path]:
    """The API prompts of the pack."""
    return sorted((FOLDER / "api").glob("*.json"))


def twin(graph: Path) -> Path:
    """The API prompt of a graph."""
    return graph.parent / "api" / graph.name


def known_nodes() -> dict:
    """Frozen interfaces by node id, the pack's and the host's."""
    return {**read(CORE), **read(OURS)}


def prompt_of(graph: dict, known: dict) -> dict:
    """What the browser sends for a graph.

    Raises:
        ValueError: A node is unknown, bypassed or has another number of widgets than its interface.
    """
    sources = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    prompt = {}
    for node in graph["nodes"]:
        if node["type"] in NOTES:
            continue
        where = f"node {node['id']} ({node['type']})"
        if node["type"] not in known:
            raise ValueError(f"{where} is unknown")
        if node.get("mode", 0) in (BYPASSED, MUTED):
            raise ValueError(f"{where} is muted or bypassed")
        inputs = widget_values(node, flat(known[node["type"]]), where)
        for socket in node.get("inputs", []):
            if socket.get("link") is not None:
                inputs[socket["name"]] = sources[socket["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def widgets_of(node: dict, known: dict) -> dict:
    """Values of a node's widgets by name."""
    return widget_values(node, flat(known[node["type"]]), f"node {node['id']}")


def app_inputs(graph: dict) -> list[list]:
    """What the app mode asks for: ``[node, widget]``."""
    return graph["extra"]["linearData"]["inputs"]


def texts(value) -> Iterator[str]:
    """Every string in a workflow file."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def widget_values(node: dict, inputs: dict, where: str) -> dict:
    """Values of a node's widgets by name; the browser saves them as a list."""
    values, given = list(node.get("widgets_values", [])), {}
    for name, (kind, options) in inputs.items():
        if kind not in WIDGETS or options.get("forceInput"):
            continue
        if not values:
            raise ValueError(f"{where} has no value for {name}")
        given[name] = values.pop(0)
        if options.get("control_after_generate") and values:
            values.pop(0)
    if values and node["type"].startswith("EndlessTalk"):
        raise ValueError(f"{where} has values for widgets that it does not have: {values}")
    return given


def problems(prompt: dict, known: dict) -> list[str]:
    """Everything that a server would refuse in a prompt."""
    found = []
    for name, node in prompt.items():
        where = f"node {name} ({node['class_type']})"
        if node["class_type"] not in known:
            found.append(f"{where} is unknown")
            continue
        interface = known[node["class_type"]]
        found += [f"{where}: {text}" for text in input_problems(node["inputs"], interface)]
        found += [f"{where}: {text}" for text in link_problems(node, prompt, known)]
    kinds = [known[node["class_type"]] for node in prompt.values() if node["class_type"] in known]
    if not any(kind["output_node"] for kind in kinds):
        found.append("nothing is put out")
    return found


def input_problems(given: dict, interface: dict) -> Iterator[str]:
    """Missing and unknown inputs, and values that are out of range."""
    inputs = flat(interface)
    for name in interface["inputs"].get("required", {}):
        if name not in given:
            yield f"{name} is missing"
    for name, value in given.items():
        if name.split(".")[0] not in inputs:
            yield f"there is no input {name}"
        elif "." not in name and not is_link(value):
            kind, options = inputs[name]
            if not fits(kind, options, value):
                yield f"{name} cannot be {value!r}"


def fits(kind: str, options: dict, value) -> bool:
    """Whether a widget takes a value."""
    if kind not in WIDGETS or not isinstance(value, WIDGETS[kind]):
        return False
    if kind == "COMBO":
        choices = options.get("options", [])
        return value in choices or (FILES in choices and is_file(value))
    if kind in ("INT", "FLOAT"):
        low, high = options.get("min", value), options.get("max", value)
        return not isinstance(value, bool) and low <= value <= high
    return True


def link_problems(node: dict, prompt: dict, known: dict) -> Iterator[str]:
    """Links from nowhere and between types that do not match."""
    inputs = flat(known[node["class_type"]])
    for name, value in node["inputs"].items():
        if not is_link(value) or name not in inputs:
            continue
        source, slot = value
        outputs = known.get(prompt.get(source, {}).get("class_type"), {}).get("outputs", [])
        if slot >= len(outputs):
            yield f"{name} comes from node {source}, output {slot}, which does not exist"
        elif not match(outputs[slot][0], inputs[name][0]):
            yield f"{name} wants {inputs[name][0]}, node {source} gives {outputs[slot][0]}"


def match(given: str, wanted: str) -> bool:
    """Whether a socket takes a type; both may be several, or any."""
    first, second = set(given.split(",")), set(wanted.split(","))
    return "*" in first | second or bool(first & second)


def is_link(value) -> bool:
    """Whether an input is ``[node, output]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def read_json(path: Path) -> dict:
    """A workflow file."""
    return json.loads(path.read_text(encoding="utf-8"))
