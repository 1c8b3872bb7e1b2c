"""Currencies, their units, and the pairs that lead from one to another."""

import pytest

from etf_pipeline.model.currencies import (
    ISO_4217,
    Leg,
    Pair,
    check_currency,
    dollar_pair,
    needed_pairs,
    pair_of,
    route,
    unit_of,
)


@pytest.mark.parametrize(
    ("quoted", "major", "per_major"),
    [
        ("GBp", "GBP", 100),  # pence
        ("GBX", "GBP", 100),
        ("ZAc", "ZAR", 100),  # cents
        ("ILA", "ILS", 100),  # agorot
        ("KWF", "KWD", 1000),  # fils
        ("AUD", "AUD", 1),
    ],
)
def test_units(quoted, major, per_major):
    assert (unit_of(quoted).major, unit_of(quoted).per_major) == (major, per_major)


@pytest.mark.parametrize(
    ("currency", "pair"),
    [
        ("AUD", "AUDUSD=X"),
        ("EUR", "EURUSD=X"),
        ("GBP", "GBPUSD=X"),
        ("NZD", "NZDUSD=X"),
        ("JPY", "USDJPY=X"),
        ("HKD", "USDHKD=X"),
        ("CLP", "USDCLP=X"),
        ("KWD", "USDKWD=X"),
    ],
)
def test_pairs_as_the_market_quotes_them(currency, pair):
    assert dollar_pair(currency).ticker == pair
    assert pair_of(pair) == dollar_pair(currency)
    assert dollar_pair(currency).inverse.inverse == dollar_pair(currency)


@pytest.mark.parametrize("ticker", ["VAS", "AUDUSD", "AUD=X", "audusd=X", "AUDUSDX=X", "BTC-USD"])
def test_other_tickers_are_no_pairs(ticker):
    assert pair_of(ticker) is None


def told(source, target, there=()):
    return [("/" if leg.divide else "*") + leg.pair.ticker for leg in route(source, target, there)]


@pytest.mark.parametrize(
    ("source", "target", "there", "expected"),
    [
        ("AUD", "AUD", (), []),
        ("AUD", "USD", (), ["*AUDUSD=X"]),
        ("USD", "AUD", (), ["/AUDUSD=X"]),
        ("USD", "JPY", (), ["*USDJPY=X"]),
        ("JPY", "USD", (), ["/USDJPY=X"]),
        ("JPY", "AUD", (), ["/USDJPY=X", "/AUDUSD=X"]),
        ("EUR", "JPY", (), ["*EURUSD=X", "*USDJPY=X"]),
        # an inverse that is there is used; one that is there besides the usual one is not
        ("AUD", "USD", ("USDAUD=X",), ["/USDAUD=X"]),
        ("AUD", "USD", ("USDAUD=X", "AUDUSD=X"), ["*AUDUSD=X"]),
        ("AUD", "JPY", ("USDAUD=X",), ["/USDAUD=X", "*USDJPY=X"]),
        # so is a pair of the two
        ("EUR", "AUD", ("EURAUD=X",), ["*EURAUD=X"]),
        ("AUD", "EUR", ("EURAUD=X",), ["/EURAUD=X"]),
    ],
)
def test_routes(source, target, there, expected):
    assert told(source, target, there) == expected


@pytest.mark.parametrize(
    ("currencies", "there", "expected"),
    [
        ((), (), []),
        (("AUD",), (), []),
        (("GBp", "GBP"), (), []),
        (("USD",), (), []),
        (("AUD", "USD"), (), ["AUDUSD=X"]),
        (("AUD", "GBp", "JPY"), (), ["AUDUSD=X", "GBPUSD=X", "USDJPY=X"]),
        (("AUD", "USD"), ("AUDUSD=X",), []),
        (("AUD", "USD"), ("USDAUD=X",), []),
        (("AUD", "EUR"), ("EURAUD=X",), []),
        (("AUD", "EUR", "USD"), ("EURAUD=X",), ["AUDUSD=X", "EURUSD=X"]),
    ],
)
def test_pairs_that_lack(currencies, there, expected):
    assert [p.ticker for p in needed_pairs(currencies, there)] == expected


def test_the_rate_of_a_leg_is_multiplied_by_or_divided_by():
    assert route("USD", "AUD", ()) == [Leg(Pair("AUD", "USD"), divide=True)]


def test_codes_that_returns_can_be_in():
    assert check_currency("AUD") == "AUD"
    assert {"USD", "CLP", "KWD", "TWD"} <= ISO_4217
    with pytest.raises(ValueError, match="use GBP"):
        check_currency("GBp")
    with pytest.raises(ValueError, match=r"did you mean .*AUD"):
        check_currency("aud")
    with pytest.raises(ValueError, match="not an ISO 4217 code"):
        check_currency("")
