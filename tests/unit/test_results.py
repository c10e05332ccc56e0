"""A deleted clip is made again, once."""

from endless_talk.nodes.results import delivered, generation, inputs_key


def test_a_vanished_clip_counts_once(tmp_path):
    key = inputs_key({"seed": 1, "job_name": "a", "model": object(), "positive": None})
    assert key == inputs_key({"job_name": "a", "seed": 1})
    assert key != inputs_key({"job_name": "a", "seed": 2})
    clip = tmp_path / "clip.mp4"
    assert generation(key) == 0, "nothing was made yet"
    clip.write_bytes(b"clip")
    delivered(key, clip, complete=True)
    assert generation(key) == 0
    clip.unlink()
    assert generation(key) == 1
    assert generation(key) == 1, "asked again before it was made again"
    clip.write_bytes(b"clip")
    delivered(key, clip, complete=True)
    assert generation(key) == 1


def test_two_nodes_of_the_same_constants_are_both_watched(tmp_path):
    key = inputs_key({"seed": 2})
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for clip in clips:
        clip.write_bytes(b"clip")
        delivered(key, clip, complete=True)
    for count, clip in enumerate(clips, 1):
        clip.unlink()
        assert generation(key) == count


def test_a_part_is_worked_on_again_and_a_whole_clip_is_not(tmp_path):
    key, path = inputs_key({"seed": 9, "job_name": "part"}), tmp_path / "part.mp4"
    path.touch()
    before = generation(key)
    delivered(key, path, complete=False)
    after = generation(key)
    assert after != before
    delivered(key, path, complete=True)
    assert generation(key) == after == generation(key)
