"""Errors and their codes: what programs decide by."""

import pytest

from etf_pipeline import errors
from etf_pipeline.errors import EtfError, ReasonCode, StoreError, foreign_file, unknown_ticker

KINDS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, EtfError)]


def test_every_code_has_a_value_of_its_own_and_a_sentence():
    assert len({c.value for c in ReasonCode}) == len(ReasonCode)
    assert len({c.text for c in ReasonCode}) == len(ReasonCode)
    assert all(c.value == c.name.lower() for c in ReasonCode)
    assert ReasonCode("rate_limited") is ReasonCode.RATE_LIMITED
    assert f"{ReasonCode.RATE_LIMITED}" == "rate_limited"


def test_what_may_pass_by_itself():
    assert {c.value for c in ReasonCode if c.transient} == {
        "rate_limited",
        "source_unreachable",
        "run_deadline",
        "nothing_downloaded",
        "voided",
        "locked",
        "worker_died",
        "share_away",
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_kind_of_error_has_a_code_which_one_error_may_narrow(kind):
    assert isinstance(kind.code, ReasonCode)
    assert (kind.code is ReasonCode.UNEXPECTED) == (kind is EtfError)
    assert str(kind("words")) == "words"
    narrowed = kind("words", code=ReasonCode.DISK_FULL)
    assert narrowed.code is ReasonCode.DISK_FULL
    assert kind("words").code is kind.code


def test_a_narrower_error_is_caught_as_the_wider_one():
    for kind in (errors.CorruptFileError, errors.MixedSourceError, errors.LockTimeoutError):
        assert issubclass(kind, StoreError)


def test_an_unknown_ticker_names_the_nearest_or_how_many_there_are():
    assert "did you mean VAS, VAF?" in str(unknown_ticker("VAA", ["VAS", "VAF", "XYZ"], "it"))
    error = unknown_ticker("QQQQ", ["VAS", "VAF"], "the universe")
    assert str(error) == "ticker 'QQQQ' is not in the universe; there are 2 there"
    assert error.code is ReasonCode.UNKNOWN_TICKER


def test_a_file_of_somebody_else():
    error = foreign_file("a/VAS.parquet")
    assert error.code is ReasonCode.FOREIGN_FILE
    assert "a/VAS.parquet" in str(error)
    assert "move it away" in str(error)
