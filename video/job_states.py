"""States between the steps of a clip that is denoised as a whole, kept like the chunks of others.

Only the last one is needed: it is written under a name of its own, and when it is on the disk the
ones before it go. Knows one folder, keys, and tensors; it does not know what a step does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .files import write_whole
from .job_folder import SCHEMA, JobFolder, check_schema
from .job_keys import digest
from .job_segments import SavedState, Segments, read_header

if TYPE_CHECKING:
    from torch import Tensor

OURS = "endless_talk_steps"
"""Metadata of a state: schema and digest as JSON."""


def step_keys(latents_key: str, steps: int) -> tuple[str, ...]:
    """Key of the state after every step of a clip, from the key of all that is sampled from."""
    return tuple(digest(latents_key, "after step", step) for step in range(1, steps + 1))


class JobStates:
    """The states of one clip.

    Args:
        folder: The job's folder.
        keys: Key of the state after every step, in order.
    """

    def __init__(self, folder: JobFolder, keys: Sequence[str]) -> None:
        self._folder, self._keys = folder, tuple(keys)

    def path(self, step: int) -> Path:
        """Where the state after a step is kept, counted from 1."""
        return Segments(self._folder).state_file(self._keys[step - 1])

    @property
    def done(self) -> int:
        """The last step that was saved, 0 for none.

        Raises:
            InputError: A newer version wrote it.
        """
        return max((step for step in range(1, len(self._keys) + 1) if self._holds(step)), default=0)

    def latest(self) -> tuple[int, Mapping[str, Tensor]] | None:
        """The last step that was saved, and its state; see ``samplers.sliding.StepStates``.

        Those before it, which a crash may have left, go.
        """
        step = self.done
        if not step:
            return None
        self._leave_only(step)
        return step, dict(SavedState(self.path(step)))

    def save(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Keep the state after a step, and let go of all others.

        Raises:
            OSError: It could not be written; the one before is still there.
        """
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        record = {"schema": SCHEMA, "state": digest(tensors)}
        write_whole(self.path(step), save(tensors, {OURS: json.dumps(record)}))
        self._leave_only(step)

    def _leave_only(self, step: int) -> None:
        for other in range(1, len(self._keys) + 1):
            if other != step:
                self.path(other).unlink(missing_ok=True)

    def problems(self) -> list[str]:
        """A sentence for every state that is there and not whole, having read all of them."""
        found = []
        for step in range(1, len(self._keys) + 1):
            path = self.path(step)
            if path.exists() and (
                not self._holds(step) or digest(dict(SavedState(path))) != self._record(step)
            ):
                found.append(
                    f"the state after step {step} is damaged; the next run goes on before it"
                )
        return found

    def _holds(self, step: int) -> bool:
        return self._record(step) is not None

    def _record(self, step: int) -> str | None:
        """Digest of a state as its header has it; None when it is missing, damaged, or another's.

        Raises:
            InputError: A newer version wrote it.
        """
        path = self.path(step)
        try:
            header, whole = read_header(path)
            values = json.loads(header["__metadata__"][OURS])
            check_schema(values["schema"], path, self._folder.name)
            return str(values["state"]) if whole else None
        except InputError:
            raise
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None
