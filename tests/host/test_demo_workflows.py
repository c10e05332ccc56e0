"""The shipped workflows with the model that comes with the pack: a face that moves, not only files.

Lip sync, seams and drift of the same model are measured in ``tests/end_to_end``.
"""

import av
import numpy as np
import pytest
import videos
from host_files import SIZE
from host_graphs import CLIP_FRAMES
from host_workflows import clip_of, with_demo
from PIL import Image

from endless_talk.models.recipes import BUILT_IN
from workflows import graphs, read_json, twin

CHOSEN = [path for path in graphs() if path.stem[:2] in ("01", "03", "04", "05")]
PORTRAIT, VIDEO = "endless_talk_portrait.png", "portrait.mp4"

WHOLE = {
    "EndlessTalkStreamingSampler": {"chunk_frames": 81, "steps": 4},
    "EndlessTalkSlidingSampler": {"window_frames": 0, "overlap": 0, "steps": 4},
}


@pytest.fixture(scope="module")
def portrait(server, known):
    """The demo's face as a picture and, standing still, as a video."""
    folder = server.base / "input"
    face = Image.open(folder / PORTRAIT).convert("RGB").resize(SIZE)
    videos.write(folder / VIDEO, [np.array(face)] * CLIP_FRAMES)


@pytest.mark.parametrize("path", CHOSEN, ids=lambda path: path.stem)
def test_the_demo_talks_in_a_workflow(server, rendered, portrait, path):
    """The picture is the portrait, and something in it moves, which in the source nothing does."""
    prompt = with_demo(read_json(twin(path)), BUILT_IN, WHOLE, job_name=f"demo_{path.stem[:2]}")
    for node in prompt.values():
        for name, file in (("image", PORTRAIT), ("file", VIDEO)):
            if node["class_type"].startswith("Load") and name in node["inputs"]:
                node["inputs"][name] = file
    with server.listen() as events:
        outcome = rendered(prompt, timeout=600)
    assert not [text for _, text in events.texts if "warning" in text]
    with av.open(str(clip_of(server, outcome))) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    clip = np.stack(frames).astype(float)
    assert clip.shape == (CLIP_FRAMES, *SIZE)
    face = np.array(Image.open(server.base / "input" / PORTRAIT).convert("L").resize(SIZE), float)
    assert np.corrcoef(clip.mean(0).ravel(), face.ravel())[0, 1] > 0.9
    assert np.ptp(clip, axis=0).max() > 20
