"""Golden checkers of the networks: audio projection, DiT, TeaCache inside it, VAE."""

import json
import re

import torch
from golden import Case, assert_close, checks, load_case

from endless_talk.models.adapter import AudioAdapter, AudioPass, group_audio_windows
from endless_talk.models.configs import AdapterConfig, VAEConfig, WanConfig
from endless_talk.models.routing import (
    KEY_POSITIONS,
    SpeakerRouting,
    reference_attention_map,
    speaker_positions,
)
from endless_talk.models.wan import WanModel
from endless_talk.models.wan_vae import LATENT_MEAN, LATENT_STD, WanVAE

ADAPTER_PARTS = (".audio_cross_attn.", ".norm_x.")


def split_weights(weights):
    """Base and adapter halves of a merged state dict."""
    adapter = {
        key: value
        for key, value in weights.items()
        if key.startswith("audio_proj.") or any(part in key for part in ADAPTER_PARTS)
    }
    return {key: value for key, value in weights.items() if key not in adapter}, adapter


def adapter_config(weights, config):
    """Adapter sizes: from the case where it gives them, the rest from the weights' shapes."""
    blocks = {key.split(".")[1] for key in weights if key.startswith("blocks.")}
    windows = config.get("seq_len", config.get("audio_window", 5))
    feature_size = weights["audio_proj.proj1.weight"].shape[1] // windows
    return AdapterConfig(
        dim=weights["blocks.0.norm_x.weight"].shape[0],
        layers=len(blocks),
        feature_size=feature_size,
        first_window=windows,
        group_window=weights["audio_proj.proj1_vf.weight"].shape[1] // feature_size,
        hidden=config["intermediate_dim"],
        tokens=config["context_tokens"],
        token_dim=config["output_dim"],
    )


def wan_config(config, weights):
    return WanConfig(
        dim=config["dim"],
        ffn_dim=config["ffn_dim"],
        heads=config["num_heads"],
        layers=config["num_layers"],
        in_channels=config["in_dim"],
        out_channels=config["out_dim"],
        text_dim=config["text_dim"],
        text_tokens=config["text_len"],
        freq_dim=config["freq_dim"],
        image_branch="blocks.0.cross_attn.k_img.weight" in weights,
        image_dim=config.get("clip_dim"),
        eps=config["eps"],
    )


def load(module, weights):
    module.load_state_dict(weights, strict=True)
    return module.eval().requires_grad_(False)


def build(case, config=None, names=None):
    """The DiT and the adapter of a case."""
    weights = case.weights(names)
    config = config or case.spec["config"]
    base, adapter = split_weights(weights)
    model = load(WanModel(wan_config(config, base)), base)
    return model, load(AudioAdapter(adapter_config(adapter, config)), adapter)


def dit_config(case, names=None):
    """The DiT sizes of a case; some only say "as in the DiT cases using the same weights"."""
    if "config" in case.spec:
        return case.spec["config"]
    return sibling_config(case, "DiT ", (names or case.spec["weights"])[0])


def sibling_config(case, kind, weights):
    """The config of a case of another kind that uses the same weights file."""
    for path in sorted(case.folder.glob("*.json")):
        spec = json.loads(path.read_text())
        if kind in spec["kind"] and weights in spec.get("weights", ()) and "config" in spec:
            return spec["config"]
    raise LookupError(f"no {kind} case in {case.folder} uses {weights}")


def clip_tokens(case):
    spec = case.spec["shared_inputs"]["in.clip_fea"]
    return case.shared(spec["file"]) * spec["multiply_by"]


@checks("V3 audio projection")
def check_projection(case: Case) -> None:
    _, weights = split_weights(case.weights())
    adapter = load(AudioAdapter(adapter_config(weights, case.spec["config"])), weights)
    tolerance = case.spec["tolerance"]
    first, later = group_audio_windows(case.tensors["in.audio"])
    assert_close(first, case.tensors["mid.first"], tolerance, "first windows")
    assert_close(later, case.tensors["mid.latter"], tolerance, "later windows")
    tokens = adapter.project(case.tensors["in.audio"])
    assert_close(tokens[0], case.tensors["out.audio_proj"], tolerance, "audio projection")
    together = tokens.transpose(1, 2).flatten(2, 3)
    assert_close(together, case.tensors["out.audio_tokens"], tolerance, "audio tokens")


class Recorder:
    """An audio pass that also records what the case's `mid` tensors hold."""

    def __init__(self, inner: AudioPass, model: WanModel):
        self.inner = inner
        self.maps, self.positions, self.seen = [], [], {}
        block = model.blocks[0]
        block.self_attn.register_forward_hook(self.keep("mid.self_attn0"))
        block.cross_attn.register_forward_hook(self.keep("mid.cross_attn0"))
        block.register_forward_hook(self.keep("mid.block0"))
        block.register_forward_pre_hook(self.enter)
        inner.adapter.blocks[0].audio_cross_attn.register_forward_hook(self.keep("mid.audio_attn0"))

    def keep(self, name):
        def hook(_module, _inputs, output):
            self.seen.setdefault(name, output)

        return hook

    def enter(self, _module, inputs):
        self.seen.setdefault("mid.tokens_in", inputs[0])
        self.seen.setdefault("mid.e0", inputs[1])
        text, image = inputs[3]
        self.seen.setdefault("mid.context", torch.cat([image, text], dim=1))

    def after_self_attention(self, q, k):
        routing = self.inner.routing
        if routing is not None:
            attended = reference_attention_map(
                q, k[:, : routing.token_masks.shape[1]], routing.token_masks
            )
            self.maps.append(attended[0])
            self.positions.append(speaker_positions(attended)[0])
        self.inner.after_self_attention(q, k)

    def after_cross_attention(self, index, x):
        return self.inner.after_cross_attention(index, x)


def token_masks(masks):
    """Class masks [K, h, w] on the token grid, nearest, flattened."""
    size = (masks.shape[1] // 2, masks.shape[2] // 2)
    resized = torch.nn.functional.interpolate(masks[None].float(), size=size, mode="nearest")
    return (resized[0] > 0).float().flatten(1)


def predict(case, model, adapter, audio, record=False):
    routing = None
    if len(audio) > 1:
        routing = SpeakerRouting(token_masks(case.tensors["in.ref_target_masks"]))
    hooks = AudioPass(adapter, adapter.project(audio), model.config.heads, routing)
    if record:
        hooks = Recorder(hooks, model)
    velocity = model(
        case.tensors["in.x"][None],
        case.tensors["in.t"],
        model.embed_contexts(case.tensors["in.context"][None], clip_tokens(case)),
        concat=case.tensors["in.y"],
        audio=hooks,
    )
    return velocity[0], hooks


def check_mids(case: Case, recorder: Recorder) -> None:
    for name, seen in recorder.seen.items():
        if name not in case.tensors:
            continue
        if name == "mid.context" and case.tensors[name].shape != seen.shape:
            image_tokens = seen.shape[1] - case.spec["config"]["text_len"]
            rows = [int(row) for row in re.findall(r"\d+", case.spec["mid.context_rows"])]
            seen = torch.cat([seen[:, rows], seen[:, image_tokens:]], dim=1)
        assert_close(seen, case.tensors[name], case.spec["tolerance"]["mid"], name)


@checks("V4 DiT one speaker")
def check_one_speaker(case: Case) -> None:
    model, adapter = build(case)
    velocity, recorder = predict(case, model, adapter, case.tensors["in.audio"], record=True)
    check_mids(case, recorder)
    assert "mid.block0" in recorder.seen
    tolerance = case.spec["tolerance"]["out.velocity"]
    assert_close(velocity, case.tensors["out.velocity"], tolerance, "velocity")


@checks("V5 DiT two speakers")
def check_two_speakers(case: Case) -> None:
    model, adapter = build(case)
    tolerance = case.spec["tolerance"]
    velocity, recorder = predict(case, model, adapter, case.tensors["in.audio"], record=True)
    if "mid.token_masks" in case.tensors:
        ours = token_masks(case.tensors["in.ref_target_masks"])
        assert_close(ours, case.tensors["mid.token_masks"], {"exact": True}, "token masks")
    for block, (attended, positions) in enumerate(
        zip(recorder.maps, recorder.positions, strict=True)
    ):
        expected = case.tensors[f"out.x_ref_attn_map_block{block}"]
        assert_close(attended, expected, tolerance["x_ref_attn_map"], f"attention map {block}")
        expected = case.tensors[f"out.rope_pos_visual_block{block}"]
        assert_close(positions, expected, tolerance["rope_positions"], f"positions {block}")
    check_mids(case, recorder)
    tokens = case.spec["config"]["context_tokens"]
    speakers = len(case.tensors["in.audio"])
    expected = case.tensors["out.rope_pos_audio"].view(-1, speakers, tokens)
    ours = torch.tensor(KEY_POSITIONS[:speakers])[None, :, None].expand_as(expected)
    assert_close(ours, expected, tolerance["rope_positions"], "audio token positions")
    assert_close(velocity, case.tensors["out.velocity"], tolerance["out.velocity"], "velocity")
    silent, _ = predict(case, model, adapter, case.tensors["in.audio_zero"])
    expected = case.tensors["out.velocity_zero_audio"]
    assert_close(silent, expected, tolerance["out.velocity"], "velocity without audio")


def build_vae(case, names=None, config=None):
    config = config or case.spec["config"]
    vae = WanVAE(
        VAEConfig(
            width=config["dim"],
            multipliers=tuple(config["dim_mult"]),
            residual_blocks=config["num_res_blocks"],
            latent_channels=config["z_dim"],
            temporal_down=tuple(config["temperal_downsample"]),
        )
    )
    return load(vae, case.weights(names))


def check_statistics(case: Case) -> None:
    assert tuple(case.spec["latent_mean"]) == LATENT_MEAN
    assert tuple(case.spec["latent_std"]) == LATENT_STD


@checks("V11 VAE encode")
def check_vae_encode(case: Case) -> None:
    check_statistics(case)
    vae = build_vae(case)
    for item in case.spec["items"]:
        latents = vae.encode(case.tensors["in.video"][:, : item["frames"]])
        expected = case.tensors[f"out.latent_{item['frames']}frames"]
        assert_close(latents, expected, case.spec["tolerance"], f"{item['frames']} frames")


@checks("V11 VAE decode")
def check_vae_decode(case: Case) -> None:
    check_statistics(case)
    vae = build_vae(case)
    checked = 0
    for name, expected in case.tensors.items():
        if name.startswith("out.video_"):
            latents = int(re.findall(r"(\d+)latents", name)[0])
            frames = torch.cat([*vae.decode(case.tensors["in.latent"][:, :latents])], dim=1)
            assert_close(frames, expected, case.spec["tolerance"], name)
            checked += 1
    assert checked, "no decode in the case"
    if "out.roundtrip_of_encode" in case.tensors:
        name = re.findall(r"vae_encode_\w+", case.spec["note"])[0]
        source = load_case(case.folder / f"{name}.json")
        longest = max(item["frames"] for item in source.spec["items"])
        latents = source.tensors[f"out.latent_{longest}frames"]
        frames = torch.cat([*vae.decode(latents)], dim=1)
        expected = case.tensors["out.roundtrip_of_encode"]
        assert_close(frames, expected, case.spec["tolerance"], "round trip")
