"""The real frontend of a running server, in a headless Chromium.

The one place that knows the frontend's inner names, read from version 1.49; a name that is gone
fails here, loudly. Playwright and a Chromium are optional: ``why_not`` says what is missing.
"""

import base64
import os
import shutil
from importlib.util import find_spec

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
}
"""No greeting dialog over the graph, and nothing drawn into it."""

NODE = "const node = app.rootGraph.nodes.find(n => String(n.id) === String(id));"
SEEN = """const seen = ([x, y]) => {
    const {scale, offset} = app.canvas.ds, place = app.canvas.canvas.getBoundingClientRect();
    return [place.x + (x + offset[0]) * scale, place.y + (y + offset[1]) * scale];
};"""
SOCKET = f"""([id, name, output]) => {{ {NODE} {SEEN}
    const slot = output ? node.findOutputSlot(name) : node.findInputSlot(name);
    if (slot < 0) throw new Error(`${{node.type}} has no socket ${{name}}`);
    return seen(node.getConnectionPos(!output, slot));
}}"""
WIDGET = f"""([id, name]) => {{ {NODE} {SEEN}
    const widget = node.widgets.find(w => w.name === name);
    return seen([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10]);
}}"""
TEXT_AREA = f"([id, name]) => {{ {NODE} return node.widgets.find(w => w.name === name).element; }}"
SHOWN = f"""id => {{ {NODE}
    const picture = node.imgs?.[0], text = node.widgets.find(w => w.name === '$$node-text-preview');
    return {{
        files: (node.images ?? []).map(image => image.filename),
        picture: picture ? picture.naturalWidth || picture.videoWidth : 0,
        text: text ? text.value : '',
        red: Boolean(node.has_errors),
    }};
}}"""
SEARCHING = "() => document.activeElement.tagName === 'INPUT'"
LOOK = """([scale, left, top]) => {
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [left, top];
    app.canvas.setDirty(true, true);
}"""

NO_MENU = "button:has(.pi-bars) { display: none !important; }"

READY = """() => window.app?.vueAppReady
    && Object.keys(LiteGraph.registered_node_types).includes("EndlessTalkStreamingSampler")"""
STORE = """const store = name => {
    const root = document.querySelector('#vue-app').__vue_app__;
    const found = root.config.globalProperties.$pinia._s.get(name);
    if (!found) throw new Error(`the frontend has no store ${name}`);
    return found;
};"""
TROUBLE = f"""() => {{ {STORE}
    const nodes = app.rootGraph.nodes;
    return {{
        unknown: nodes.filter(n => !LiteGraph.registered_node_types[n.type]).map(n => n.type),
        red: nodes.filter(n => n.has_errors).map(n => `${{n.id}} ${{n.type}}`),
        missing_nodes: store('missingNodesError').missingNodesError,
        missing_models: store('missingModel').missingModelCandidates ?? [],
        missing_media: (store('missingMedia').missingMediaCandidates ?? []).map(m => m.name),
    }};
}}"""
APP_INPUTS = f"() => {{ {STORE} return store('appMode').selectedInputs; }}"
DROP = """async ([name, kind, encoded]) => {
    const bytes = Uint8Array.from(atob(encoded), c => c.charCodeAt(0));
    await app.handleFile(new File([bytes], name, {type: kind}), 'file_drop');
}"""
FIT = """(margin) => {
    const bounds = [...app.rootGraph.nodes, ...app.rootGraph.groups].map(n => n.boundingRect);
    const [left, top] = [0, 1].map(i => Math.min(...bounds.map(b => b[i])) - margin);
    const [right, bottom] = [0, 1].map(i => Math.max(...bounds.map(b => b[i] + b[i + 2])) + margin);
    const place = app.canvas.canvas.getBoundingClientRect();
    const scale = Math.min(place.width / (right - left), place.height / (bottom - top));
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [-left, -top];
    app.canvas.setDirty(true, true);
    return {x: place.x, y: place.y, width: (right - left) * scale, height: (bottom - top) * scale};
}"""


def chromium() -> str | None:
    """The browser's program, or None; CHROMIUM_PATH names another one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, names)), None)


def why_not() -> str | None:
    """What is missing for a browser, or None if everything is there."""
    if find_spec("playwright") is None:
        return "the browser tests need playwright: pip install playwright"
    if chromium() is None:
        return "the browser tests need a Chromium: install one, or set CHROMIUM_PATH"
    return None


class Frontend:
    """One page of the frontend.

    Args:
        server: A running server.
        size: Width and height of the window in pixels.
    """

    def __init__(self, server, size=(1600, 1000)):
        self._server, self._size = server, size

    def __enter__(self):
        from playwright.sync_api import sync_playwright

        self._server.request("/settings", SETTINGS)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=chromium(), args=list(ARGUMENTS)
        )
        width, height = self._size
        self.page = self._browser.new_page(viewport={"width": width, "height": height})
        self.page.goto(self._server.url)
        self.page.wait_for_function(READY, timeout=120_000)
        self.page.wait_for_timeout(1000)
        return self

    def __exit__(self, *_):
        self._browser.close()
        self._playwright.stop()

    def load(self, graph: dict) -> None:
        """Open a graph and wait until it has been looked through."""
        self.page.evaluate("graph => app.loadGraphData(graph)", graph)
        self.page.wait_for_timeout(2000)

    def drop(self, name: str, kind: str, content: bytes) -> None:
        """Drop a file on the canvas."""
        self.page.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])
        self.page.wait_for_timeout(2000)

    def trouble(self) -> dict:
        """What the frontend finds wrong with the open graph, by kind."""
        return self.page.evaluate(TROUBLE)

    def app_inputs(self) -> list:
        """Inputs of the app mode that exist: ``[node, widget, ...]``."""
        return self.page.evaluate(APP_INPUTS)

    def exported(self) -> dict:
        """The API prompt of the open graph."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def saved(self) -> dict:
        """The open graph as the browser would save it."""
        return self.page.evaluate("() => JSON.parse(JSON.stringify(app.rootGraph.serialize()))")

    def picture(self, path, *, margin: int = 20, quality: int = 80) -> None:
        """Write the whole graph as a jpg, without menus."""
        self.page.evaluate(f"() => {{ {STORE} store('workspace').focusMode = true; }}")
        self.page.wait_for_timeout(500)
        clip = self.page.evaluate(FIT, margin)
        self.page.wait_for_timeout(1500)
        self.page.screenshot(path=str(path), type="jpeg", quality=quality, clip=clip, style=NO_MENU)

    def look(self, scale: float, left: float, top: float) -> None:
        """Move the canvas: how large, and where the graph's origin is in the window."""
        self.page.evaluate(LOOK, [scale, left, top])
        self.page.wait_for_timeout(500)

    def add(self, title: str, at: tuple[float, float]) -> int:
        """Search for a node with the mouse and the keyboard, and put it down; its id.

        Args:
            title: What is typed into the search.
            at: An empty place in the window, where the middle of the node's title will be.
        """
        before = {node["id"] for node in self.saved()["nodes"]}
        self._open_search(at)
        self.page.keyboard.type(title, delay=20)
        self.page.wait_for_timeout(1000)
        self.page.keyboard.press("Enter")
        self.page.wait_for_timeout(500)
        self.page.mouse.move(at[0] + 5, at[1], steps=3)  # it hangs on the mouse until a click
        self.page.mouse.click(*at)
        self.page.wait_for_timeout(500)
        (added,) = {node["id"] for node in self.saved()["nodes"]} - before
        return added

    def _open_search(self, at: tuple[float, float]) -> None:
        """Double-click on the canvas; a busy page may take the two clicks for single ones."""
        for _ in range(5):
            self.page.mouse.dblclick(*at)
            for _ in range(20):
                if self.page.evaluate(SEARCHING):
                    return
                self.page.wait_for_timeout(250)
        raise TimeoutError(f"no search opens at {at}")

    def connect(self, source: int, output: str, target: int, name: str) -> None:
        """Drag a link from an output to an input."""
        begin = self.page.evaluate(SOCKET, [source, output, True])
        end = self.page.evaluate(SOCKET, [target, name, False])
        self.page.mouse.move(*begin)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=8)
        self.page.mouse.up()
        self.page.wait_for_timeout(500)

    def write(self, node: int, widget: str, text: str) -> None:
        """Type into a widget of many lines, in place of what is there."""
        area = self.page.evaluate_handle(TEXT_AREA, [node, widget]).as_element()
        area.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def choose(self, node: int, widget: str, entry: str) -> None:
        """Click on a list and then on one of its entries."""
        self.page.mouse.click(*self.page.evaluate(WIDGET, [node, widget]))
        self.page.locator(".litemenu-entry").get_by_text(entry, exact=True).click()

    def enter(self, node: int, widget: str, value: str) -> None:
        """Click on a number or a line of text, and type another."""
        self.page.mouse.dblclick(*self.page.evaluate(WIDGET, [node, widget]))
        self.page.locator(".graphdialog input").wait_for()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(value)
        self.page.keyboard.press("Enter")
        self.page.wait_for_timeout(300)

    def run(self) -> None:
        """Press Run."""
        self.page.get_by_role("button", name="Run", exact=True).first.click()

    def shown(self, node: int) -> dict:
        """What a node shows: its result's files, a picture's width, text, and whether it is red."""
        return self.page.evaluate(SHOWN, node)

    def result(self, node: int, timeout_seconds: float = 120) -> dict:
        """What a node shows once a file is its result and a picture can be seen."""
        for _ in range(round(2 * timeout_seconds)):
            found = self.shown(node)
            if found["files"] and found["picture"]:
                return found
            self.page.wait_for_timeout(500)
        raise TimeoutError(f"node {node} shows no result: {found}")

    def complaint(self) -> str:
        """The sentence to a refused graph, opened as a user would: details, then the (i)."""
        self.page.get_by_role("button", name="View details").click()
        info = self.page.get_by_role("button", name="Info for ")
        info.click()
        detail = self.page.locator(f"[id='{info.get_attribute('aria-controls')}']")
        detail.wait_for()
        return detail.inner_text()
