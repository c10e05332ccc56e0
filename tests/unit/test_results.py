"""A deleted clip is made again, once."""

from endless_talk.nodes.results import finished, generation, inputs_key


def test_a_vanished_clip_counts_once(tmp_path):
    key = inputs_key({"seed": 1, "job_name": "a", "model": object(), "positive": None})
    assert key == inputs_key({"job_name": "a", "seed": 1})
    assert key != inputs_key({"job_name": "a", "seed": 2})
    clip = tmp_path / "clip.mp4"
    assert generation(key) == 0, "nothing was made yet"
    clip.write_bytes(b"clip")
    finished(key, clip)
    assert generation(key) == 0
    clip.unlink()
    assert generation(key) == 1
    assert generation(key) == 1, "asked again before it was made again"
    clip.write_bytes(b"clip")
    finished(key, clip)
    assert generation(key) == 1


def test_two_nodes_of_the_same_constants_are_both_watched(tmp_path):
    key = inputs_key({"seed": 2})
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for clip in clips:
        clip.write_bytes(b"clip")
        finished(key, clip)
    for count, clip in enumerate(clips, 1):
        clip.unlink()
        assert generation(key) == count
