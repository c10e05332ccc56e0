"""A real ComfyUI server on 127.0.0.1, driven over HTTP and its websocket.

Starts it on a CPU with the checkout and the test-only nodes linked in, and stops it reliably. Knows
nothing of what a graph means; ``host_files`` writes what it loads, ``host_graphs`` the
graphs. Only the standard library is needed, and aiohttp (which ComfyUI brings) for ``listen``.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]
HOST_TESTS = ROOT / "tests" / "host"
START_SECONDS = 180
PREVIEW, TEXT, PREVIEW_WITH_METADATA = 1, 3, 4
"""What a binary message of the websocket holds, by its first four bytes."""


@dataclass(frozen=True)
class Outcome:
    """How a graph ended.

    Attributes:
        status: ``success``, ``refused`` (at validation), ``failed`` (while executing) or
            ``interrupted``.
        message: What the user reads: the sentence of the first error, empty on success.
        node: Id of the node that refused or failed.
        outputs: ``ui`` results by node id.
        cached: Ids of the nodes that were not executed again.
        seconds: From submitting to the history entry.
        detail: Everything the server said, for a failing test.
    """

    status: str
    message: str = ""
    node: str = ""
    outputs: dict = field(default_factory=dict)
    cached: frozenset = frozenset()
    seconds: float = 0.0
    detail: str = ""

    def files(self, node: str) -> list[dict]:
        """Every file that a node put into the history, ``filename``, ``subfolder``, ``type``."""
        groups = self.outputs.get(node, {}).values()
        items = [item for group in groups if isinstance(group, list) for item in group]
        return [item for item in items if isinstance(item, dict) and "filename" in item]


@dataclass
class Events:
    """What the websocket said while a graph ran.

    Attributes:
        messages: ``(type, data)`` of every JSON message.
        texts: ``(node, text)`` shown under nodes.
        previews: Encoded pictures.
    """

    messages: list[tuple[str, dict]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)

    def executed(self) -> list[str]:
        """Ids of the nodes that ran, in order."""
        started = [data.get("node") for kind, data in self.messages if kind == "executing"]
        return [node for node in started if node]

    def take(self, message) -> None:
        """Sort one message in."""
        if isinstance(message, str):
            parsed = json.loads(message)
            self.messages.append((parsed["type"], parsed.get("data", {})))
            return
        kind, first = struct.unpack(">II", message[:8])
        if kind == TEXT:
            node, text = message[8 : 8 + first], message[8 + first :]
            self.texts.append((node.decode(), text.decode()))
        elif kind == PREVIEW:
            self.previews.append(message[8:])
        elif kind == PREVIEW_WITH_METADATA:
            self.previews.append(message[8 + first :])


class Server:
    """One ComfyUI process with its own base directory.

    Args:
        tree: ComfyUI's sources.
        base: Empty folder for models, input, output and custom nodes.
        packs: Further folders to link into ``custom_nodes`` by their names.
        options: Further arguments of ``main.py``.
        environment: Further environment variables.
        device: Arguments that choose the device; ``("--cpu",)`` runs everywhere.
    """

    def __init__(self, tree, base, *, packs=None, options=(), environment=None, device=("--cpu",)):
        self.tree, self.base = Path(tree), Path(base)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.base / "server.log"
        self.client = uuid.uuid4().hex
        for name in ("custom_nodes", "models", "input", "output", "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        self._link("custom_nodes", {"endless-talk": ROOT, "tiny_nodes": HOST_TESTS / "tiny_nodes"})
        self._link("custom_nodes", packs or {})
        self._environment = {"OMP_NUM_THREADS": "1", **os.environ, **(environment or {})}
        self._options = [*device, *options]
        self._process: subprocess.Popen | None = None

    def _link(self, folder: str, targets: dict) -> None:
        (self.base / folder).mkdir(parents=True, exist_ok=True)
        for name, target in targets.items():
            (self.base / folder / name).symlink_to(target)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; ends with the tail of its log.
        """
        command = [sys.executable, str(self.tree / "main.py"), "--listen", "127.0.0.1"]
        command += ["--port", str(self.port), "--base-directory", str(self.base)]
        command += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
        command += ["--disable-auto-launch", *self._options]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.tree,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self._check_alive()
            with contextlib.suppress(OSError):
                self.request("/system_stats", timeout=5)
                return
            time.sleep(0.2)
        raise RuntimeError(f"the server did not answer in {START_SECONDS} s\n{self.log_tail()}")

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the server ended\n{self.log_tail()}")

    def stop(self) -> None:
        """End the process and everything it started."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in ((signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 10)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def log_text(self) -> str:
        """Everything the server has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        """The last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def raw(self, path: str, body: bytes | None = None, *, headers=None, timeout: float = 60):
        """Bytes of a reply; a POST when there is a body.

        Raises:
            urllib.error.HTTPError: Any status but 200.
        """
        request = urllib.request.Request(self.url + path, body, headers or {})
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.read()

    def request(self, path: str, body=None, *, timeout: float = 60):
        """A JSON reply to an optional JSON body."""
        data = None if body is None else json.dumps(body).encode()
        reply = self.raw(path, data, headers={"Content-Type": "application/json"}, timeout=timeout)
        return json.loads(reply) if reply else None

    def submit(self, graph: dict, *, extra: dict | None = None) -> str:
        """Queue a graph in API format; returns the prompt's id.

        Args:
            graph: Nodes by id.
            extra: ``extra_data`` of the prompt, such as ``{"extra_pnginfo": {"workflow": ...}}``.

        Raises:
            RefusedError: The graph, or the part that some output needs, is not valid.
        """
        body = {"prompt": graph, "client_id": self.client, "extra_data": extra or {}}
        try:
            reply = self.request("/prompt", body)
        except urllib.error.HTTPError as error:
            raise RefusedError(refusal(json.loads(error.read()))) from None
        if reply["node_errors"]:
            self.result(reply["prompt_id"])  # the valid outputs are made all the same
            raise RefusedError(refusal(reply))
        return reply["prompt_id"]

    def result(self, prompt_id: str, timeout: float = 120, meanwhile=lambda: None) -> Outcome:
        """Wait for a queued graph to end.

        Args:
            prompt_id: From ``submit``.
            timeout: Seconds.
            meanwhile: Called some twenty times a second.

        Raises:
            TimeoutError: It did not end in time.
            RuntimeError: The server died.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self._check_alive()
            entry = self.request(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry.get("status"):
                return outcome(entry)
            meanwhile()
            time.sleep(0.05)
        raise TimeoutError(f"no result after {timeout:g} s\n{self.log_tail()}")

    def run(self, graph: dict, *, timeout: float = 120, extra: dict | None = None) -> Outcome:
        """Submit a graph and wait for its end, whatever it is."""
        started = time.monotonic()
        try:
            ended = self.result(self.submit(graph, extra=extra), timeout)
        except RefusedError as refused:
            ended = refused.outcome
        return Outcome(**{**vars(ended), "seconds": time.monotonic() - started})

    def interrupt(self) -> None:
        """Ask the running graph to stop."""
        self.raw("/interrupt", b"{}", headers={"Content-Type": "application/json"})

    def forget(self) -> None:
        """Unload every model, drop every cached result and the chunks of every job."""
        self.request("/free", {"unload_models": True, "free_memory": True})
        time.sleep(1.2)  # the worker looks at the request once a second
        for journal in (self.base / "output" / "endless_talk").glob("*/.job"):
            shutil.rmtree(journal)

    def upload(self, name: str, content: bytes) -> str:
        """Put a file into the input folder as a browser does; returns its name there."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self.raw("/upload/image", body, headers=kind))["name"]

    def path(self, file: dict) -> Path:
        """Where a file of the history lies."""
        return self.base / file["type"] / file.get("subfolder", "") / file["filename"]

    @contextlib.contextmanager
    def listen(self):
        """Collect the websocket's messages of this server's prompts while the block runs."""
        events, ready, done = Events(), threading.Event(), threading.Event()
        url = f"{self.url}/ws?clientId={self.client}"
        thread = threading.Thread(target=lambda: asyncio.run(collect(url, events, ready, done)))
        thread.start()
        try:
            assert ready.wait(30), "the websocket did not open"
            yield events
        finally:
            time.sleep(0.2)  # the last messages come after the history entry
            done.set()
            thread.join(30)


class RefusedError(Exception):
    """A graph did not pass validation."""

    def __init__(self, outcome: Outcome):
        super().__init__(outcome.message)
        self.outcome = outcome


def refusal(reply: dict) -> Outcome:
    """What an HTTP 400 says about a graph."""
    for node, told in reply.get("node_errors", {}).items():
        for error in told["errors"]:
            message = f"{error['message']}: {error.get('details', '')}"
            return Outcome("refused", message, node, detail=json.dumps(reply, indent=1))
    error = reply.get("error", {})
    if isinstance(error, str):
        error = {"message": error}
    message = f"{error.get('message', '')}: {error.get('details', '')}"
    return Outcome("refused", message, detail=json.dumps(reply, indent=1))


def outcome(entry: dict) -> Outcome:
    """What a history entry says about a graph."""
    status, messages = entry["status"]["status_str"], dict(entry["status"]["messages"])
    cached = frozenset(messages.get("execution_cached", {}).get("nodes", ()))
    if status == "success":
        return Outcome(status, outputs=entry["outputs"], cached=cached)
    error = messages.get("execution_error")
    if error is None:
        return Outcome("interrupted", outputs=entry["outputs"], cached=cached)
    return Outcome(
        "failed",
        error["exception_message"].strip(),
        error["node_id"],
        entry["outputs"],
        cached,
        detail="".join([*error["traceback"], error["exception_type"]]),
    )


async def collect(url: str, events: Events, ready: threading.Event, done: threading.Event) -> None:
    """Read a websocket until ``done`` is set."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
        ready.set()
        while not done.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                message = await ws.receive(timeout=0.1)
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    events.take(message.data)
                elif message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                    return


def beside(server: Server, base: Path, **options) -> Server:
    """A second server, not started, with the models, input and output of another on one disk.

    Args:
        server: The other one.
        base: Empty folder for everything else.
        options: Further arguments of ``Server``.
    """
    for name in ("models", "input", "output"):
        (base / name).symlink_to(server.base / name)
    return Server(server.tree, base, **options)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
