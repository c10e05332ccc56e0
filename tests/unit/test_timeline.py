"""The timeline: its language, what a line means in chunks, and what is refused."""

import pytest

from endless_talk.errors import InputError
from endless_talk.samplers.plan import plan_chunks, plan_shots
from endless_talk.samplers.timeline import ChunkChange, parse_timeline

PLAN = plan_chunks(130 * 25)
"""46 chunks of 2.88 s; #14 begins at 0:40.7."""


def changes(text, plan=PLAN):
    return parse_timeline(text).resolve(plan)


def different(text, plan=PLAN):
    return {index: change for index, change in enumerate(changes(text, plan)) if change != DEFAULT}


DEFAULT = ChunkChange()


def test_nothing_written_changes_nothing():
    assert changes("") == [DEFAULT] * 46
    notes = "\n  \n// 0:41 seed 7\n# 0:41 seed 7\n#\n"
    assert changes(notes) == [DEFAULT] * 46 and parse_timeline(notes).describe(PLAN) == []


def test_a_change_holds_from_the_chunk_that_contains_its_time():
    for time in ("0:41", "0:40.68", "0:43.55", "#14"):
        assert list(different(f"{time} seed 7")) == list(range(14, 46)), time
    assert min(different("0:43.56 seed 7")) == 15
    assert min(different("0:40.67 seed 7")) == 13
    assert min(different("0:00 seed 7")) == 0


def test_a_time_in_decimals_falls_into_the_frame_it_names():
    for frame in range(0, 3250, 7):
        chunk = min(different(f"{frame // 1500}:{frame % 1500 / 25:05.2f} seed 7"))
        assert PLAN[chunk].first_new_frame <= frame < PLAN[chunk].stop_new_frame


def test_a_range_goes_back_to_what_was_before():
    found = changes("0:10 audio 0.5\n1:05-1:20 audio 2")
    assert [change.audio for change in found] == [1.0] * 3 + [0.5] * 19 + [2.0] * 6 + [0.5] * 18


def test_a_range_holds_in_every_chunk_that_shows_part_of_it():
    for index, chunk in enumerate(PLAN):
        first, stop = chunk.first_new_frame, chunk.stop_new_frame
        holds = first < 80 * 25 and stop > 65 * 25
        assert (index in different("1:05-1:20 audio 2")) == holds


def test_ranges_of_chunks_include_their_ends():
    assert list(different("#3-#5 seed 7")) == [3, 4, 5] == list(different("#3-5 seed 7"))


def test_where_one_range_ends_and_the_next_begins_the_chunk_is_the_later_ones():
    found = changes("0:40-0:50 audio 1.5\n0:30-0:40 audio 0.7")
    assert [change.audio for change in found[9:19]] == [1] + [0.7] * 3 + [1.5] * 5 + [1]
    assert changes("0:30-0:40 audio 0.7\n0:40 audio 3")[13].audio == 3


def test_the_later_of_two_changes_wins_from_its_chunk_on():
    found = changes("1:00 seed 8\n0:30 seed 7, audio 0.5\n")
    assert [change.seed for change in found] == [None] * 10 + [7] * 10 + [8] * 26
    assert found[30].audio == 0.5


def test_prompts_are_numbered_once_per_text():
    timeline = parse_timeline('0:10 prompt "a"\n0:20 prompt "b, // #1"\n0:30 prompt “a”')
    assert timeline.prompts == ("a", "b, // #1")
    assert [timeline.resolve(PLAN)[index].prompt for index in (0, 4, 8, 11)] == [None, 0, 1, 0]


@pytest.mark.parametrize(
    "quoted",
    ['"a, b"', "'a, b'", "“a, b”", "„a, b“", "„a, b”", "«a, b»", "»a, b«", "‘a, b’"],  # noqa: RUF001
)
def test_quotes_of_all_countries_hold_commas(quoted):
    timeline = parse_timeline(f"0:10 prompt {quoted} , seed 7 // a note")
    assert timeline.prompts == ("a, b",) and timeline.lines[0].values["seed"] == 7


def test_apostrophes_do_not_end_a_prompt():
    assert parse_timeline("0:10 prompt 'don't'").prompts == ("don't",)
    assert parse_timeline('0:10 prompt "it\'s 5" tall"').prompts == ("it's 5\" tall",)


def test_images_count_from_one_and_zero_is_the_clips_own():
    timeline = parse_timeline("0:10 image 2\n1:00 image 0\n1:30 image 1")
    assert timeline.images == 2
    assert [timeline.resolve(PLAN)[index].image for index in (0, 5, 25, 40)] == [None, 1, None, 0]
    timeline.check_images(2)
    with pytest.raises(InputError, match=r"line 1, 0:10 image 2: .*image 2; there is one.*image 1"):
        timeline.check_images(1)
    with pytest.raises(InputError, match="connect images"):
        timeline.check_images(0)


def test_a_retake_changes_its_chunk_alone_and_remembers_what_it_was():
    found = different('0:30 seed 5\n#14 seed 7, prompt "b", keep rest')
    before = ChunkChange(seed=5)
    assert found[14] == ChunkChange(seed=7, prompt=0, retakes=before) and found[14].keep_rest
    assert {found[index] for index in found if index != 14} == {before}
    assert not before.keep_rest


def test_neighbours_may_both_be_taken_again():
    assert list(different("#14 seed 7, keep rest\n#15 seed 7, keep rest")) == [14, 15]


def test_a_retake_needs_latents_between_its_beginning_and_its_ending():
    text = "#1 seed 7, keep rest"
    assert different(text, plan_chunks(100, 21, 9))[1].keep_rest
    with pytest.raises(InputError, match=r"nothing of #1 can change: it is 17 frames .*Raise"):
        different(text, plan_chunks(100, 17, 9))
    assert different("#0 seed 7, keep rest", plan_chunks(100, 17, 9)), "only a frame is held here"
    assert different(text, plan_chunks(20, 17, 9)), "no chunk behind it has to be met"


def test_chunks_of_shots_are_found_by_time_too():
    plan = plan_shots(500, [100, 130])
    starts = [chunk.first_new_frame for chunk in plan]
    assert starts == [0, 81, 100, 130, 211, 283, 355, 427, 499]
    assert min(different("0:04 seed 7", plan)) == 2
    assert min(different("0:05.19 seed 7", plan)) == 2
    assert list(different("0:05.2-0:05.3 seed 7", plan)) == [3]


def test_a_part_has_the_first_changes_of_the_whole():
    whole = changes("0:41 seed 7\n0:30-0:50 audio 2")
    assert len(plan_chunks(1000)) == 14 and whole[:14][13] == ChunkChange(audio=2)


def test_spelling_is_forgiven_where_it_is_clear():
    written = "\ufeff  0:41\u201345:00   SEED   7 ,Keep   Rest"
    assert different(written.replace("\u201345:00", ""))[14].seed == 7
    assert list(different("0:41 \u2013 0:45 seed 7")) == [14, 15]
    assert list(different("0:00:41-0:00:45 seed 7")) == [14, 15]


def test_the_report_says_where_lines_begin_and_end():
    text = '0:41 seed 7\n#20 seed 8, keep rest\n1:05-1:20 prompt "b", audio 0.7\n1:20 audio 2'
    assert parse_timeline(text).describe(PLAN) == [
        "0:41 → from #14 at 0:40.7 on: seed 7",
        "#20 → #20 (0:58.0 to 1:00.8) alone, the rest is kept: seed 8",
        '1:05-1:20 → #22 to #27 (1:03.7 to 1:21.0): prompt "b", audio 0.7',
        "1:20 → from #27 at 1:18.1 on: audio 2",
    ]
    hours = plan_chunks(2 * 3600 * 25)
    assert "1:02:04.2 on" in parse_timeline("1:02:05 seed 1").describe(hours)[0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0:41 sed 7", "did you mean seed?"),
        ('0:41 promt "x"', "did you mean prompt?"),
        ("0:41 seed 7, keep the rest", "did you mean keep rest?"),
        ("0:41 smile", "write seed, prompt, image, audio or keep rest"),
        ("0:41 seed", "such as seed 7"),
        ("0:41 seed -1", "from 0 to 9223372036854775807"),
        ("0:41 seed 9223372036854775808", "from 0 to"),
        ("0:41 seed 7, seed 8", "changes the seed twice"),
        ("0:41 prompt she laughs", 'write prompt "she laughs"'),
        ('0:41 prompt "she laughs', 'does not close; add "'),
        ('0:41 prompt ""', "the prompt is empty"),
        ("0:41 audio 0,7", "audio 0.7"),
        ("0:41 audio nan", "from 0 to 4"),
        ("0:41 audio 4.1", "from 0 to 4"),
        ("0:41 image two", "write its number"),
        ("0:41", "write for example 0:41 seed 7"),
        ("41 seed 7", "write 0:41, or #41 for a chunk"),
        ("75.5 seed 7", "write 1:15.5."),
        ("0:30-41 seed 7", "write 0:41, or #41"),
        ("0:75 seed 7", "end at 59"),
        ("1:60:00 seed 7", "end at 59"),
        ("she laughs", "neither a time nor a chunk"),
        ("#0:41 seed 7", "begin the line with //"),
        ("0:30-0:40 seed 7, keep rest", "write 0:30 without an end"),
        ("#14 keep rest", "write #14 seed 7, keep rest"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_to_write(line, says):
    with pytest.raises(InputError) as caught:
        parse_timeline(f"// a note\n{line}")
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"timeline line 2, {line}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2:10 seed 7", "past the end of the clip at 2:10.0; its last chunk is #45, from 2:10.0"),
        ("#46 seed 7", "no chunk #46; the last is #45"),
        ("#3-#46 seed 7", "no chunk #46"),
        ("0:30-0:20 seed 7", "ends before it begins"),
        ("0:30-0:30 seed 7", "ends before it begins"),
        ("0:41 seed 7\n0:42 seed 8", "line 1 has a seed for #14"),
        ("0:41 seed 7, keep rest\n#14 seed 8, keep rest", "line 1 has a keep rest for #14"),
        ("0:30-0:50 audio 2\n0:40-1:00 audio 1", "another audio for 0:30-0:50; end that at 0:40"),
        ("0:30-0:50 audio 2\n0:45 audio 1", "another audio for 0:30-0:50; end that at 0:45"),
        ("0:41-0:42 audio 2\n0:43-0:50 audio 1", "nothing is left of it: #14"),
    ],
)
def test_what_does_not_fit_the_clip_or_another_line_is_a_sentence(text, says):
    timeline = parse_timeline(text)
    for ask in (timeline.resolve, timeline.describe):
        with pytest.raises(InputError) as caught:
            ask(PLAN)
        assert says in str(caught.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(InputError) as caught:
        parse_timeline("0:41 sed 7\n0:42 seed 7\n0:43 prompt x")
    assert [line[:15] for line in str(caught.value).splitlines()] == [
        "timeline line 1",
        "timeline line 3",
    ]
    with pytest.raises(InputError) as caught:
        changes("9:00 seed 7\n#99 seed 7")
    assert len(str(caught.value).splitlines()) == 2
