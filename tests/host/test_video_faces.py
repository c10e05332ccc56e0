"""Face Masks on videos: in a real server, and its detector and memory in this process."""

import weakref

import files
import host_graphs as graphs
import numpy as np
import pytest
import torch
import videos
from host_files import MULTI, WAV2VEC
from host_tree import find_tree
from safetensors.torch import load_file

if find_tree() is None:
    pytest.skip("there is no ComfyUI tree: set COMFYUI_PATH", allow_module_level=True)
comfy = pytest.importorskip("comfy_on_path").comfy

from endless_talk.errors import InputError  # noqa: E402
from endless_talk.masks.finding import FaceSources  # noqa: E402
from endless_talk.masks.moving import TrackSettings  # noqa: E402
from endless_talk.nodes import faces_video  # noqa: E402
from endless_talk.nodes.faces import in_picture, in_video  # noqa: E402
from endless_talk.nodes.faces_video import (  # noqa: E402
    PIECE_FRAMES,
    FaceDetector,
    shot_previews,
    video_faces,
)
from endless_talk.reference.video import FileVideo  # noqa: E402

SIZE = HEIGHT, WIDTH = (96, 160)
FRAMES = 40
SIDE = 30
MOMENTS = "0:00 10 20 40 50; 110 30 140 60\n0:00.96 60 20 90 50; 110 30 140 60"


def square(picture, x, y, level=255):
    picture[y : y + SIDE, x : x + SIDE] = level
    return picture


def stage(shot=0):
    """A background with shapes, another one for every shot."""
    rng = np.random.default_rng(shot)
    coarse = rng.integers(0, 60, (6, 10, 3))
    coarse[..., 2 * shot] += 120  # red, then blue
    return coarse.repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)


def stages(frames=FRAMES, cut=25):
    """Two white squares, of which the left one moves to the right; after the cut there is one."""
    for index in range(frames):
        if index < cut:
            yield square(square(stage(), 10 + 2 * index, 20), 120, 30)
        else:
            yield square(stage(1), 70, 40)


# In a server


@pytest.fixture(scope="module")
def clip(server):
    """The stages at 50 pictures per second, so that every one of them is there twice."""
    pictures = [picture for picture in stages() for _ in range(2)]
    videos.write(server.base / "input" / "stages.mp4", pictures, rate=50, options={"crf": "4"})
    return "stages.mp4"


def faces_of(clip, **inputs):
    return {
        "video": graphs.node("LoadVideo", file=clip),
        "faces": graphs.node("EndlessTalkFaceMasks", picture=["video", 0], **inputs),
    }


def with_speakers(graph, *faces):
    """Speakers in a row, each with a number of a face."""
    graph["voice"] = graphs.node("LoadAudio", audio="voice.wav")
    graph["wav2vec"] = graphs.node("EndlessTalkLoadWav2Vec", wav2vec=WAV2VEC)
    before = {}
    for number, face in enumerate(faces):
        graph[f"speaker{number}"] = graphs.node(
            "EndlessTalkSpeaker",
            audio=["voice", 0],
            wav2vec=["wav2vec", 0],
            faces=["faces", 0],
            face=face,
            **before,
        )
        before = {"others": [f"speaker{number}", 0]}
    return graph


def saved(server, name):
    (value,) = load_file(server.base / "output" / f"{name}.safetensors").values()
    return value


def said(events, node="faces"):
    return next(text for name, text in events.texts if name == node)


def test_typed_moments_become_tracks_a_mask_and_a_preview_per_shot(server, clip, rendered):
    graph = faces_of(clip, boxes=MOMENTS, motion="moving", cuts="auto")
    graph = graphs.saving(graphs.saving(graph, ["faces", 1], "all"), ["faces", 2], "shots")
    with server.listen() as events:
        rendered(graph)
    assert said(events).splitlines() == [
        "2 faces in 1.60 s, 2 shots",
        "face 1: 0.00 to 1.60 s",
        "face 2: 0.00 to 1.60 s",
    ]
    everywhere = saved(server, "all")
    assert everywhere.shape == (1, *SIZE)
    assert everywhere[0, 20:50, 10:90].all() and everywhere.sum() == 80 * 30 + 30 * 30
    assert saved(server, "shots").shape == (2, *SIZE, 3)


def test_a_speaker_takes_the_track_of_a_face(server, clip, rendered):
    graph = with_speakers(faces_of(clip, boxes=MOMENTS, motion="moving", rule="soft"), 2, 1)
    with server.listen() as events:
        rendered(graphs.saving(graph, ["speaker1", 0], "speech"))
    assert (
        said(events, "speaker1")
        .splitlines()[1]
        .endswith("face 1 of the video, in 100% of its frames")
    )
    tensors = load_file(server.base / "output" / "speech.safetensors")
    boxes = tensors["value.speakers.1.track.tracks.boxes"]
    assert boxes.shape == (2, FRAMES, 4) and boxes[0, 12, 0] == 35
    region = tensors["value.speakers.1.region"]
    assert region.shape == SIZE and region[20:50, 10:40].all() and region.sum() == 900


def test_a_mask_and_boxes_without_times_hold_for_the_whole_video(server, clip, rendered):
    graph = faces_of(clip, boxes="10 20 40 50")
    with server.listen() as events:
        rendered(graphs.saving(graph, ["faces", 1], "still"))
    assert said(events).startswith("1 face: 5.9% of the picture")
    assert saved(server, "still").sum() == 900
    halves = faces_of(clip, find="split evenly")
    with server.listen() as events:
        rendered(graphs.saving(halves, ["faces", 1], "halves"))
    assert said(events).startswith("2 faces")


def test_two_faces_of_a_video_are_dubbed(server, clip, rendered):
    """Where a face is first routes the voices as a picture's region does."""
    graph = graphs.one_speaker(job_name="two_faces")
    graph["model"]["inputs"]["adapter"] = MULTI
    graph |= with_speakers(faces_of(clip, boxes=MOMENTS, motion="union"), 1, 2)
    graph["reference"] = graphs.node(
        "EndlessTalkReferenceVideo", video=["video", 0], size="custom", width=WIDTH, height=HEIGHT
    )
    graph = graphs.with_inputs(graph, "sampler", speech=["speaker1", 0])
    outcome = rendered({name: node for name, node in graph.items() if name != "speaker"})
    (made,) = [f for f in outcome.files("sampler") if f["filename"].endswith(".mp4")]
    assert len(files.frames_of(server.path(made))) == FRAMES


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"boxes": "0:02 1 2 30 40\n0:01 1 2 30 40"}, "write the times in ascending order"),
        ({"boxes": "0:00 1 2 30"}, "expected 4 numbers"),
        (
            {"boxes": "0:00 300 2 330 40"},
            "boxes at 0:00.00: the box (300, 2, 330, 40) lies outside",
        ),
        ({"boxes": "0:05 1 2 30 40"}, "the video ends at 0:01.60"),
        ({"boxes": MOMENTS, "cuts": "soon"}, "cuts has 'soon'"),
        ({"boxes": MOMENTS, "find": "split evenly"}, "find is 'split evenly', but boxes are there"),
        ({}, "Nothing tells where the faces are"),
    ],
)
def test_wrong_faces_of_a_video_are_a_sentence(clip, inputs, sentence, play):
    graph = with_speakers(faces_of(clip, **inputs), 1)
    outcome = play(graphs.saving(graph, ["speaker0", 0]))
    assert outcome.status != "success" and sentence in f"{outcome.message}{outcome.detail}"


def test_a_number_that_no_face_has_is_a_sentence(clip, play):
    graph = with_speakers(faces_of(clip, boxes=MOMENTS), 3)
    outcome = play(graphs.saving(graph, ["speaker0", 0]))
    assert "face is 3, but Face Masks found 2 in the video" in outcome.message


def test_times_with_a_picture_are_a_sentence(server, play):
    graph = {
        "picture": graphs.node("LoadImage", image="portrait.png"),
        "faces": graphs.node("EndlessTalkFaceMasks", picture=["picture", 0], boxes=MOMENTS),
    }
    outcome = play(graphs.saving(graph, ["faces", 1]))
    assert "boxes has times, but the picture does not move" in outcome.message


# The detector


class Squares:
    """Finds white squares, as the host's model finds faces; counts the pictures that are alive."""

    def __init__(self, found=True):
        self.found, self.seen, self.largest, self.alive = found, 0, 0, []
        self.variants = []

    def detect_batch(self, images, num_faces, score_thresh, variant):
        self.variants.append(variant)
        self.seen += len(images)
        self.alive = [one for one in self.alive if one() is not None]
        self.alive += [weakref.ref(image) for image in images]
        self.largest = max(self.largest, len(self.alive))
        return [self._faces(image)[: num_faces or None] for image in images]

    def _faces(self, image):
        if not self.found:
            return []
        from scipy import ndimage

        labels, _ = ndimage.label((image > 200).all(axis=-1))
        boxes = [(c.start, r.start, c.stop, r.stop) for r, c in ndimage.find_objects(labels)]
        return [
            {"bbox_xyxy": np.array(box, np.float32), "landmarks_xy": np.zeros((478, 2))}
            for box in boxes
            if box[2] - box[0] > SIDE // 2
        ]


class Drawn:
    """A source video that draws a picture when it is asked for one."""

    size, rate, content = SIZE, 25.0, "drawn"

    def __init__(self, frames, cut=25):
        self.frames, self.cut, self.closed = frames, cut, False

    def picture(self, index, size=None):
        if index < self.cut:
            picture = square(square(stage(), 10 + abs(index % 140 - 70), 20), 120, 30)
        else:
            picture = square(stage(1), 70, 40)
        return picture if size is None else picture[:: HEIGHT // size[0], :: WIDTH // size[1]]

    def close(self):
        self.closed = True


def detected(video, cuts="auto", model=None, **settings):
    settings = TrackSettings(**{"grow": 0, "dilate": 0, **settings})
    sources = FaceSources(detector=FaceDetector(model or Squares()))
    return video_faces(video, sources, settings, cuts)


@pytest.mark.parametrize("cuts", ["auto", "1.0"])
def test_faces_of_a_file_are_found_followed_and_numbered_in_every_shot(cuts, tmp_path):
    path = videos.write(tmp_path / "stages.mp4", [*stages()], options={"crf": "4"})
    video = FileVideo(path)
    tracks = detected(video, cuts, motion="moving")
    assert (tracks.count, tracks.frames, tracks.cuts) == (2, FRAMES, (25,))
    expected = np.full((2, FRAMES), np.nan)
    expected[0] = [*(10 + 2 * np.arange(25)), *[70] * 15]
    expected[1, :25] = 120
    np.testing.assert_allclose(tracks.boxes[..., 0], expected, atol=1.5)
    previews = shot_previews(video, tracks)
    assert previews.shape == (2, *SIZE, 3)
    assert (previews[1, 40:70, 70:100] > 0.5).any()
    video.close()


def test_a_turned_and_trimmed_video_is_read_as_reference_video_reads_it(tmp_path):
    path = videos.write(tmp_path / "phone.mp4", [*stages()], options={"crf": "4"})
    video = FileVideo(videos.turn_clockwise(path), start_seconds=0.4, duration_seconds=0.4)
    tracks = detected(video, "none")
    assert (tracks.frames, tracks.size) == (10, (WIDTH, HEIGHT))
    tops = tracks.boxes[np.abs(tracks.boxes[:, 0, 1] - 120).argmax(), :, 1]
    np.testing.assert_allclose(tops, 10 + 2 * (10 + np.arange(10)), atol=1.5)


def test_however_long_a_video_is_only_a_few_pictures_are_alive():
    model = Squares()
    tracks = detected(Drawn(3000, cut=1500), model=model)
    assert model.seen == 3000, "every frame is looked at once"
    assert model.largest <= PIECE_FRAMES + 1
    assert tracks.cuts == (1500,) and tracks.boxes.nbytes == 2 * 3000 * 16
    assert shot_previews(Drawn(3000, cut=1500), tracks).shape[0] == 2


def test_both_variants_take_what_finds_more():
    class Near(Squares):
        def detect_batch(self, images, num_faces, score_thresh, variant):
            found = super().detect_batch(images, num_faces, score_thresh, variant)
            return found if variant == "full" else [faces[:1] for faces in found]

    pixels = next(stages())
    for variant, count in (("short", 1), ("full", 2), ("both", 2)):
        model = Near()
        (faces,) = FaceDetector(model, variant).landmarks([pixels])
        assert len(faces) == count and list(faces[0]) == ["bbox_xyxy"]
        assert model.variants == (["short", "full"] if variant == "both" else [variant])


def test_the_detector_looks_at_a_single_picture_too():
    sources = FaceSources(detector=FaceDetector(Squares()))
    faces, preview = in_picture(next(stages()), sources, TrackSettings(grow=0, rule="area"), False)
    assert faces.count == 2 and faces.rule == "area" and preview.shape == (1, *SIZE, 3)
    assert faces.regions[0, 20:50, 10:40].all()


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (FaceSources(detector=FaceDetector(Squares(found=False))), "No face was found in the 30"),
        (FaceSources(detector=FaceDetector(object())), "cannot be asked for faces"),
        (FaceSources(detector=FaceDetector(Squares()), boxes="1 2 30 40"), "at once"),
        (FaceSources(mask=torch.ones(1, 9, 9)), "9x9 pixels"),
    ],
)
def test_videos_without_faces_are_a_sentence_and_the_file_is_closed(sources, says):
    video = Drawn(30)
    with pytest.raises(InputError, match=says):
        in_video(video, sources, TrackSettings(), False, "auto")
    assert video.closed


def test_the_hosts_own_model_is_asked_as_it_wants_to_be(monkeypatch):
    """With random weights, so that nothing is sure to be a face."""
    monkeypatch.setattr(faces_video, "CONFIDENCE", 1.0)
    nodes = pytest.importorskip("comfy_extras.nodes_mediapipe")
    parts = ("face_oval", "left_eye", "right_eye", "left_eyebrow", "right_eyebrow", "lips")
    state = {
        f"topology.{part}": torch.zeros(1, 2, dtype=torch.int32)
        for part in (*parts, "irises", "nose")
    }
    state |= {key: torch.zeros(1) for key in nodes._CANONICAL_KEYS}
    model = nodes.FaceLandmarkerModel(state)
    with torch.inference_mode():
        assert FaceDetector(model, "both").landmarks([*stages(2)]) == [[], []]
