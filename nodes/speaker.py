"""Encode Speaker: a voice, who says it, and when.

Knows the host's AUDIO and VIDEO values. Features are made when the sampler asks for them.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import Input, InputImpl, io
from torch import Tensor

from ..audio.speech import Speech as SpeechValue
from ..audio.speech import make_speaker, single_waveform
from ..audio.video_sound import video_sound
from ..errors import InputError
from ..masks.faces import Faces as FacesValue
from ..masks.finding import speaker_region
from ..masks.pooling import ANY
from ..masks.tracks import FaceTracks
from ..model_loaders.wav2vec import HostWav2Vec
from .sockets import Faces, Speech, Wav2Vec, show_under_node


def sound_of(audio: dict | Input.Video | None) -> tuple[Tensor, int]:
    """The waveform ``[channels, n]`` and rate of an AUDIO, or of the sound of a VIDEO.

    Of a file only the sound is decoded, never its pictures.

    Raises:
        InputError: There is no sound, or one that cannot be used.
    """
    held: Any = audio
    if isinstance(audio, InputImpl.VideoFromComponents):
        held = audio.get_components().audio  # in memory already
    if held is None:
        raise InputError(
            "There is no sound; connect AUDIO with the voice, or a video that has a sound track."
        )
    if isinstance(held, dict):
        return single_waveform(held["waveform"]), int(held["sample_rate"])
    start, duration = held.get_active_trim_window()
    waveform, rate_hz = video_sound(
        held.get_stream_source(), start_seconds=start, duration_seconds=duration
    )
    return single_waveform(waveform[None]), rate_hz


def sockets() -> list[io.Input]:
    """What is connected."""
    return [
        io.MultiType.Input(
            "audio",
            [io.Audio, io.Video],
            tooltip="The voice, or a video whose sound it is. Mono, stereo, 5.1 or 7.1; "
            "the clip is as long as the longest voice. Separate music from it first.",
        ),
        Wav2Vec.Input("wav2vec", tooltip="From Load Wav2Vec2; the same for all speakers."),
        Speech.Input(
            "others",
            optional=True,
            tooltip="Speakers before this one. Two and more need the Multi adapter, and a "
            "face or a mask each.",
        ),
        Faces.Input(
            "faces",
            optional=True,
            tooltip="From Face Masks; 'face' tells which of them speaks.",
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Instead of faces: where this speaker is, painted on the source "
            "picture, at its size.",
        ),
    ]


def widgets() -> list[io.Input]:
    """What is set on the node; the order is that of saved graphs."""
    return [
        io.Int.Input(
            "face",
            default=0,
            min=0,
            max=64,
            optional=True,
            tooltip="Which face of 'faces' speaks: 1 is the first from the left, in a video of "
            "those that appear first. 0 is the whole picture (or the mask).",
        ),
        io.Float.Input(
            "start",
            default=0.0,
            min=0.0,
            max=36000.0,
            step=0.04,
            optional=True,
            tooltip="Seconds into the clip at which this voice begins. Before and after "
            "it the speaker is silent.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.0,
            max=4.0,
            step=0.05,
            optional=True,
            tooltip="Factor on what this voice moves in the picture. 1 is as trained; "
            "below, the mouth moves less.",
        ),
        io.Boolean.Input(
            "normalize_loudness",
            default=True,
            optional=True,
            advanced=True,
            tooltip="Bring the voice to -23 LUFS before encoding, as the adapter was "
            "trained. The sound of the clip is not changed.",
        ),
    ]


class Speaker(io.ComfyNode):
    """One voice more in the clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EndlessTalkSpeaker",
            display_name="Encode Speaker",
            category="EndlessTalk/prepare",
            description="A voice and who says it. Chain several: connect the speech of one to "
            "'others' of the next. Nothing is encoded before the sampler runs.",
            search_aliases=[
                "InfiniteTalk",
                "MultiTalk",
                "voice",
                "wav2vec2",
                "lip sync",
                "dubbing",
            ],
            inputs=[*sockets(), *widgets()],
            outputs=[
                Speech.Output(
                    "speech",
                    tooltip="All speakers so far, for the sampler or the next Encode Speaker.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        audio: dict | Input.Video,
        wav2vec: HostWav2Vec,
        others: SpeechValue | None = None,
        faces: FacesValue | FaceTracks | None = None,
        mask: Tensor | None = None,
        face: int = 0,
        start: float = 0.0,
        strength: float = 1.0,
        normalize_loudness: bool = True,
    ) -> io.NodeOutput:
        waveform, rate_hz = sound_of(audio)
        speaker = make_speaker(
            waveform,
            rate_hz,
            wav2vec,
            start_seconds=start,
            strength=strength,
            region=speaker_region(faces, face, mask),
            normalize=normalize_loudness,
            track=None if faces is None else faces.track(face),
            rule=ANY if faces is None else faces.rule,
        )
        speech = others.joined_by(speaker) if others else SpeechValue((speaker,))
        show_under_node(cls.hidden.unique_id, speech.summary)
        return io.NodeOutput(speech)
