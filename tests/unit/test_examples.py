"""The example files of the first workflow in the host's input folder."""

from endless_talk.nodes.examples import ASSETS, EXAMPLES, offer_examples


def test_examples_are_copied_whole_and_nothing_else_is_left(tmp_path):
    offer_examples(tmp_path / "input")
    assert {path.name for path in (tmp_path / "input").iterdir()} == set(EXAMPLES)
    for name, asset in EXAMPLES.items():
        assert (tmp_path / "input" / name).read_bytes() == (ASSETS / asset).read_bytes()


def test_what_is_there_stays(tmp_path):
    for name in EXAMPLES:
        (tmp_path / name).write_bytes(b"mine")
    offer_examples(tmp_path)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"mine"}


def test_a_folder_that_cannot_be_written_to_is_no_failure(tmp_path):
    (tmp_path / "input").write_bytes(b"a file")
    offer_examples(tmp_path / "input")
