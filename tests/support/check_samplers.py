"""Golden checkers of schedule, guidance, conditioning mask and TeaCache."""

import torch
from check_models import build, clip_tokens, dit_config
from golden import Case, assert_close, checks

from endless_talk.frames import SPATIAL_STRIDE, latent_frames
from endless_talk.models.adapter import AudioPass
from endless_talk.models.wan import PATCH
from endless_talk.samplers.conditioning import reference_mask
from endless_talk.samplers.denoise import EulerDenoiser
from endless_talk.samplers.guidance import AdaptiveProjectedGuidance, TalkGuidance
from endless_talk.samplers.schedule import TIMESTEPS, add_noise, flow_sigmas
from endless_talk.samplers.teacache import COEFFICIENTS, BranchCache, TeaCache

STORED_NAMES = {
    "full": "cond",
    "audio_only": "drop_text",
    "text_only": "drop_audio",
    "unconditional": "uncond",
}


@checks("V6 guidance")
def check_guidance(case: Case) -> None:
    rules = [
        (item, TalkGuidance(item["text_scale"], item["audio_scale"])) for item in case.spec["cfg"]
    ]
    for item in case.spec["apg"]:
        rule = AdaptiveProjectedGuidance(
            item["text_scale"],
            item["audio_scale"],
            momentum=item["momentum"],
            norm_threshold=item["norm_threshold"],
            eta=item["eta"],
        )
        rules.append((item, rule))
    assert rules
    for item, rule in rules:
        rule.begin_chunk()
        steps = [name for name in case.tensors if name.startswith(f"out.{item['name']}_step")]
        assert steps, f"no results for {item['name']}"
        for step in range(len(steps)):
            predictions = {
                name: case.tensors[f"in.{STORED_NAMES[name]}_step{step}"]
                for name in rule.branches(0.5)
            }
            combined = rule.combine(predictions, 0.5)
            expected = -case.tensors[f"out.{item['name']}_step{step}"]
            assert_close(combined, expected, case.spec["tolerance"], f"{item['name']} step {step}")


class FixedVelocity:
    """A network that always predicts the same."""

    def __init__(self, velocity):
        self.velocity = velocity

    def begin_chunk(self):
        pass

    def predict(self, latents, sigma, branch, conditions):
        return self.velocity


@checks("V7 schedule")
def check_schedule(case: Case) -> None:
    tolerance = case.spec["tolerance"]
    for combo in case.spec["combos"]:
        sigmas = flow_sigmas(combo["steps"], combo["shift"])
        expected = case.tensors[f"out.timesteps_{combo['key']}"]
        assert_close(sigmas * TIMESTEPS, expected, tolerance["timesteps"], combo["key"])
    euler = case.spec["euler"]
    sigmas = flow_sigmas(euler["combo"]["steps"], euler["combo"]["shift"])
    denoiser = EulerDenoiser(FixedVelocity(-case.tensors["in.direction"]), TalkGuidance())
    latent = case.tensors["in.latent"]
    for step in euler["step_indices"]:
        # A schedule begins with noise times its first level.
        noise = latent / sigmas[step]
        after = denoiser.denoise(noise, None, sigmas[step : step + 2], held=latent[:, :0])
        expected = case.tensors[f"out.latent_after_step{step}"]
        assert_close(after, expected, tolerance["latent"], f"Euler step {step}")
    noising = case.spec["add_noise"]
    sigmas = flow_sigmas(noising["combo"]["steps"], noising["combo"]["shift"])
    noised = add_noise(latent, case.tensors["in.direction"], sigmas[noising["timestep_index"]])
    assert_close(noised, case.tensors["out.add_noise"], tolerance["latent"], "add_noise")


@checks("V8 conditioning mask and latent shapes")
def check_mask(case: Case) -> None:
    for index, item in enumerate(case.spec["masks"]):
        mask = reference_mask(item["frames"], item["lat_h"], item["lat_w"])[None]
        expected = case.tensors[f"out.mask_{index}"]
        assert_close(mask, expected, case.spec["tolerance"], f"mask {index}")
    for item in case.spec["latent_shapes"]:
        height, width = item["height"] // SPATIAL_STRIDE, item["width"] // SPATIAL_STRIDE
        latents = latent_frames(item["frames"])
        assert [latents, height, width] == item["latent"][1:]
        assert latents // PATCH[0] * (height // PATCH[1]) * (width // PATCH[2]) == item["seq_len"]


@checks("V10 TeaCache decisions")
def check_teacache(case: Case) -> None:
    for index, item in enumerate(case.spec["items"]):
        assert COEFFICIENTS[item["model_scale"].removeprefix("infinitetalk-") + "p"] == tuple(
            item["coefficients_high_to_low"]
        )
        computed = case.tensors[f"out.computed_{index}"]
        accumulated = case.tensors[f"out.accumulator_{index}"]
        cache = TeaCache(tuple(item["coefficients_high_to_low"]), item["threshold"])
        for chunk in range(computed.shape[0]):
            cache.begin_chunk()
            for step, modulation in enumerate(case.tensors[f"in.modulation_{index}"]):
                for call in range(computed.shape[2]):
                    branch = cache.branch(str(call))
                    ran = run_branch(branch, modulation)
                    where = f"item {index} chunk {chunk} step {step} call {call}"
                    assert ran == bool(computed[chunk, step, call]), where
                    got = torch.tensor(branch.accumulated)
                    expected = accumulated[chunk, step, call]
                    assert_close(got, expected, case.spec["tolerance"]["accumulator"], where)


def run_branch(branch: BranchCache, modulation) -> bool:
    """Ask a branch cache as the transformer does; whether the blocks ran."""
    if branch.reuse(modulation) is not None:
        return False
    branch.store(torch.zeros(1))
    return True


class CountingCache(BranchCache):
    """A branch cache that remembers whether the blocks ran."""

    ran = False

    def reuse(self, modulation):
        residual = super().reuse(modulation)
        self.ran = residual is None
        return residual


@checks("V10 TeaCache with the tiny DiT")
def check_teacache_dit(case: Case) -> None:
    config = dit_config(case)
    model, adapter = build(case, config=config)
    coefficients = tuple(case.spec["coefficients_high_to_low"])
    caches = [CountingCache(coefficients, case.spec["threshold"]) for _ in range(3)]
    contexts = {
        name: model.embed_contexts(case.tensors[name][None], clip_tokens(case))
        for name in ("in.context", "in.context_null")
    }
    voice = adapter.project(case.tensors["in.audio"])
    silence = adapter.project(torch.zeros_like(case.tensors["in.audio"][:1]))
    calls = [("in.context", voice), ("in.context_null", voice), ("in.context_null", silence)]
    steps = len(case.tensors["in.t"])
    first_stored = steps - len(case.tensors["out.velocity"])
    for step in range(steps):
        for call, (name, tokens) in enumerate(calls):
            velocity = model(
                case.tensors["in.x"][step][None],
                case.tensors["in.t"][step : step + 1],
                contexts[name],
                concat=case.tensors["in.y"],
                audio=AudioPass(adapter, tokens, model.config.heads),
                cache=caches[call],
            )[0]
            where = f"step {step} call {call}"
            assert caches[call].ran == bool(case.tensors["out.computed"][step, call]), where
            if step >= first_stored:
                expected = case.tensors["out.velocity"][step - first_stored, call]
                assert_close(velocity, expected, case.spec["tolerance"]["velocity"], where)
