"""What a graph says of a value that has not been made yet, and what it is made from.

Knows API prompts only: nodes by id, with constants and links ``[id, output]`` as inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..video.job_keys import digest

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
    return (prompt[ahead] for ahead in ids_ahead(prompt, node_id, socket))


def ids_ahead(prompt: Prompt, node_id: str | None, socket: str) -> Iterator[str]:
    """Their ids."""
    waiting = [prompt[node_id]["inputs"].get(socket)] if node_id in prompt else []
    seen: set[str] = set()
    while waiting:
        value = waiting.pop()
        if not is_link(value) or value[0] in seen or value[0] not in prompt:
            continue
        seen.add(value[0])
        yield value[0]
        waiting += prompt[value[0]]["inputs"].values()


def made_from(
    prompt: Prompt,
    node_id: str,
    socket: str,
    identify: Callable[[str, str, Any], Any],
) -> str:
    """A digest of all that an input of a node is made from: classes, constants and links.

    Where nodes stand, how they are called and numbered does not count, nor do links that lead to
    nothing that the input depends on.

    Args:
        prompt: The graph that runs.
        node_id: The node that asks.
        socket: Its input.
        identify: Class, input and constant to what the constant stands for: itself, or what is in
            the file that it names.
    """
    known: dict[str, str] = {}

    def described(node_id: str) -> str:
        if node_id not in known:
            node = prompt[node_id]
            kind = node["class_type"]
            inputs = {name: entry(kind, name, value) for name, value in node["inputs"].items()}
            known[node_id] = digest(kind, inputs)
        return known[node_id]

    def entry(kind: str, name: str, value: Any) -> Any:
        if is_link(value) and value[0] in prompt:
            return {"from": described(value[0]), "output": value[1]}
        return {"is": identify(kind, name, value)}

    return digest(entry("", socket, prompt[node_id]["inputs"].get(socket)))


def is_link(value: Any) -> bool:
    """Whether an input is the output of another node."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
