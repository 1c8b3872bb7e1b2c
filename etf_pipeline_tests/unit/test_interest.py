"""Files of interest rates, in the shapes in which central banks publish them."""

import datetime as dt
import json

import numpy as np
import pytest

from etf_pipeline.errors import UnreadableFileError
from etf_pipeline.model.reading.interest import read_interest

TODAY = dt.date(2024, 6, 1)
PERCENT = {"unit": "percent"}
RBA = """F1 INTEREST RATES AND YIELDS - MONEY MARKET,,
Title,Cash Rate Target,Bank Accepted Bills 3 months
Description,Cash Rate Target,Bank Accepted Bills/Negotiable Certificates of Deposit-3 months
Frequency,Daily,Daily
Type,Original,Original
Units,Per cent,Per cent
,,
Source,RBA,ASX
Publication date,30-Apr-2024,30-Apr-2024
Series ID,FIRMMCRTD,FIRMMBAB90D
02-Jan-2024,4.35,4.36
03-Jan-2024,4.35,
04-Jan-2024,4.10,4.33
"""
FRED = "observation_date,DTB3\n2024-01-02,5.22\n2024-01-03,.\n2024-01-04,5.24\n"
ECB = (
    '"DATE","TIME PERIOD","Euro short-term rate - Unit: Percent (EST.B.EU000A2X2A25.WT)"\n'
    '"2024-01-02","02 Jan 2024","3.901"\n"2024-01-03","03 Jan 2024","3.904"\n'
)
FED = (
    "Effective Date,Rate Type,Rate (%)\n01/18/2024,SOFR,5.31\n01/17/2024,SOFR,5.32\n"
    "01/16/2024,SOFR,5.33\n"
)
BOE = "Date,IUDSOIA (%)\n04 Jan 24,5.1866\n03 Jan 24,5.1869\n02 Jan 24,5.1870\n"
BUNDESBANK = "Datum;Satz in Prozent (%)\n02.01.2024;3,62\n13.01.2024;3,62\n"


def read(text, sidecar=None):
    declared = None if sidecar is None else json.dumps(sidecar).encode()
    return read_interest(text.encode(), "rates.csv", declared, TODAY)


def days(*texts):
    return np.array(texts, dtype="datetime64[D]").tolist()


@pytest.mark.parametrize(
    ("text", "sidecar", "dates", "rates"),
    [
        (
            RBA,
            {"column": "FIRMMCRTD"},
            ("2024-01-02", "2024-01-03", "2024-01-04"),
            (4.35, 4.35, 4.1),
        ),
        (
            RBA,
            {"column": "Bank Accepted Bills 3 months"},
            ("2024-01-02", "2024-01-04"),
            (4.36, 4.33),
        ),
        (FRED, PERCENT, ("2024-01-02", "2024-01-04"), (5.22, 5.24)),
        (ECB, None, ("2024-01-02", "2024-01-03"), (3.901, 3.904)),
        (FED, None, ("2024-01-16", "2024-01-17", "2024-01-18"), (5.33, 5.32, 5.31)),
        (BOE, None, ("2024-01-02", "2024-01-03", "2024-01-04"), (5.187, 5.1869, 5.1866)),
        (BUNDESBANK, None, ("2024-01-02", "2024-01-13"), (3.62, 3.62)),
        ("date,rate (fraction)\n2024-01-02,0.0435\n", None, ("2024-01-02",), (4.35,)),
        (
            "date,rate\n2024-01-02,4.35%\n2024-01-03,-0.5 %\n",
            None,
            ("2024-01-02", "2024-01-03"),
            (4.35, -0.5),
        ),
        ("20240102,4.35\n20240103,4.40\n", PERCENT, ("2024-01-02", "2024-01-03"), (4.35, 4.4)),
        (
            "date,rate,note\n2024-01-02,0.5,x\n2024-01-02,0.5,y\n",
            {"unit": "fraction"},
            ("2024-01-02",),
            (50,),
        ),
    ],
)
def test_rates_as_they_are_published(text, sidecar, dates, rates):
    found = read(text, sidecar)
    assert found.days.tolist() == days(*dates)
    assert found.rates == pytest.approx(np.array(rates) / 100, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "sidecar", "words"),
    [
        (FRED, None, "'5.22' is per cent or a fraction; declare it in rates.csv.json"),
        ("date,rate\n2024-01-02,0.0435\n", None, "nothing says whether"),
        (
            RBA,
            None,
            "several columns of numbers: 'Cash Rate Target', 'Bank Accepted Bills 3 months'",
        ),
        (RBA, {"column": "Cash"}, "no column is called 'Cash'"),
        (BOE, {"unit": "fraction"}, "per cent and fractions"),
        (FRED, {"unit": "bp"}, "unit must be percent or fraction"),
        (FRED, {"units": "percent"}, "'units' is unknown"),
        (FRED, PERCENT | {"currency": "dollars"}, "rates.csv.json"),
        ("date,rate (%)\n01/02/2024,4\n02/02/2024,4\n", None, "may be day first"),
        ("date,rate (%)\n2024-01-02,4.35\n2024-13-02,4.35\n", None, "line 3"),
        ("date,rate (%)\n2024-01-02,4.35\nsoon,4.35\n", None, "line 3.*'soon' is not a date"),
        (
            "date,rate (%)\n2024-01-02,4.35\n2024-01-03,high\n",
            None,
            "line 3.*'high' is not a number",
        ),
        ("date,rate (%)\n2024-01-02,4.35\n2024-01-02,4.40\n", None, "line 3: two different rates"),
        ("date,rate (%)\n2024-01-02,4.35\n2024-06-03,4.40\n", None, "line 3.*in the future"),
        ("date,rate (%)\n2024-01-02,4.35\n,4.40\n", None, "line 3.*a rate without a date"),
        ("date,rate (fraction)\n2024-01-02,4.35\n", None, "line 2.*must be below 1"),
        ("date,rate\n2024-01-02,4.35%\n2024-01-03,4.4\n", None, "line 3.*no % sign"),
        ("date;rate (%)\n2024-01-02;4,350\n", None, "may be thousands or decimals"),
        ("date,rate (%)\n", None, "no row of a date and a rate"),
        ("", None, "no row of a date and a rate"),
        ("PK\x03\x04", None, "Excel"),
    ],
)
def test_what_is_in_doubt_is_refused_by_name(text, sidecar, words):
    with pytest.raises(UnreadableFileError, match=words) as caught:
        read(text, sidecar)
    assert "rates.csv" in str(caught.value)


def test_a_declared_currency_and_date_format():
    sidecar = PERCENT | {"currency": "AUD", "date_format": "%d/%m/%Y"}
    found = read("date,rate\n01/02/2024,4\n02/02/2024,4\n", sidecar)
    assert (found.days.tolist(), found.currency) == (days("2024-02-01", "2024-02-02"), "AUD")
