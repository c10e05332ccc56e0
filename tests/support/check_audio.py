"""Checkers of the audio kinds: frame counts, loudness, wav2vec2 features, windows, speakers."""

import json

import numpy as np
import torch
from golden import Case, assert_close, checks

from endless_talk.audio.features import FeatureTrack, published_frame_count
from endless_talk.audio.loudness import BLOCK_SECONDS, integrated_loudness, normalize_loudness
from endless_talk.audio.speakers import combine_speakers
from endless_talk.audio.track import SAMPLE_RATE_HZ, Track
from endless_talk.audio.windows import (
    WINDOW_OFFSETS,
    audio_window_indices,
    audio_windows,
    mirror_tail,
)
from endless_talk.frames import FPS
from endless_talk.models.wav2vec import load_wav2vec
from endless_talk.models.wav2vec_keys import detect_wav2vec

LUFS_TOLERANCE = {"atol": 1e-4, "rtol": 0.0}


@checks("V1 audio features")
def check_audio_features(case: Case) -> None:
    if "cases" in case.spec:
        for samples, frames in case.spec["cases"]:
            assert published_frame_count(samples) == frames, f"{samples} samples"
    if "config" in case.spec:
        check_encoder(case)


def check_encoder(case: Case) -> None:
    spec, tensors = case.spec, case.tensors
    assert (spec["sample_rate"], spec["fps"]) == (SAMPLE_RATE_HZ, FPS)
    tolerance = spec["tolerance"]["embedding"]
    waveform = tensors["in.waveform"].numpy()
    name = next(name for name in tensors if name.startswith("out.waveform_lufs"))
    loud = torch.from_numpy(normalize_loudness(waveform, spec["target_lufs"]))
    assert_close(loud, tensors[name], spec["tolerance"]["loudness"], name)
    check_loudness_value(waveform, spec["input_loudness_lufs"])

    encoder = encoder_of(case)
    frames = published_frame_count(waveform.size)
    assert frames == spec["frames"]
    track = FeatureTrack(encoder, tensors[name].numpy(), frames=frames)
    with torch.no_grad():
        prepared = encoder.prepare(tensors[name][None])
        assert_close(prepared[0], tensors["out.input_values"], tolerance, "input_values")
        convolved = encoder.convolve(prepared, encoder.measure(prepared))
        assert_close(convolved, tensors["mid.conv_features"], tolerance, "conv_features")
        resampled = track.convolution_features(0, frames)[None]
        assert_close(
            resampled, tensors["mid.conv_features_interp"], tolerance, "conv_features_interp"
        )
        assert_close(encoder.embed(resampled), tensors["mid.hidden_0"], tolerance, "hidden_0")
        whole = encoder(tensors[name][None], frames)[0]
    assert_close(whole, tensors["out.embedding"], tolerance, "embedding, the published way")
    assert_close(
        track.features(0, frames), tensors["out.embedding"], tolerance, "embedding of the track"
    )


def encoder_of(case: Case):
    weights = case.weights()
    settings = case.spec["config"]
    config = detect_wav2vec(
        {name: tuple(tensor.shape) for name, tensor in weights.items()},
        {"config": json.dumps({"wav2vec2": settings})},
    )
    found = {
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_dim,
        "conv_dim": list(config.conv_dims),
        "conv_kernel": list(config.conv_kernels),
        "conv_stride": list(config.conv_strides),
        "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups,
        "do_normalize": config.normalize_waveform,
    }
    for name, value in found.items():
        assert settings.get(name, value) == value, name
    return load_wav2vec(config, weights)


def check_loudness_value(waveform: np.ndarray, expected: float | str | None) -> None:
    loudness = integrated_loudness(waveform)
    if expected is None:
        assert loudness is None
    else:
        value = torch.tensor([loudness], dtype=torch.float64)
        if float(expected) == -np.inf:
            assert loudness == -np.inf
        else:
            assert_close(value, torch.tensor([float(expected)]), LUFS_TOLERANCE, "loudness")


@checks("V1 loudness normalisation")
def check_loudness(case: Case) -> None:
    for index, item in enumerate(case.spec["items"]):
        waveform = case.tensors[f"in.waveform_{index}"].numpy()
        assert waveform.size == item["samples"]
        check_loudness_value(waveform, item["input_lufs"])
        result = normalize_loudness(waveform, case.spec["target_lufs"])
        if item["error"]:
            # The published meter raises on sound shorter than one block; ours leaves it alone.
            assert waveform.size < BLOCK_SECONDS * SAMPLE_RATE_HZ, item["error"]
            assert np.array_equal(result, waveform)
            continue
        if item["unchanged"]:
            assert np.array_equal(result, waveform)
        assert_close(
            torch.from_numpy(result),
            case.tensors[f"out.waveform_{index}"],
            case.spec["tolerance"],
            f"waveform_{index}",
        )


@checks("V2 audio windows")
def check_windows(case: Case) -> None:
    spec, tensors = case.spec, case.tensors
    assert spec["window_offsets"] == list(WINDOW_OFFSETS)
    embedding, tolerance = tensors["in.embedding"], spec["tolerance"]
    for index, (start, end) in enumerate(spec["spans"]):
        indices = audio_window_indices(start, end - start, embedding.shape[0])
        assert_close(indices, tensors[f"out.indices_{index}"], {"exact": True}, f"indices_{index}")
        windows = audio_windows(embedding, start, end - start)
        assert_close(windows, tensors[f"out.windows_{index}"], tolerance, f"windows_{index}")
    for extension in spec["extensions"]:
        index = extension["span"]
        start, end = spec["spans"][index]
        extended = mirror_tail(embedding, end)
        assert extended.shape[0] == extension["new_length"]
        name = f"extended_embedding_{index}"
        assert_close(extended, tensors[f"out.{name}"], tolerance, name)
        name = f"windows_after_extension_{index}"
        windows = audio_windows(extended, start, end - start)
        assert_close(windows, tensors[f"out.{name}"], tolerance, name)


@checks("V12 two-speaker audio combination")
def check_speakers(case: Case) -> None:
    tensors = case.tensors
    names = [name for name in tensors if name.startswith("out.")]
    assert names
    for name in names:
        _, combination, which = name.split(".")
        combined = combine_speakers(voices(case, combination), combination.split("_")[0])
        tracks = {"speaker1": combined.tracks[0], "speaker2": combined.tracks[1]}
        track = {**tracks, "sum": combined.mix}[which]
        assert_close(torch.from_numpy(track.samples), tensors[name], case.spec["tolerance"], name)
    if case.spec["para_with_different_lengths"]["reference_result"] == "raises":
        check_unequal_lengths(voice(tensors["in.waveform_1"]), voice(tensors["in.waveform_2"]))


def voices(case: Case, combination: str) -> list[Track | None]:
    """Who speaks in a combination such as `add`, `para_same_length` or `add_no_right`."""
    second = "in.waveform_2_same_length" if "same_length" in combination else "in.waveform_2"
    left = None if "no_left" in combination else voice(case.tensors["in.waveform_1"])
    right = None if "no_right" in combination else voice(case.tensors[second])
    return [left, right]


def check_unequal_lengths(first: Track, second: Track) -> None:
    # By design: where the published sum raises, the shorter voice is followed by silence.
    combined = combine_speakers([first, second], "para")
    longest = max(first.samples.size, second.samples.size)
    assert [track.samples.size for track in combined.tracks] == [longest, longest]
    for track, alone in zip(combined.tracks, (first, second), strict=True):
        own = alone.samples.size
        assert np.array_equal(track.samples[:own], normalize_loudness(alone.samples))
        assert not track.samples[own:].any()


def voice(waveform: torch.Tensor) -> Track:
    return Track(waveform.numpy(), waveform.numel() / SAMPLE_RATE_HZ)
