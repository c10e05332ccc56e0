"""The timeline of a clip: what changes in its course, resolved to chunks.

A change holds from the chunk that contains its time. Knows a plan and the lines of the text; seeds,
prompts and images are numbers here, and whoever makes the chunks looks them up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, floor
from typing import Any

from ..errors import InputError
from ..frames import FPS, latent_frames
from .plan import Chunk
from .timeline_lines import KEEP_REST, KINDS, Moment, TimelineLine, parse_lines

ROUNDING = 1e-6
"""Frames; a time that is a frame's own in decimals, such as 0:00.28, is that frame."""


@dataclass(frozen=True)
class ChunkChange:
    """What a chunk is made with; the defaults are the clip's own.

    Attributes:
        seed: Takes the place of the clip's seed; the chunk's noise comes from it and the index.
        prompt: Index among the timeline's prompts.
        image: Index among the timeline's images.
        audio: Factor on the strength of all voices.
        retakes: For a chunk that is made again while the rest is kept: what it was made with
            before. What follows goes on from that one.
    """

    seed: int | None = None
    prompt: int | None = None
    image: int | None = None
    audio: float = 1.0
    retakes: ChunkChange | None = None

    @property
    def keep_rest(self) -> bool:
        """Whether the chunk has to end as it did before."""
        return self.retakes is not None


@dataclass(frozen=True, eq=False)
class ClipTimeline:
    """A timeline with what its lines name.

    Attributes:
        timeline: The lines.
        prompts: One per text of ``timeline.prompts``, encoded as the networks read it.
        images: uint8 RGB ``[H, W, 3]``, at least as many as the lines name.
    """

    timeline: Timeline
    prompts: tuple[Any, ...] = ()
    images: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Timeline:
    """The lines of a timeline.

    Attributes:
        lines: As they were written, in order.
    """

    lines: tuple[TimelineLine, ...] = ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """Texts to encode, each once."""
        return tuple(dict.fromkeys(self._values("prompt")))

    @property
    def images(self) -> int:
        """Images that have to be there: the highest number of any line."""
        return max(self._values("image"), default=0)

    def check_images(self, count: int, none: str = "connect images") -> None:
        """Refuse lines that name more images than there are.

        Args:
            count: How many there are.
            none: What to do where there are none.

        Raises:
            InputError: Every such line.
        """
        there = f"there are {count}: write image 1 to image {count}"
        if count < 2:
            there = "there is one: write image 1" if count else f"there are none: {none}"
        missing = [
            line.problem(f"there is no image {line.values['image']}; {there}.")
            for line in self.lines
            if line.values.get("image", 0) > count
        ]
        if missing:
            raise InputError("\n".join(missing))

    def resolve(self, plan: Sequence[Chunk]) -> list[ChunkChange]:
        """What each chunk is made with.

        Args:
            plan: The chunks of the *whole* clip. Where only a part is rendered for a try, its
                changes are the first of these.

        Raises:
            InputError: Every line that does not fit the plan, or another line.
        """
        layers, takes = self._settled(plan)
        changes = [ChunkChange()] * len(plan)
        for kind, layer in layers.items():
            for index, change in enumerate(changes):
                holding = holding_line(layer, index)
                changes[index] = change if holding is None else self._put(change, kind, holding)
        for take in takes:
            change = before = changes[take.first]
            for kind in take.line.values:
                change = self._put(change, kind, take.line)
            changes[take.first] = replace(change, retakes=before)
        return changes

    def describe(self, plan: Sequence[Chunk]) -> list[str]:
        """Where each line begins and ends, for a report.

        Args:
            plan: The chunks of the whole clip.

        Raises:
            InputError: As ``resolve``.
        """
        layers, takes = self._settled(plan)
        spans = [span for layer in (takes, *layers.values()) for span in layer]
        # Of a line with two changes one may be cut short; it is described by the other.
        longest = {span.line: span for span in sorted(spans, key=lambda span: span.last or 0)}
        return [describe_span(longest[line], plan) for line in self.lines]

    def _values(self, kind: str) -> list[Any]:
        return [line.values[kind] for line in self.lines if kind in line.values]

    def _put(self, change: ChunkChange, kind: str, line: TimelineLine) -> ChunkChange:
        value = line.values[kind]
        if kind == "prompt":
            return replace(change, prompt=self.prompts.index(value))
        if kind == "image":
            return replace(change, image=value - 1 if value else None)
        return replace(change, **{kind: value})

    def _settled(self, plan: Sequence[Chunk]) -> tuple[dict[str, list[Span]], list[Span]]:
        """Spans by kind of change, no chunk claimed twice; and the chunks that are made again."""
        spans = self._spans(plan)
        takes = [span for span in spans if span.line.keep_rest]
        problems = [*shared_chunks(takes, KEEP_REST, plan), *without_room(takes, plan)]
        layers: dict[str, list[Span]] = {}
        for kind in KINDS:
            found = [span for span in spans if kind in span.line.values and span not in takes]
            layers[kind], conflicts = settle(found, kind, plan)
            problems += conflicts
        if problems:
            raise InputError("\n".join(problems))
        return layers, takes

    def _spans(self, plan: Sequence[Chunk]) -> list[Span]:
        spans, problems = [], []
        for line in self.lines:
            try:
                spans.append(span_of(line, plan))
            except InputError as error:
                problems.append(line.problem(str(error)))
        if problems:
            raise InputError("\n".join(problems))
        return spans


def parse_timeline(text: str) -> Timeline:
    """Read a timeline; see ``timeline_lines`` for the language.

    Raises:
        InputError: Every line that was not understood, with what to write instead.
    """
    return Timeline(tuple(parse_lines(text)))


@dataclass(frozen=True)
class Span:
    """Where a line holds.

    Attributes:
        line: The line.
        first: Its first chunk.
        last: Its last chunk; None is until something else is said.
        start_frame: Clip frame from which on it was asked for.
        stop_frame: Clip frame behind the last it was asked for, or None.
    """

    line: TimelineLine
    first: int
    last: int | None
    start_frame: int
    stop_frame: int | None


def span_of(line: TimelineLine, plan: Sequence[Chunk]) -> Span:
    """Where a line holds.

    Raises:
        InputError: It lies outside the plan, or ends before it begins.
    """
    start = start_frame(line.first, plan)
    first = chunk_at(start, plan)
    if line.last is None:
        return Span(line, first, None, start, None)
    stop = stop_frame(line.last, plan)
    if stop <= start:
        raise InputError("it ends before it begins; write the earlier one first.")
    return Span(line, first, chunk_at(stop - 1, plan), start, stop)


def start_frame(moment: Moment, plan: Sequence[Chunk]) -> int:
    """Clip frame at which a moment begins."""
    if moment.seconds is None:
        return plan[known_chunk(moment, plan)].first_new_frame
    frame = floor(moment.seconds * FPS + ROUNDING)
    end = plan[-1].stop_new_frame
    if frame >= end:
        raise InputError(
            f"{moment.text} is past the end of the clip at {clock(end)}; its last chunk is "
            f"{plan[-1].label}, from {clock(plan[-1].first_new_frame)}."
        )
    return frame


def stop_frame(moment: Moment, plan: Sequence[Chunk]) -> int:
    """Clip frame behind a moment that ends something; at most the clip's end."""
    if moment.seconds is None:
        return plan[known_chunk(moment, plan)].stop_new_frame
    return min(ceil(moment.seconds * FPS - ROUNDING), plan[-1].stop_new_frame)


def known_chunk(moment: Moment, plan: Sequence[Chunk]) -> int:
    """Index of a chunk that was named."""
    assert moment.chunk is not None
    if moment.chunk >= len(plan):
        raise InputError(
            f"there is no chunk {moment.text}; the last is {plan[-1].label}, from "
            f"{clock(plan[-1].first_new_frame)}."
        )
    return moment.chunk


def chunk_at(frame: int, plan: Sequence[Chunk]) -> int:
    """Index of the chunk that adds a clip frame."""
    return bisect_right([chunk.first_new_frame for chunk in plan], frame) - 1


def settle(spans: Sequence[Span], kind: str, plan: Sequence[Chunk]) -> tuple[list[Span], list[str]]:
    """Spans of one kind of change of which no two claim a chunk, and the problems with that.

    Where one ends within a chunk and another begins in it, the chunk is the later one's, as a
    change holds from the chunk that contains its time.
    """
    settled = sorted(spans, key=lambda span: span.start_frame)
    problems = shared_chunks([span for span in settled if span.last is None], kind, plan)
    for one, other in combinations(range(len(settled)), 2):
        earlier, later = settled[one], settled[other]
        if earlier.stop_frame is None or earlier.last is None:
            continue
        if later.start_frame < earlier.stop_frame:
            problems.append(
                later.line.problem(
                    f"line {earlier.line.number} has another {kind} for {earlier.line.when}; end "
                    f"that at {later.line.first.text}, or leave one out."
                )
            )
        elif later.first <= earlier.last:
            settled[one] = replace(earlier, last=later.first - 1)
    for span in settled:
        if span.last is not None and span.last < span.first:
            problems.append(
                span.line.problem(
                    f"nothing is left of it: {place(span.first, plan)} is one chunk, and another "
                    f"{kind} begins in it; make it longer or leave it out."
                )
            )
    return settled, problems


def shared_chunks(spans: Sequence[Span], what: str, plan: Sequence[Chunk]) -> list[str]:
    """Problems with spans that begin in the same chunk."""
    firsts: dict[int, TimelineLine] = {}
    problems = []
    for span in spans:
        if span.first in firsts:
            problems.append(
                span.line.problem(
                    f"line {firsts[span.first].number} has a {what} for {place(span.first, plan)} "
                    "already; a chunk has one. Leave one out."
                )
            )
        firsts.setdefault(span.first, span.line)
    return problems


def without_room(takes: Sequence[Span], plan: Sequence[Chunk]) -> list[str]:
    """Problems with chunks that their beginning and their ending fill, so that nothing is new.

    The beginning is the context, or the reference frame; the ending the groups of four in what the
    next chunk starts from.
    """
    problems = []
    for take in takes:
        chunk, following = plan[take.first], plan[take.first + 1 : take.first + 2]
        held = max(1, latent_frames(chunk.context_frames))
        pinned = max([0, *(latent_frames(after.context_frames) - 1 for after in following)])
        if held + pinned >= latent_frames(chunk.frames):
            problems.append(
                take.line.problem(
                    f"nothing of {chunk.label} can change: it is {chunk.frames} frames long, and "
                    "the context frames at both ends are kept. Raise chunk_frames or lower "
                    "context_frames."
                )
            )
    return problems


def holding_line(spans: Sequence[Span], index: int) -> TimelineLine | None:
    """The line that holds in a chunk: a range around it, else the last that began before."""
    found = None
    for span in spans:
        if span.first <= index and (span.last is None or index <= span.last):
            found = span
            if span.last is not None:
                break
    return None if found is None else found.line


def describe_span(span: Span, plan: Sequence[Chunk]) -> str:
    """``1:05-1:20 → #23 to #28, 1:03.7 to 1:21.0: prompt "she laughs"``."""
    line = span.line
    values = [described(kind, value) for kind, value in line.values.items()]
    if line.keep_rest:
        where = f"{place(span.first, plan)} alone, the rest is kept"
    elif span.last is None:
        where = f"from {plan[span.first].label} at {clock(plan[span.first].first_new_frame)} on"
    else:
        where = place(span.first, plan, span.last)
    return f"{line.when} → {where}: {', '.join(values)}"


def described(kind: str, value: Any) -> str:
    """``prompt "she laughs"``, ``audio 0.7``."""
    if kind == "prompt":
        return f'{kind} "{value}"'
    return f"{kind} {value:g}" if isinstance(value, float) else f"{kind} {value}"


def place(first: int, plan: Sequence[Chunk], last: int | None = None) -> str:
    """``#14 (0:40.7 to 0:43.6)``, ``#23 to #28 (1:06.6 to 1:23.9)``."""
    last = first if last is None else last
    labels = plan[first].label if last == first else f"{plan[first].label} to {plan[last].label}"
    return f"{labels} ({clock(plan[first].first_new_frame)} to {clock(plan[last].stop_new_frame)})"


def clock(frame: int) -> str:
    """A clip frame as ``0:40.7``, or ``1:02:05.0`` from an hour on."""
    tenths = round(frame * 10 / FPS)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"
