"""Golden checkers: sizes and crop boxes, resized pixels, person masks."""

import torch
from golden import Case, checks

from endless_talk.crop import crop_box
from endless_talk.masks.regions import box_mask, published_box, speaker_masks, split_evenly
from endless_talk.masks.tokens import fit_masks, latent_masks
from endless_talk.reference.pictures import fit_picture, resize_crop
from endless_talk.reference.sizes import bucket_key, choose_size

SIZE_NAME_OF_BUCKET = {"infinitetalk-480": "480p bucket", "infinitetalk-720": "720p bucket"}


def assert_box(box, row: dict) -> None:
    """Compare a box with whichever of its numbers a row gives."""
    found = {
        "resized_h": box.resized_size[0],
        "resized_w": box.resized_size[1],
        "crop_top": box.top,
        "crop_left": box.left,
    }
    expected = {name: row[name] for name in found if name in row}
    assert {name: found[name] for name in expected} == expected, row


@checks("V8 bucket choice and resize/crop box")
def check_bucket_rows(case: Case) -> None:
    assert case.spec["rows"]
    for row in case.spec["rows"]:
        source = (row["source_h"], row["source_w"])
        name = SIZE_NAME_OF_BUCKET[row["bucket"]]
        assert bucket_key(name, source) == row["key"], row
        size = choose_size(name, source)
        assert size == (row["target_h"], row["target_w"]), row
        assert_box(crop_box(source, size), row)


@checks("V8 resize and centre crop pixels")
def check_resized_pixels(case: Case) -> None:
    # The JSON allows one level to resizers other than Pillow; ours is Pillow, so all is exact.
    for index, item in enumerate(case.spec["items"]):
        box = crop_box(tuple(item["source"]), tuple(item["target"]))
        assert_box(box, item)
        tensors = case.tensors
        picture = tensors[f"in.image_{index}"].numpy()
        pixels = torch.from_numpy(resize_crop(picture, box)).permute(2, 0, 1)
        assert torch.equal(pixels[None, :, None], tensors[f"out.image_{index}"])
        frame = fit_picture(picture, box.size)
        assert torch.equal(frame[None, :, None], tensors[f"out.normalised_{index}"])
        masks = fit_masks(tensors[f"in.mask_{index}"], box)
        assert torch.equal(masks, tensors[f"out.mask_{index}"])


@checks("V8 person masks (ref_target_masks)")
def check_person_masks(case: Case) -> None:
    for index, item in enumerate(case.spec["items"]):
        source = (item["source_h"], item["source_w"])
        box = crop_box(source, (item["target_h"], item["target_w"]))
        masks = latent_masks(published_masks(item, source), box)
        expected = case.tensors[f"out.masks_{index}"]
        assert torch.equal(masks, expected), f"person masks {index}: {item}"


def published_masks(item: dict, source: tuple[int, int]) -> torch.Tensor:
    """Class masks in the published layout; one person is all three classes everywhere."""
    if item["persons"] == 1:
        return torch.ones(3, *source)
    boxes = item.get("bbox")
    if not boxes:
        border = item.get("face_scale", 0.05)
        return speaker_masks(split_evenly(source, item["persons"], border))
    return speaker_masks(torch.stack([published_region(b, source) for b in boxes.values()]))


def published_region(bbox: list, source: tuple[int, int]) -> torch.Tensor:
    """A published box on its picture, also where ours would be refused or read as shares."""
    left, top, right, bottom = published_box(bbox)
    region = torch.zeros(source)
    region[top:bottom, left:right] = 1
    if max(left, top, right, bottom) > 1 and region.any():
        assert torch.equal(box_mask(source, (left, top, right, bottom)), region)
    return region
