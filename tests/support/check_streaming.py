"""Golden checker of the streaming loop: each chunk on its own, then the whole loop running free."""

import torch
from check_models import build, build_vae, dit_config, sibling_config
from check_samplers import STORED_NAMES
from golden import Case, assert_close, checks

from endless_talk.audio.windows import TensorFeatures, audio_windows, mirror_tail
from endless_talk.crop import crop_box
from endless_talk.masks.regions import box_mask, published_box, speaker_masks, split_evenly
from endless_talk.masks.tokens import latent_masks, token_masks
from endless_talk.models.routing import SpeakerRouting
from endless_talk.reference.sources import FramesReference
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import AdaptiveProjectedGuidance, TalkGuidance
from endless_talk.samplers.plan import plan_chunks
from endless_talk.samplers.schedule import TIMESTEPS, flow_sigmas
from endless_talk.samplers.streaming import Sampling, stream_clip
from endless_talk.standalone import WanConditioner, WanPredictor
from endless_talk.video.color import ColorAnchor


class RecordingCodec:
    """The VAE, remembering the latents it was given to decode and what came out."""

    def __init__(self, vae):
        self.vae = vae
        self.latents, self.decoded = [], []

    def encode(self, frames):
        return self.vae.encode(frames)

    def decode(self, latents):
        self.latents.append(latents)
        blocks = []
        self.decoded.append(blocks)
        for block in self.vae.decode(latents):
            blocks.append(block)
            yield block


class MemorySink:
    """Keeps the clip, for comparison only."""

    def __init__(self):
        self.blocks = []

    def append(self, frames):
        self.blocks.append(frames)

    def commit(self, state):
        pass

    def recall(self, chunk):
        return None


class PublishedStream:
    """A streaming case put together from the product's parts and the published rules."""

    def __init__(self, case: Case):
        self.case, self.settings = case, case.spec["settings"]
        names = case.spec["weights"]
        config = dit_config(case, names["dit"])
        self.model, self.adapter = build(case, config=config, names=names["dit"])
        vae_config = sibling_config(case, "VAE", names["vae"][0])
        self.codec = RecordingCodec(build_vae(case, names["vae"], vae_config))
        self.size = tuple(case.spec["target_size"])
        self.reference = FramesReference(case.tensors["in.cond_frames"].numpy(), self.size)
        self.tracks = [
            case.tensors[f"in.audio_embedding_person{index + 1}"]
            for index in range(case.spec["speakers"])
        ]
        self.plan = self.published_plan()
        self.sigmas = flow_sigmas(self.settings["sampling_steps"], self.settings["shift"])
        self.guidance = self.published_guidance()
        self.predictor = WanPredictor(self.model, self.adapter, routing=self.routing())
        self.denoiser = EulerDenoiser(self.predictor, self.guidance)

    def published_plan(self):
        """Chunks as published: the first speaker decides their number, the last the length."""
        frames, limit = self.settings["frame_num"], self.settings["max_frames_num"]
        context = self.settings["motion_frame"]
        lengths = [len(track) for track in self.tracks]
        plan = plan_chunks(min(limit, lengths[0]), frames, context)
        self.last_index = plan[-1].index
        total = min(plan[-1].stop_frame, limit)
        if limit > frames and plan[-1].stop_frame >= lengths[-1]:
            total = min(total, lengths[-1])
        return plan_chunks(total, frames, context)

    def published_guidance(self):
        text, audio = self.settings["text_guide_scale"], self.settings["audio_guide_scale"]
        if not self.settings["use_apg"]:
            return TalkGuidance(text, audio)
        return AdaptiveProjectedGuidance(
            text,
            audio,
            momentum=self.settings["apg_momentum"],
            norm_threshold=self.settings["apg_norm_threshold"],
        )

    def routing(self):
        if len(self.tracks) == 1:
            return None
        source = tuple(self.case.tensors["in.cond_frames"].shape[1:3])
        bbox = self.case.spec["bbox"]
        if bbox:
            boxes = [published_box(box) for box in bbox.values()]
            regions = torch.stack([box_mask(source, box) for box in boxes])
        else:
            regions = split_evenly(source, len(self.tracks), self.settings["face_scale"])
        masks = latent_masks(speaker_masks(regions), crop_box(source, self.size))
        expected = self.case.tensors["mid.ref_target_masks"]
        assert_close(masks, expected, {"exact": True}, "reference masks")
        return SpeakerRouting(token_masks(masks))

    def windows(self, source, chunk):
        """Audio windows with the published tail: mirrored in the last chunk, clamped before."""
        features = source.features(0, source.frames)
        if 0 < chunk.index == self.last_index and chunk.stop_frame >= source.frames:
            features = mirror_tail(features, chunk.stop_frame)
        return audio_windows(features, chunk.start_frame, chunk.frames)

    def image_tokens(self, reference):
        stub = self.case.spec["clip_stub"]
        tokens = self.case.shared(stub["base"].split(":")[0])
        return stub["sign"] * tokens * (1 + 0.5 * reference.mean())

    def conditioner(self):
        return WanConditioner(
            self.model,
            self.adapter,
            self.codec,
            texts={
                "positive": self.case.tensors["in.context"],
                "negative": self.case.tensors["in.context_null"],
            },
            voices=[TensorFeatures(track) for track in self.tracks],
            image_tokens=self.image_tokens,
            windows=self.windows,
        )


def check_plan(stream: PublishedStream) -> None:
    chunks = stream.case.spec["chunks"]
    # A chunk whose frames are all cut off is published work that we do not do.
    assert len(stream.plan) <= len(chunks)
    for chunk, stored in zip(stream.plan, chunks, strict=False):
        assert (chunk.start_frame, chunk.stop_frame) == (stored["audio_start"], stored["audio_end"])
        frame = stream.reference.frame(stored["cond_frame_requested"])
        expected = stream.case.tensors[f"mid.cond_image_chunk{chunk.index}"][0, :, 0]
        assert_close(frame, expected, {"atol": 2 / 255 + 1e-6}, f"reference frame {chunk.index}")
        assert_close(
            frame.mean(), expected.mean(), {"atol": 1e-4}, f"reference frame {chunk.index} mean"
        )
    expected = stream.case.tensors["mid.timesteps"]
    assert_close(stream.sigmas * TIMESTEPS, expected, {"atol": 1e-3, "rtol": 1e-6}, "timesteps")


def check_chunk(stream: PublishedStream, chunk, conditioner) -> None:
    """One chunk from the stored inputs: conditions, predictions, then its own denoising."""
    tensors, index = stream.case.tensors, chunk.index
    tolerance = stream.case.spec["tolerance"]["first_chunk_or_teacher_forced"]
    frame = tensors[f"mid.cond_image_chunk{index}"][0, :, 0]
    conditions = conditioner.conditions(chunk, frame)
    assert_close(conditions.concat, tensors[f"mid.y_chunk{index}"], tolerance["y"], f"y {index}")
    held = tensors[f"mid.motion_latents_chunk{index}"]
    if index == 0:
        latent = stream.codec.encode(frame[:, None])
        assert_close(latent, held, tolerance["latents"], "first context latent")
    stream.predictor.begin_chunk()
    for branch in stream.guidance.branches(1.0):
        name = f"mid.pred_{STORED_NAMES[branch]}_chunk{index}"
        for step, expected in enumerate(tensors.get(name, ())):
            latents = tensors[f"mid.latent_before_steps_chunk{index}"][step]
            sigma = stream.sigmas[step].item()
            predicted = stream.predictor.predict(latents, sigma, branch, conditions)
            assert_close(predicted, expected, tolerance["predictions"], f"{name} step {step}")
    latents = stream.denoiser.denoise(
        tensors[f"in.noise_chunk{index}"], conditions, stream.sigmas, held=held
    )
    expected = tensors[f"out.final_latent_chunk{index}"]
    assert_close(latents, expected, tolerance["latents"], f"latents of chunk {index}")


def check_free_running(stream: PublishedStream) -> None:
    """The whole loop, only the noise injected."""
    case = stream.case
    tolerance = case.spec["tolerance"]["free_running"]
    strength = case.spec["settings"]["color_correction_strength"]
    stream.codec.latents, stream.codec.decoded = [], []
    sink, anchor = MemorySink(), ColorAnchor(stream.reference.first, strength)
    stream_clip(
        stream.plan,
        reference=stream.reference,
        conditioner=stream.conditioner(),
        denoiser=stream.denoiser,
        codec=stream.codec,
        sink=sink,
        sampling=lambda chunk: Sampling(
            case.tensors[f"in.noise_chunk{chunk.index}"], stream.sigmas
        ),
        color=(lambda _: anchor) if strength else None,
    )
    for index, latents in enumerate(stream.codec.latents):
        expected = case.tensors[f"out.final_latent_chunk{index}"]
        assert_close(latents, expected, tolerance["latents"], f"free-running chunk {index}")
        if f"mid.decoded_chunk{index}" in case.tensors:
            decoded = torch.cat(stream.codec.decoded[index], dim=1)
            expected = case.tensors[f"mid.decoded_chunk{index}"][:, : decoded.shape[1]]
            assert_close(decoded, expected, tolerance["video"], f"decoded chunk {index}")
    video = torch.cat(sink.blocks, dim=1)
    assert_close(video, case.tensors["out.video"], tolerance["video"], "video")


@checks("V9 streaming loop")
@torch.no_grad()
def check_streaming(case: Case) -> None:
    stream = PublishedStream(case)
    check_plan(stream)
    conditioner = stream.conditioner()
    for chunk in stream.plan:
        check_chunk(stream, chunk, conditioner)
    check_free_running(stream)
