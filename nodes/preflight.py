"""Everything that can be refused before a big model is loaded, all at once, one line each.

Puts plan, checks and warnings together. MODEL and VAE are not among what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from ..models.recipes import Recipe
from ..samplers.plan import Chunk
from ..samplers.schedule import sigmas_from
from ..samplers.timed import changes_of, notes_of
from ..video.job_names import check_job_name
from .checks import (
    PROMPTS,
    UNKNOWN,
    Weights,
    check_disk,
    check_folder,
    check_prompts,
    check_sampler,
    place_speakers,
    recipe_checks,
    set_checks,
)
from .clip_plan import (
    ClipInputs,
    ClipPlan,
    StreamSettings,
    branches_of,
    choose_sigmas,
    end_notes,
    plan_frames,
    shown_chunks,
)
from .clip_warnings import find_warnings, published_warnings, recipe_warnings

__all__ = [
    "PROMPTS",
    "ClipInputs",
    "ClipPlan",
    "StreamSettings",
    "Weights",
    "check_disk",
    "plan_clip",
]


class Findings:
    """Collects what is wrong, so that all of it can be said at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def attempt(self, check: Callable[[], Any]) -> Any:
        """The value of a check; None where it refuses."""
        try:
            return check()
        except InputError as error:
            self.problems.append(str(error))

    def refuse(self) -> None:
        """Say all that was found.

        Raises:
            InputError: Something was, one line each.
        """
        if self.problems:
            raise InputError("\n".join(self.problems))


def plan_clip(
    settings: StreamSettings,
    inputs: ClipInputs,
    *,
    folder: Path,
    weights: Weights = UNKNOWN,
    checks: Sequence[Callable[[], Any]] = (),
) -> ClipPlan:
    """Check and plan a clip.

    Args:
        settings: The widgets.
        inputs: What came in.
        folder: Where the clip will be written.
        weights: What is known of MODEL and VAE.
        checks: What else may be refused; each raises InputError.

    Raises:
        InputError: Every problem found, one line each.
    """
    found = Findings()
    attempt, recipe = found.attempt, weights.recipe
    speech, reference = inputs.speech, inputs.reference
    whole = attempt(lambda: plan_frames(settings, speech, reference))
    plan = whole and attempt(lambda: shown_chunks(whole, settings.stop_at))
    schedule = attempt(lambda: choose_sigmas(settings, reference.size, inputs.sigmas, recipe))
    taken = None if schedule is None else sigmas_from(schedule, 1 - reference.source_strength)
    branches = [] if taken is None else branches_of(inputs.guidance, taken)
    masks = attempt(lambda: place_speakers(speech, reference))
    for check in (*input_checks(settings, inputs, folder, weights), *checks):
        attempt(check)
    attempt(lambda: check_prompts(branches, inputs.connected, recipe))
    changes = notes = None
    if plan is not None:
        changes = attempt(lambda: changes_of(inputs.timeline, whole))
        notes = attempt(lambda: [*end_notes(plan, whole), *notes_of(inputs.timeline, whole)])
    found.refuse()
    return ClipPlan(
        settings,
        plan,
        whole,
        schedule,
        branches,
        masks,
        changes,
        inputs.timeline,
        warnings_of(inputs, plan, schedule, recipe),
        notes,
        reference.source_strength,
        inputs.guidance,
    )


def input_checks(
    settings: StreamSettings, inputs: ClipInputs, folder: Path, weights: Weights
) -> Iterator[Callable[[], Any]]:
    """What is refused whatever the plan is."""
    yield partial(check_job_name, settings.job_name)
    yield partial(check_folder, folder / settings.job_name)
    yield partial(check_sampler, inputs.sampler)
    yield from set_checks(weights, inputs.speech)
    yield from recipe_checks(weights.recipe, inputs.reference, inputs.connected)


def warnings_of(
    inputs: ClipInputs,
    plan: list[Chunk],
    schedule: Tensor,
    recipe: Recipe | None,
) -> list[str]:
    """What is probably not meant in a clip that can be made."""
    warnings = find_warnings(inputs.speech, plan, schedule)
    if recipe is None:
        return warnings + published_warnings(inputs.guidance, schedule)
    speakers = len(inputs.speech.speakers)
    size = inputs.reference.size
    return warnings + recipe_warnings(recipe, size, speakers, schedule, inputs.guidance)
