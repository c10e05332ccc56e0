"""What a graph says of a value that has not been made yet.

Knows API prompts only: nodes by id, with constants and links ``[id, output]`` as inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Prompt = Mapping[str, Mapping[str, Any]]


def constant_ahead(
    prompt: Prompt | None, node_id: str | None, socket: str, *, kind: str, widget: str
) -> Any:
    """The value of a widget on the node that a socket's value comes from, through any others.

    Args:
        prompt: The graph that runs.
        node_id: The node that asks.
        socket: Its input.
        kind: Class of the node meant.
        widget: Its widget.

    Returns:
        None when the graph does not tell: there is no such node, several disagree, or the widget is
        linked itself.
    """
    values = [
        node["inputs"].get(widget)
        for node in nodes_ahead(prompt or {}, node_id, socket)
        if node["class_type"] == kind
    ]
    decided = bool(values) and not isinstance(values[0], list)
    return values[0] if decided and all(value == values[0] for value in values) else None


def nodes_ahead(prompt: Prompt, node_id: str | None, socket: str) -> Iterator[Mapping[str, Any]]:
    """Every node that an input of a node depends on, each once."""
    waiting = [prompt[node_id]["inputs"].get(socket)] if node_id in prompt else []
    seen: set[str] = set()
    while waiting:
        value = waiting.pop()
        if not is_link(value) or value[0] in seen or value[0] not in prompt:
            continue
        seen.add(value[0])
        yield prompt[value[0]]
        waiting += prompt[value[0]]["inputs"].values()


def is_link(value: Any) -> bool:
    """Whether an input is the output of another node."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
