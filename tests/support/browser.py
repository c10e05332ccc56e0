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
