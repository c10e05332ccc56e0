"""Help pages against what they describe, where a reader depends on every word of it."""

import re
from pathlib import Path

import tiny

PAGES = Path(__file__).resolve().parents[2] / "web" / "docs"


def described_keys(page):
    """Keys of the table of a page: ``a.weight``, and others of the same row."""
    for row in re.findall(r"^\| (`(?:audio_encoder|double_blocks)\..*?) \|", page, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", row)
        yield first
        stem = first.rsplit(".", 1)[0]
        for other in others:
            yield stem + other if other.startswith(".") else f"{stem.rsplit('.', 1)[0]}.{other}"


def test_the_keys_of_an_adapter_for_hunyuanvideo_are_those_of_the_page():
    page = (PAGES / "EndlessTalkLoadModel.md").read_text(encoding="utf-8")
    keys = tiny.hybrid_adapter().state_dict()
    ours = {re.sub(r"(double|single)_blocks\.\d+", r"\1_blocks.N", key) for key in keys}
    described = set(described_keys(page))
    assert described == {key for key in ours if not key.startswith("single")}
    assert "| `single_blocks.N.audio_attn.*` | the same |" in page
    assert {key.replace("single", "double") for key in ours} == {
        key for key in ours if key.startswith("double")
    } | {key for key in ours if key.startswith("audio_encoder")}
