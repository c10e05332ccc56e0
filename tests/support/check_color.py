"""Golden checker of colour matching."""

import itertools

import torch
from golden import Case, assert_close, checks

from endless_talk.video.color import ColorAnchor, lab_from_pixels, pixels_from_lab


@checks("V10 colour correction")
def check_color(case: Case) -> None:
    video, reference = case.tensors["in.video"], case.tensors["in.reference"]
    assert video.shape[0] == reference.shape[0] == reference.shape[2] == 1
    for strength in case.spec["strengths"]:
        name = "out.strength_" + str(float(strength)).replace(".", "p")
        corrected = ColorAnchor(reference[0, :, 0], strength).apply(video[0])
        expected = case.tensors[name][0]
        for index in range(video.shape[2]):
            what = f"{case.name} {name} frame {index}"
            source, ours = video[0, :, index], corrected[:, index]
            if strength and is_flat(source):
                check_flat(source, reference[0, :, 0], strength, (ours, expected[:, index]), case)
            else:
                assert_close(ours, expected[:, index], case.spec["tolerance"], what)


def is_flat(frame) -> bool:
    """Whether a frame [3, H, W] is one colour."""
    return bool((frame == frame[:, :1, :1]).all())


def check_flat(source, reference, strength, frames, case: Case) -> None:
    """A frame of one colour: ours takes the reference's mean, the published one may miss it.

    The published code compares the deviation with exactly 0. Rounding misses that as often as not,
    and a channel then moves by one deviation of the reference, up or down (docs/parity.md).
    """
    ours, published = frames
    lab = lab_from_pixels(reference).flatten(1)
    mean, deviation = lab.mean(1), lab.std(1, correction=0)
    tolerance = case.spec["tolerance"]
    near = []
    for moves in itertools.product((0, 1, -1), repeat=3):
        moved = mean + torch.tensor(moves) * deviation
        color = torch.lerp(source.clamp(-1, 1), pixels_from_lab(moved)[:, None, None], strength)
        near.append((published - color).abs().max() <= tolerance["atol"] + tolerance["rtol"])
        if moves == (0, 0, 0):
            assert_close(ours, color, tolerance, "a flat frame")
    assert any(near), "the published flat frame is no artefact of rounding either"
