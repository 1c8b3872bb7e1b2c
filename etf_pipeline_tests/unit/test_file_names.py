import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etf_pipeline.errors import StoreError
from etf_pipeline.model.file_names import decode_ticker, encode_ticker

SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.%")


@given(st.text(min_size=1, max_size=12).filter(lambda t: t.isprintable()))
@example("BRK/A")
@example("../x")
@example("A..B")
def test_encoding_is_reversible_and_safe(ticker):
    name = encode_ticker(ticker)
    assert decode_ticker(name) == ticker
    assert set(name) <= SAFE
    assert not name.startswith(".")
    assert ".." not in name


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
@example("vas", "VAS")
def test_different_ids_stay_apart_where_case_is_ignored(a, b):
    if a != b:
        assert encode_ticker(a).upper() != encode_ticker(b).upper()


@pytest.mark.parametrize("name", ["CON", "NUL", "COM1", "LPT9", "CON.X"])
def test_windows_device_names_are_not_used(name):
    assert encode_ticker(name).partition(".")[0] not in ("CON", "NUL", "COM1", "LPT9")
    assert decode_ticker(encode_ticker(name)) == name


@pytest.mark.parametrize("ticker", ["", "X" * 300])
def test_unusable_ids_are_refused(ticker):
    with pytest.raises(StoreError, match="ticker id"):
        encode_ticker(ticker)
