"""Every golden case in GOLDEN_DIR holds; the checker is chosen by the case's kind."""

import check_audio  # noqa: F401  (importing registers the checkers)
import check_color  # noqa: F401
import check_models  # noqa: F401
import check_pictures  # noqa: F401
import check_samplers  # noqa: F401
import check_streaming  # noqa: F401
import pytest
from golden import CHECKERS, DEFAULT_DIR, GOLDEN_DIR, case_paths, load_case

PATHS = case_paths()


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_golden_case(path):
    case = load_case(path)
    assert case.kind in CHECKERS, f"no checker for kind {case.kind!r}"
    CHECKERS[case.kind](case)


def test_at_least_one_case_ran():
    assert PATHS, f"no golden cases in {GOLDEN_DIR}"


def test_every_known_kind_has_a_case():
    present = {load_case(path).kind for path in PATHS}
    absent = sorted(set(CHECKERS) - present)
    if GOLDEN_DIR.resolve() == DEFAULT_DIR.resolve():
        assert not absent, f"kinds without a case: {absent}"
    elif absent:
        print("kinds absent from this folder:", ", ".join(absent))
