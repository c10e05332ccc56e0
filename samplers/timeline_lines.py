"""The language of the timeline: one line of text says when, and what changes then.

    0:41 seed 7
    #14 seed 7, keep rest
    1:05-1:20 prompt "she laughs"
    2:00 image 2
    0:30-0:40 audio 0.7
    // a note, to the end of the line; so is what follows a hash and a space

Reads text and knows no plan: whether a moment exists, and in which chunk, is decided in `timeline`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError

KINDS = ("seed", "prompt", "image", "audio")
"""What can change, in the order of reports."""

KEEP_REST = "keep rest"

LARGEST_SEED = 2**63 - 1
STRONGEST_AUDIO = 4.0

QUOTES = {
    '"': '"',
    "'": "'",
    "\u201c": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u201d": "\u201d",
    "\u2018": "\u2019",
    "\u201a": "\u2018\u2019",
    "\u00ab": "\u00bb",
    "\u00bb": "\u00ab",
}
"""Opening quotes of several languages, each with those that close it."""

DASH = "[-\u2010-\u2015\u2212]"
"""Hyphen, dashes and the minus sign: word processors put one for the other."""

CLOCK = r"(?:\d+:)?\d+:\d+(?:\.\d+)?"
MOMENT = rf"\#\d+|{CLOCK}"
WHEN = re.compile(rf"({MOMENT})(?:\s*{DASH}\s*({MOMENT}|\d+(?![\d.:])))?(?=\s|$)")
NOTE = re.compile(r"//|\#(?!\d)")

EXAMPLE = '0:41 seed 7, #14 seed 7, 1:05-1:20 prompt "she laughs"'


@dataclass(frozen=True)
class Moment:
    """A point of the clip as it was written: a time or a chunk.

    Attributes:
        text: ``0:41`` or ``#14``.
        seconds: From the start of the clip; None for a chunk.
        chunk: Index of a chunk; None for a time.
    """

    text: str
    seconds: float | None = None
    chunk: int | None = None


@dataclass(frozen=True, eq=False)
class TimelineLine:
    """One line that was understood.

    Attributes:
        number: Of the line, from 1.
        text: As it was written.
        first: From when on.
        last: Until when; None is until something else is said.
        values: What changes, by kind: a seed, a prompt's text, the number of an image from 1 (0 is
            the clip's own picture), or a factor on the voices' strength.
        keep_rest: Only the chunk at ``first`` is made again, and what follows is kept.
    """

    number: int
    text: str
    first: Moment
    last: Moment | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    keep_rest: bool = False

    @property
    def when(self) -> str:
        """``0:41``, ``#14`` or ``1:05-1:20``."""
        return self.first.text if self.last is None else f"{self.first.text}-{self.last.text}"

    def problem(self, words: str) -> str:
        """A sentence about this line."""
        return problem(self.number, self.text, words)


def problem(number: int, text: str, words: str) -> str:
    """A sentence about a line."""
    return f"timeline line {number}, {text.strip()}: {words}"


def parse_lines(text: str) -> list[TimelineLine]:
    """Read a timeline's text.

    Raises:
        InputError: Every line that was not understood, with what to write instead.
    """
    lines, problems = [], []
    for number, written in enumerate(text.splitlines(), 1):
        line = written.replace("\ufeff", "").strip()
        if not line or NOTE.match(line):
            continue
        try:
            lines.append(parse_line(number, line))
        except InputError as error:
            problems.append(problem(number, line, str(error)))
    if problems:
        raise InputError("\n".join(problems))
    return lines


def parse_line(number: int, line: str) -> TimelineLine:
    """Read one line that is no note."""
    when = WHEN.match(line)
    if when is None:
        raise InputError(no_moment(line))
    first = parse_moment(when[1])
    last = None if when[2] is None else parse_moment(when[2], of_chunks=first.chunk is not None)
    values: dict[str, Any] = {}
    keep_rest = False
    for change in split_changes(line[when.end() :]):
        if is_keep_rest(change):
            keep_rest = True
            continue
        kind, value = parse_change(change)
        if kind in values:
            raise InputError(f"it changes the {kind} twice; leave one of them.")
        values[kind] = value
    if keep_rest:
        check_keep_rest(first, last, values)
    if not values:
        raise InputError(f"it does not say what changes; write for example {first.text} seed 7.")
    return TimelineLine(number, line, first, last, values, keep_rest)


def parse_moment(text: str, *, of_chunks: bool = False) -> Moment:
    """Read ``0:41``, ``1:02:03.5`` or ``#14``; behind a chunk, ``20`` is one as well."""
    if text.startswith("#") or (of_chunks and text.isdigit()):
        number = text.lstrip("#")
        return Moment(f"#{number}", chunk=int(number))
    if text.isdigit():
        raise InputError(f"{text} is no time; write {as_clock(text)}, or #{text} for a chunk.")
    *hours, minutes, seconds = text.split(":")
    if float(seconds) >= 60 or (hours and int(minutes) >= 60):
        raise InputError(f"{text} is no time: minutes and seconds end at 59.")
    whole = 60 * (60 * int(hours[0] if hours else 0) + int(minutes))
    return Moment(text, seconds=whole + float(seconds))


def no_moment(line: str) -> str:
    """What to write where a line does not begin with a time or a chunk."""
    word = line.split()[0]
    if re.fullmatch(r"\d+(?:\.\d+)?s?", word):
        number = word.rstrip("s")
        chunk = f", or #{number} for a chunk" if number.isdigit() else ""
        return f"{word} is neither a time nor a chunk; write {as_clock(number)}{chunk}."
    if re.fullmatch(rf"\#?[\d:.,{DASH[1:-1]}#]+", word):
        return (
            f"{word} is neither a time nor a chunk; write 1:05, 1:05.4, 1:05-1:20 or #14, or begin "
            "the line with // to leave it out."
        )
    return f"it has to begin with a time or a chunk, such as {EXAMPLE}."


def as_clock(seconds: str) -> str:
    """``41.5`` as ``0:41.5``."""
    whole, point, decimals = seconds.partition(".")
    minutes, rest = divmod(int(whole), 60)
    return f"{minutes}:{rest:02}{point}{decimals}"


def split_changes(text: str) -> list[str]:
    """Cut a line's changes at commas, and off its note; quoted commas stay."""
    changes, at, current = [], 0, ""
    while at < len(text):
        letter = text[at]
        if letter in QUOTES and current[-1:].isspace():
            end = closing_quote(text, at)
            current, at = current + text[at : end + 1], end + 1
        elif NOTE.match(text, at):
            break
        elif letter == ",":
            changes, current, at = [*changes, current], "", at + 1
        else:
            current, at = current + letter, at + 1
    changes = [change.strip() for change in [*changes, current]]
    return [change for change in changes if change]


def closing_quote(text: str, opening: int) -> int:
    """Where the quote that opens at a place closes: the first one before a comma or the end."""
    closing = QUOTES[text[opening]]
    found = re.search(rf"[{re.escape(closing)}]\s*(?=,|//|#|$)", text[opening + 1 :])
    if found is None:
        raise InputError(f"the quote in {text[opening:].strip()} does not close; add {closing[0]}.")
    return opening + 1 + found.start()


def is_keep_rest(change: str) -> bool:
    """Whether a change is ``keep rest``."""
    return " ".join(change.lower().split()) == KEEP_REST


def parse_change(change: str) -> tuple[str, Any]:
    """Read ``seed 7`` and its like."""
    word, _, value = change.partition(" ")
    kind, value = word.lower(), value.strip()
    if kind not in VALUES:
        raise InputError(unknown_word(change, word))
    if not value:
        raise InputError(f"{kind} needs a value, such as {VALUES[kind][0]}.")
    return kind, VALUES[kind][1](value)


def unknown_word(change: str, word: str) -> str:
    """What to write instead of a word that means nothing."""
    if re.fullmatch(r"\d+", change):
        return (
            f"{change} stands behind a comma; decimals are written with a point, as in audio 0.7."
        )
    known = [*KINDS, KEEP_REST]
    close = difflib.get_close_matches(word.lower(), [*KINDS, "keep"], 1, cutoff=0.5)
    if close:
        meant = KEEP_REST if close[0] == "keep" else close[0]
        return f"there is no {word}; did you mean {meant}?"
    return f"there is no {word}; write {', '.join(known[:-1])} or {known[-1]}."


def parse_seed(value: str) -> int:
    """A seed."""
    if not value.isdecimal() or int(value) > LARGEST_SEED:
        raise InputError(f"the seed is {value}; write a whole number from 0 to {LARGEST_SEED}.")
    return int(value)


def parse_prompt(value: str) -> str:
    """A prompt in quotes."""
    closing = QUOTES.get(value[0])
    if closing is None or len(value) < 2 or value[-1] not in closing:
        raise InputError(f'the prompt needs quotes; write prompt "{value}".')
    text = value[1:-1].strip()
    if not text:
        raise InputError('the prompt is empty; write for example prompt "she laughs".')
    return text


def parse_image(value: str) -> int:
    """The number of an image, from 1; 0 is the clip's own picture."""
    if not value.isdecimal():
        raise InputError(
            f"the image is {value}; write its number among the timeline's images, 1 for the first, "
            "or 0 for the picture of the clip."
        )
    return int(value)


def parse_audio(value: str) -> float:
    """A factor on what the voices move."""
    try:
        factor = float(value)
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= STRONGEST_AUDIO:
        raise InputError(
            f"the audio is {value}; write a factor from 0 to {STRONGEST_AUDIO:g} on what the "
            "voices move, such as 0.7."
        )
    return factor


def check_keep_rest(first: Moment, last: Moment | None, values: Mapping[str, Any]) -> None:
    """``keep rest`` is for one chunk, and needs something that makes it come out differently."""
    if last is not None:
        raise InputError(
            f"keep rest makes one chunk again; write {first.text} without an end, and a line for "
            "each further chunk."
        )
    if not values:
        raise InputError(f"nothing changes; write {first.text} seed 7, keep rest.")


VALUES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "seed": ("seed 7", parse_seed),
    "prompt": ('prompt "she laughs"', parse_prompt),
    "image": ("image 2", parse_image),
    "audio": ("audio 0.7", parse_audio),
}
"""Per kind an example and what reads its value."""
