"""Golden checker of colour matching."""

from golden import Case, assert_close, checks

from endless_talk.video.color import ColorAnchor


@checks("V10 colour correction")
def check_color(case: Case) -> None:
    video, reference = case.tensors["in.video"], case.tensors["in.reference"]
    assert video.shape[0] == reference.shape[0] == reference.shape[2] == 1
    for strength in case.spec["strengths"]:
        name = "out.strength_" + str(float(strength)).replace(".", "p")
        corrected = ColorAnchor(reference[0, :, 0], strength).apply(video[0])
        assert_close(
            corrected[None], case.tensors[name], case.spec["tolerance"], f"{case.name} {name}"
        )
