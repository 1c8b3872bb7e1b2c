"""Files from other tools: the right rows, or a refusal of that ticker that names file and line."""

import datetime as dt
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.ingest.answers import check_identity
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.calendars import sessions, time_zone
from etf_pipeline_tests.support import asx_days, instrument

NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
DAYS = asx_days("2023-11-13", 40)
CLOSES = np.round(4600 + 7.31 * np.arange(40), 2)


def read(folder, content, name="VAS.csv", asked=None, sidecar=None, date_format=None):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if sidecar is not None:
        (folder / f"{name}.json").write_text(json.dumps(sidecar))
    source = FilesSource(folder, lambda: NOW, date_format)
    (answer,) = source.fetch([Request(asked or instrument("VAS"))])
    return answer


def table(
    dates=None, close=None, delimiter=",", header=("Date", "Close", "Adj Close", "Volume"), rows=40
):
    dates = dates or (lambda d: str(d))
    close = close or (lambda x: f"{x:.2f}")
    lines = [delimiter.join(header)]
    for day, price in zip(DAYS[:rows], CLOSES[:rows], strict=True):
        date = dates(pd.Timestamp(day))
        lines.append(delimiter.join((date, close(price), close(price), "12000")))
    return "\n".join(lines) + "\n"


def days_of(answer):
    assert isinstance(answer, Download), answer.reason
    return list(answer.rows.index.to_numpy().astype("datetime64[D]"))


def refused(answer, *words):
    assert isinstance(answer, FetchFailure), answer.rows
    assert answer.kind == "rejected"
    assert not answer.code.transient
    for word in words:
        assert word in answer.reason
    return answer.reason


def iso(day):
    return f"{day:%Y-%m-%d}"


DATES = {
    "iso": iso,
    "slashes, year first": lambda d: f"{d:%Y/%m/%d}",
    "no dashes": lambda d: f"{d:%Y%m%d}",
    "day first, some above 12": lambda d: f"{d:%d/%m/%Y}",
    "month first, some above 12": lambda d: f"{d.month}/{d.day}/{d.year}",
    "dots": lambda d: f"{d:%d.%m.%Y}",
    "short year": lambda d: f"{d:%d/%m/%y}",
    "words": lambda d: f'"{d:%b %d, %Y}"',
    "long words": lambda d: f'"{d:%A, %B %d, %Y}"',
    "day, word": lambda d: f"{d:%d-%b-%Y}",
    "day, word, short year": lambda d: f"{d:%d-%b-%y}",
    "month first, at the close": lambda d: f"{d.month}/{d.day}/{d.year} 16:00:00",
    "month first, half days": lambda d: f"{d.month}/{d.day}/{d.year} 4:00:00 PM",
    "the exchange's midnight in UTC": lambda d: (
        f"{d.tz_localize('Australia/Sydney').tz_convert('UTC'):%Y-%m-%dT%H:%M:%SZ}"
    ),
    "the exchange's open with its offset": lambda d: (
        (d + pd.Timedelta(hours=10)).tz_localize("Australia/Sydney").isoformat(" ")
    ),
    "the close in New York's time": lambda d: (
        (d + pd.Timedelta(hours=16))
        .tz_localize("Australia/Sydney")
        .tz_convert("America/New_York")
        .isoformat()
    ),
    "seconds": lambda d: str(int((d + pd.Timedelta(hours=23 - 24)).timestamp())),
    "milliseconds": lambda d: str(int(d.timestamp() * 1000)),
    "nanoseconds": lambda d: str(d.as_unit("ns").value),
    "excel": lambda d: str((d - pd.Timestamp("1899-12-30")).days),
    "excel, at the close": lambda d: f"{(d - pd.Timestamp('1899-12-30')).days + 16 / 24:.6f}",
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_that_can_be_read_in_one_way_are(tmp_path, kind):
    form = DATES[kind]
    if kind == "seconds":  # Sydney's open, 10:00, as Yahoo stamps its bars

        def form(d):
            return str(
                int((d + pd.Timedelta(hours=10)).tz_localize("Australia/Sydney").timestamp())
            )

    assert days_of(read(tmp_path, table(form))) == list(DAYS)


def test_known_numbers_are_the_days_that_they_are(tmp_path):
    """1700524800 is 2023-11-21 00:00 UTC; Excel's 45252 is 2023-11-22."""
    for number, day in (("1700524800", "2023-11-21"), ("45252", "2023-11-22")):
        answer = read(tmp_path, f"Date,Close\n{number},5\n")
        assert [str(d) for d in days_of(answer)] == [day]


def first_days(d):
    return f"{d:%d/%m/%Y}"


AMBIGUOUS = "Date,Close\n03/04/2024,5.1\n04/04/2024,5.2\n05/04/2024,5.3\n"


def test_days_up_to_12_throughout_are_refused_unless_declared(tmp_path):
    reason = refused(read(tmp_path, AMBIGUOUS), "VAS.csv line 2", "day first", "month first")
    assert "ETF_FILES_DATE_FORMAT" in reason
    april = ["2024-04-03", "2024-04-04", "2024-04-05"]
    answer = read(tmp_path, AMBIGUOUS, date_format="%d/%m/%Y")
    assert [str(d) for d in days_of(answer)] == april
    answer = read(tmp_path, AMBIGUOUS, sidecar={"date_format": "%d/%m/%Y"})
    assert [str(d) for d in days_of(answer)] == april


def test_one_day_above_12_decides_for_all(tmp_path):
    content = "Date,Close\n03/04/2024,5.1\n04/04/2024,5.2\n16/04/2024,5.3\n"
    days = [str(d) for d in days_of(read(tmp_path, content))]
    assert days == ["2024-04-03", "2024-04-04", "2024-04-16"]


def test_the_usual_format_gives_way_to_what_cannot_be_it(tmp_path):
    assert days_of(read(tmp_path, table(), date_format="%d/%m/%Y")) == list(DAYS)


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (["16/04/2024", "04/17/2024"], ["line 3", "04/17/2024"]),  # both ways round
        (["2024-04-16", "17.04.2024"], ["line 3", "17.04.2024"]),
        (["2024-04-16", "2024-02-30"], ["line 3", "2024-02-30"]),
        (["2024-04-16", "soon"], ["line 3", "soon"]),
        (["2024-04-16T00:00:00Z", "2024-04-17T00:00:00"], ["line 3", "names no zone"]),
        (["2024-04-16", "2034-04-17"], ["line 3", "in the future"]),
        (["1824-04-16", "2024-04-17"], ["line 2", "before 1900"]),
        (["2024-04-16", ""], ["line 3", "without a date"]),
        (["12", "13"], ["line 2"]),
    ],
)
def test_other_dates_are_refused_with_their_line(tmp_path, dates, words):
    rows = "".join(f"{d},5.{i}\n" for i, d in enumerate(dates))
    refused(read(tmp_path, f"Date,Close\n{rows}"), "VAS.csv", *words)


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_a_zone_is_converted_to_the_exchanges(tmp_path, extension):
    """Sydney's midnight of 2025-11-12 is 2025-11-11 13:00 in UTC."""
    stamps = pd.DatetimeIndex(DAYS).tz_localize("Australia/Sydney").tz_convert("UTC")
    frame = pd.DataFrame({"Close": CLOSES, "Adj Close": CLOSES}, index=stamps.rename("Date"))
    out = io.BytesIO()
    frame.to_csv(out) if extension == "csv" else frame.to_parquet(out)
    assert days_of(read(tmp_path, out.getvalue(), f"VAS.{extension}")) == list(DAYS)


def test_offsets_that_change_with_the_clocks(tmp_path):
    """+11:00 until April, +10:00 after it: each is the session of its own midnight."""
    days = asx_days("2024-03-25", 20)
    stamps = [d.isoformat() for d in pd.DatetimeIndex(days).tz_localize("Australia/Sydney")]
    assert {s[-6:] for s in stamps} == {"+11:00", "+10:00"}
    content = "Date,Close\n" + "".join(f"{s},5.{i:02}\n" for i, s in enumerate(stamps))
    assert days_of(read(tmp_path, content)) == list(days)


def test_a_single_stamp_in_utc(tmp_path):
    content = b"Date,Close\n2025-11-11T13:00:00Z,5\n"
    assert [str(d) for d in days_of(read(tmp_path, content))] == ["2025-11-12"]


def _until_now(mic):
    return sessions(mic)[sessions(mic) <= np.datetime64("2025-11-12")][-300:]


@pytest.mark.parametrize("mic", ["XNYS", "XLON", "XTKS", "XHKG", "XETR", "XSGO", "XASX", "XSAU"])
@pytest.mark.parametrize("hours", [0, 9, 16, 19])
def test_bars_stamped_at_any_hour_of_any_exchange(tmp_path, mic, hours):
    days = _until_now(mic)
    local = pd.DatetimeIndex(days) + pd.Timedelta(hours=hours)
    stamps = local.tz_localize(time_zone(mic), nonexistent="shift_forward").tz_convert("UTC")
    frame = pd.DataFrame({"Date": stamps, "Close": 5.0 + np.arange(300) % 7})
    out = io.BytesIO()
    frame.to_parquet(out)
    asked = instrument("VAS", exchange=mic)
    assert days_of(read(tmp_path, out.getvalue(), "VAS.parquet", asked)) == list(days)


def test_midnights_in_utc_that_stand_for_dates(tmp_path):
    """Converted they would be Sundays to Thursdays in New York."""
    days = _until_now("XNYS")
    stamps = pd.DatetimeIndex(days).tz_localize("UTC")
    frame = pd.DataFrame({"Date": stamps, "Close": 5.0})
    asked = instrument("VAS", exchange="XNYS")
    assert days_of(read(tmp_path, frame.to_csv(index=False), asked=asked)) == list(days)
    few = frame[:2] if days[1] - days[0] == np.timedelta64(1, "D") else frame[1:3]
    refused(read(tmp_path, few.to_csv(index=False), asked=asked), "may be dates or points in time")


def test_naive_stamps_of_another_zone_are_refused_and_can_be_declared(tmp_path):
    days = asx_days("2025-01-02", 139)
    opened = (pd.DatetimeIndex(days) + pd.Timedelta(hours=10)).tz_localize("Australia/Sydney")
    stamps = opened.tz_convert("America/New_York").tz_localize(None)
    content = pd.DataFrame({"Date": stamps, "Close": 5.0}).to_csv(index=False)
    sundays = int((stamps.day_of_week == 6).sum())
    refused(read(tmp_path, content), f"{sundays} of 139 dates", "Sunday", "another zone", '"zone"')
    answer = read(tmp_path, content, sidecar={"zone": "America/New_York"})
    assert days_of(answer) == list(days)


def grouped(x):
    return f'"{x:,.2f}"'


NUMBERS = {
    "thousands": (grouped, ",", CLOSES),
    "four decimals": (lambda x: f'"{x:,.4f}"', ",", CLOSES),
    "decimal comma": (lambda x: f"{x:.2f}".replace(".", ","), ";", CLOSES),
    "decimal comma, tabs": (lambda x: f"{x:.2f}".replace(".", ","), "\t", CLOSES),
    "german": (
        lambda x: f"{x:,.2f}".replace(",", " ").replace(".", ",").replace(" ", "."),
        ";",
        CLOSES,
    ),
    "french": (lambda x: f"{x:,.2f}".replace(",", "\u202f").replace(".", ","), ";", CLOSES),
    "swiss": (lambda x: f"{x:,.2f}".replace(",", "'"), ";", CLOSES),
    "bars": (lambda x: f"{x:.2f}", "|", CLOSES),
    "three decimals": (lambda x: f"{x / 1000:.3f}", ",", np.round(CLOSES / 1000, 3)),
    "dollars": (lambda x: f"${x:.2f}", ",", CLOSES),
    "dollars and thousands": (lambda x: f'"A${x:,.2f}"', ",", CLOSES),
    "code after": (lambda x: f"{x:.2f} AUD", ",", CLOSES),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_can_be_read_in_one_way_are(tmp_path, kind):
    form, delimiter, right = NUMBERS[kind]
    answer = read(tmp_path, table(close=form, delimiter=delimiter))
    assert days_of(answer) == list(DAYS)
    assert answer.rows["close"].tolist() == right.tolist()
    assert answer.rows["adj_close_source"].tolist() == right.tolist()
    assert set(answer.rows["volume"]) == {12000.0}
    check_identity(answer)


@pytest.mark.parametrize(
    ("rows", "delimiter"),
    [(['"4,677"', '"4,683"'], ","), (["4,677", "4,683"], ";"), (["4.677", "4.683"], ";")],
)
def test_three_digits_behind_every_sign_are_refused_unless_declared(tmp_path, rows, delimiter):
    days = ("2024-04-16", "2024-04-17")
    content = f"Date{delimiter}Close\n" + "".join(
        f"{d}{delimiter}{r}\n" for d, r in zip(days, rows, strict=True)
    )
    refused(read(tmp_path, content), "may be thousands or decimals", '"decimal"')
    decimal = "." if "." in rows[0] else ","
    answer = read(tmp_path, content, sidecar={"decimal": decimal})
    assert answer.rows["close"].tolist() == [4.677, 4.683]
    other = {".": ",", ",": "."}[decimal]
    answer = read(tmp_path, content, sidecar={"decimal": other})
    assert answer.rows["close"].tolist() == [4677, 4683]


@pytest.mark.parametrize("cell", ["4x6", "1.2M", "(5.3)", "5.3%", "1,23,4", "4.6.7", "1_000", "٣"])
def test_a_cell_that_is_no_number_is_quoted_with_its_line(tmp_path, cell):
    content = f'Date,Close\n2024-04-16,5.25\n2024-04-17,"{cell}"\n2024-04-18,5.5\n'
    refused(read(tmp_path, content), "VAS.csv line 3", "Close", cell)


def test_volumes_with_a_letter(tmp_path):
    content = (
        "Date,Price,Open,High,Low,Vol.,Change %\n"
        '"Jan 19, 2018",5.20,5.10,5.30,5.00,68.18K,0.4%\n"Jan 18, 2018",5.10,5.1,5.3,5,1.2M,-0.1%\n'
        '"Jan 17, 2018",5.10,5.1,5.3,5,-,-0.1%\n'
    )
    answer = read(tmp_path, content)
    assert [str(d) for d in days_of(answer)] == ["2018-01-17", "2018-01-18", "2018-01-19"]
    assert answer.rows["volume"].tolist()[1:] == [1_200_000.0, pytest.approx(68_180.0)]
    assert np.isnan(answer.rows["volume"].iloc[0])


@pytest.mark.parametrize("gone", ["", "null", "N/A", "-", "NaN", "#N/A", "None", "--"])
def test_what_is_not_there_is_missing(tmp_path, gone):
    content = f"Date,Close,Volume\n2024-04-16,5.25,7\n2024-04-17,{gone},{gone}\n2024-04-18,5.5,9\n"
    rows = read(tmp_path, content).rows
    assert rows["close"].isna().tolist() == [False, True, False]
    assert rows["volume"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("ratio", ["2:1", "2/1", "2", "2.0", "2 : 1"])
def test_splits_as_ratios(tmp_path, ratio):
    content = f"Date,Close,Stock Splits\n2024-04-16,5.25,\n2024-04-17,5.1,{ratio}\n2024-04-18,5,0\n"
    rows = read(tmp_path, content).rows
    assert rows["stock_splits"].fillna(0).tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings(tmp_path, encoding):
    content = table(header=("Date", "Close", "Adj Close", "Volume", "Währung"))
    content = content.replace(",12000", ",12000,€uro")
    assert days_of(read(tmp_path, content.encode(encoding))) == list(DAYS)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_what_surrounds_the_rows_is_left_out(tmp_path, ends):
    body = table().splitlines()
    lines = [
        "# made by a tool",
        "Prices of VAS",
        "",
        *body[:20],
        ",,,",
        "",
        body[0],
        "// half of it",
        *body[20:],
        "Total,184000.00,184000.00,480000",
        "",
    ]
    assert days_of(read(tmp_path, ends.join(lines))) == list(DAYS)


def test_a_total_in_the_midst_is_refused(tmp_path):
    lines = table().splitlines()
    refused(read(tmp_path, "\n".join([*lines[:9], "Total,1,1,1", *lines[9:]])), "line 10", "Total")


@pytest.mark.parametrize("cells", ["2024-04-17", "2024-04-17,5,3", "2024-04-17,5,3,7,9"])
def test_a_row_of_another_width_is_refused(tmp_path, cells):
    content = f"Date,Open,Close,Volume\n2024-04-16,5,5,7\n{cells}\n2024-04-18,5,5,7\n"
    if cells.count(",") == 2:  # the volume alone is cut off
        refused(read(tmp_path, content), "line 3", "3 cells")
    else:
        refused(read(tmp_path, content), "line 3", "cells, the header has 4")


def test_the_columns_of_yfinance_download(tmp_path):
    lines = ["Price,Close,High,Low,Open,Volume", "Ticker" + ",VAS.AX" * 5, "Date,,,,,"]
    lines += [f"{iso(pd.Timestamp(d))},5.5,5.6,5.4,5.5,700" for d in DAYS]
    assert days_of(read(tmp_path, "\n".join(lines))) == list(DAYS)
    frame = pd.DataFrame(
        5.5,
        pd.DatetimeIndex(DAYS, name="Date"),
        pd.MultiIndex.from_product([["Close", "Volume"], ["VAS.AX"]], names=["Price", "Ticker"]),
    )
    out = io.BytesIO()
    frame.to_parquet(out)
    (tmp_path / "VAS.csv").unlink()
    assert days_of(read(tmp_path, out.getvalue(), "VAS.parquet")) == list(DAYS)
    (tmp_path / "VAS.parquet").unlink()
    lines[1] = "Ticker" + ",VGS.AX" * 5
    with pytest.raises(Exception, match=r"asked for VAS\.AX, got VGS\.AX"):
        check_identity(read(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Date,Close (USD)\n2024-04-16,5.25\n", "USD"),
        ("Date,Close\n2024-04-16,€5.25\n", "€"),
        ("Date,Close\n2024-04-16,5.25 USD\n", "USD"),
        ("Date,Close\n2024-04-16,US$5.25\n", "US$"),
    ],
)
def test_another_currency_beside_the_prices_is_refused(tmp_path, content, said):
    with pytest.raises(Exception, match=rf"prices are in {said[:2]}"):
        check_identity(read(tmp_path, content))


def test_a_sidecar_names_the_currency(tmp_path):
    content = "Date,Close\n2024-04-16,5.25\n"
    check_identity(read(tmp_path, content, sidecar={"currency": "AUD"}))
    with pytest.raises(Exception, match="prices are in USD"):
        check_identity(read(tmp_path, content, sidecar={"currency": "USD"}))


@pytest.mark.parametrize(
    "said", ["[", "[1]", '{"colour": "red"}', '{"decimal": "x"}', '{"zone": 3}']
)
def test_a_bad_sidecar_is_that_tickers_rejection(tmp_path, said):
    (tmp_path / "VAS.csv.json").write_text(said)
    refused(read(tmp_path, table()), "VAS.csv.json")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"date_format": "%d/%m/%Y"}, "not in the declared format"),
    ],
)
def test_what_is_declared_must_fit(tmp_path, said, words):
    refused(read(tmp_path, table(), sidecar=said), words)


def parquet(table_or_frame):
    out = io.BytesIO()
    if isinstance(table_or_frame, pa.Table):
        pq.write_table(table_or_frame, out)
    else:
        table_or_frame.to_parquet(out)
    return out.getvalue()


NAIVE = pa.array(DAYS.astype("datetime64[us]"))
ARROW = {
    "date32": pa.array(DAYS),
    "date64": pa.array(DAYS).cast(pa.date64()),
    "s": NAIVE.cast(pa.timestamp("s")),
    "ms": NAIVE.cast(pa.timestamp("ms")),
    "us": NAIVE,
    "ns": NAIVE.cast(pa.timestamp("ns")),
    "zone": pa.array(
        pd.DatetimeIndex(DAYS).tz_localize("Australia/Sydney").tz_convert("UTC").tz_localize(None)
    ).cast(pa.timestamp("us", "UTC")),
    "text": pa.array([str(d) for d in DAYS]),
    "category": pa.array([str(d) for d in DAYS]).dictionary_encode(),
    "int": pa.array([int(str(d).replace("-", "")) for d in DAYS]),
    "float": pa.array([float((d - np.datetime64("1899-12-30")).astype(int)) for d in DAYS]),
}
VALUES = {
    "float32": pa.array(CLOSES, pa.float32()),
    "decimal": pa.array([f"{c:.2f}" for c in CLOSES]).cast(pa.decimal128(12, 2)),
    "text": pa.array([f"{c:,.2f}" for c in CLOSES]),
    "category": pa.array(CLOSES).dictionary_encode(),
    "int": pa.array(CLOSES.astype("int64")),
    "uint64": pa.array(CLOSES.astype("uint64")),
}


@pytest.mark.parametrize("kind", ARROW)
def test_dates_of_any_type(tmp_path, kind):
    content = parquet(pa.table({"Date": ARROW[kind], "Close": pa.array(CLOSES)}))
    assert days_of(read(tmp_path, content, "VAS.parquet")) == list(DAYS)


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_any_type(tmp_path, kind):
    content = parquet(pa.table({"Date": NAIVE, "Close": VALUES[kind], "Volume": VALUES["int"]}))
    answer = read(tmp_path, content, "VAS.parquet")
    right = np.floor(CLOSES) if "int" in kind else CLOSES
    assert answer.rows["close"].to_numpy() == pytest.approx(right, rel=1e-7)


FRAME = pd.DataFrame({"Close": CLOSES}, index=pd.DatetimeIndex(DAYS, name="Date"))


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.assign(Date=DAYS),  # pandas cannot read this one back
        FRAME.rename_axis(None),
        FRAME.reset_index(),
        FRAME.reset_index().set_index("Close", append=True),
        FRAME.set_index("Close", append=True),
        FRAME.reset_index().sample(frac=1, random_state=1),
    ],
)
def test_frames_with_any_index(tmp_path, frame):
    content = parquet(pa.Table.from_pandas(frame.rename_axis(columns=None)))
    answer = read(tmp_path, content, "VAS.parquet")
    assert days_of(answer) == list(DAYS)
    assert answer.rows["close"].tolist() == CLOSES.tolist()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"Date": NAIVE, "Close": pa.array([[1.0]] * 40)}, "type list"),
        ({"Date": NAIVE, "Close": pa.array([{"a": 1.0}] * 40)}, "type struct"),
        ({"Date": NAIVE, "Close": NAIVE}, "holds dates"),
        ({"Date": NAIVE, "Close": pa.array([b"x"] * 40)}, "type binary"),
        ({"Date": pa.array([True] * 40), "Close": pa.array(CLOSES)}, "type bool"),
        ({"Close": pa.array(CLOSES)}, "no 'date' column"),
        ({"Date": NAIVE, "Close": pa.array(CLOSES), "close": pa.array(CLOSES + 1)}, "both 'close'"),
        ({"Date": NAIVE, "Close": pa.array(CLOSES), "Volume": pa.array([1e300] * 40)}, "row 1"),
        ({"Date": NAIVE, "Close": pa.array(CLOSES), "Dividends": pa.array([np.inf] * 40)}, "row 1"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, columns, words):
    answer = read(tmp_path, parquet(pa.table(columns)), "VAS.parquet")
    refused(answer, "VAS.parquet", words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"PK\x03\x04...", "Excel"),
        (b"\x1f\x8b...", "gzip"),
        (b"\x81\x8d\x8f", "not text"),
        (b"Date,Close,close\n2024-04-16,1,2\n", "both 'close'"),
        (b'Date,Close\n2024-04-16,"1\n', "VAS.csv"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, content, words):
    refused(read(tmp_path, content), words)


def test_a_file_without_rows_is_an_empty_answer(tmp_path):
    assert read(tmp_path, "Date,Close\n").rows.empty


def adjusted_csv(dividend=0.5, on=20, decimals=6):
    factor = np.where(np.arange(40) < on, 1 - dividend / CLOSES[on - 1], 1.0)
    frame = pd.DataFrame({"Open": CLOSES, "Close": CLOSES, "Adj Close": CLOSES * factor}, DAYS)
    return frame.to_csv(index_label="Date", float_format=f"%.{decimals}f")


@pytest.mark.parametrize(("decimals", "dividend"), [(6, 60.0), (6, 0.5), (4, 12.0), (2, 60.0)])
def test_distributions_of_yahoos_classic_csv(tmp_path, decimals, dividend):
    answer = read(tmp_path, adjusted_csv(dividend, 20, decimals))
    paid = answer.rows["dividends"]
    assert np.flatnonzero(paid).tolist() == [20]
    # what half a unit of the last decimal may do to either of two ratios
    assert paid.iloc[20] == pytest.approx(dividend, abs=4 * 0.5 * 10.0**-decimals + 1e-3)
    assert answer.dividend_notes == {answer.rows.index[20].date(): "implied"}
    adjusted = answer.rows["adj_close_source"].to_numpy()
    assert adjusted[0] == pytest.approx(CLOSES[0] * (1 - dividend / CLOSES[19]), abs=1e-2)


def test_a_file_is_answered_whole_whatever_is_asked_for(tmp_path):
    (tmp_path / "VAS.csv").write_text(adjusted_csv(60.0))
    source = FilesSource(tmp_path, lambda: NOW)
    (answer,) = source.fetch([Request(instrument("VAS"), DAYS[21].astype(object))])
    assert (answer.whole, days_of(answer)) == (True, list(DAYS))
    assert answer.rows["dividends"].iloc[20] == pytest.approx(60.0, abs=1e-3)
    assert list(answer.dividend_notes) == [DAYS[20].astype(object)]


@pytest.mark.parametrize("bad", ["", "0"])
def test_a_day_without_a_close_costs_that_day_only(tmp_path, bad):
    """Adjusted closes 9.8, 9.8, -, 10, 10 and a dividend of .2 on day 4: the closes were 10."""
    closes = ["9.8", "9.8", bad, "10", "10"]
    paid = [0, 0, 0, 0.2, 0]
    rows = [f"{d},{c},{c},{p}" for d, c, p in zip(DAYS[:5], closes, paid, strict=True)]
    answer = read(tmp_path, "Date,Open,Close,Dividends\n" + "\n".join(rows))
    found = answer.rows["close"].to_numpy()
    assert found[[0, 1, 3, 4]] == pytest.approx([10.0] * 4, rel=1e-12)
    assert np.isnan(found[2]) if bad == "" else found[2] == 0


def test_one_bad_file_leaves_the_others(tmp_path):
    for i in range(5):
        (tmp_path / f"T{i}.csv").write_text(table())
    (tmp_path / "T2.csv").write_bytes(bytes(range(256)))
    asked = [Request(instrument(f"T{i}")) for i in range(5)]
    answers = list(FilesSource(tmp_path, lambda: NOW).fetch(asked))
    assert [isinstance(a, Download) for a in answers] == [True, True, False, True, True]


def test_a_mistake_of_ours_is_that_tickers_failure_with_a_traceback(tmp_path, caplog):
    def broken():
        raise KeyError("ours")

    (tmp_path / "VAS.csv").write_text(table())
    (answer,) = FilesSource(tmp_path, broken).fetch([Request(instrument("VAS"))])
    assert (answer.kind, answer.code) == ("permanent", "our_mistake")
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_two_rows_for_a_day_are_left_to_the_rule_for_them(tmp_path, reverse, adjusted):
    """They change no other row: neither what is implied nor what is unadjusted."""
    if adjusted:
        head, *lines = adjusted_csv(60.0).splitlines()
        lines.append(lines[20].replace(lines[20].split(",")[2], "1.0", 1))
    else:
        head = "Date,Close,Dividends"
        paid = np.where(np.arange(40) == 20, 60, 0)
        rows = zip(DAYS, CLOSES, paid, strict=True)
        lines = [f"{day},{close:.2f},{amount}" for day, close, amount in rows]
        lines.append(f"{DAYS[20]},{CLOSES[20] / 2:.2f},60")
    one = read(tmp_path, "\n".join([head, *lines[:-1]])).rows
    two = read(tmp_path, "\n".join([head, *(lines[::-1] if reverse else lines)])).rows
    assert len(two) == 41
    others = two[two.index != one.index[20]]
    pd.testing.assert_frame_equal(others, one.drop(index=one.index[20]), rtol=1e-12)


@pytest.mark.parametrize("zone", [None, "Europe/London", "UTC"])
def test_rates_of_exchange_are_read_like_prices(tmp_path, zone):
    """London's midnight in summer is 23:00 of the day before in UTC."""
    days = pd.bdate_range("2025-03-03", periods=120)
    local = days if zone is None else days.tz_localize("Europe/London").tz_convert(zone)
    content = pd.DataFrame({"Date": local, "Close": 0.65}).to_csv(index=False)
    asked = instrument("AUDUSD=X", symbol="AUDUSD=X", exchange="FX", currency="USD")
    assert days_of(read(tmp_path, content, "AUDUSD=X.csv", asked)) == list(
        days.to_numpy().astype("datetime64[D]")
    )


@pytest.mark.parametrize("mic", ["XLON", "XASX", "XNYS", "XETR"])
@pytest.mark.parametrize("begin", ["2024-10-23", "2024-01-02"])
def test_midnights_in_utc_without_a_zone_change_their_hour_with_the_clocks(tmp_path, mic, begin):
    """A winter that begins in the last days of summer time, and a whole year."""
    days = sessions(mic)
    days = days[(days >= np.datetime64(begin)) & (days <= np.datetime64("2025-04-30"))]
    local = pd.DatetimeIndex(days).tz_localize(time_zone(mic))
    stamps = local.tz_convert("UTC").tz_localize(None).strftime("%Y-%m-%d %H:%M:%S")
    assert len(set(stamps.str[-8:])) == 2
    content = pd.DataFrame({"Date": stamps, "Close": 5.0}).to_csv(index=False)
    asked = instrument("VAS", exchange=mic)
    assert days_of(read(tmp_path, content, asked=asked)) == list(days)


def test_local_hours_that_change_are_local(tmp_path):
    """Half days close earlier."""
    days = asx_days("2024-12-02", 40)
    hours = np.where(np.arange(40) % 13 == 7, 14, 16)
    stamps = pd.DatetimeIndex(days) + pd.to_timedelta(hours, "h")
    content = pd.DataFrame({"Date": stamps, "Close": 5.0}).to_csv(index=False)
    assert days_of(read(tmp_path, content)) == list(days)


@pytest.mark.parametrize("at", [0, 20, 39])
def test_a_lone_date_far_from_all_others_is_refused_with_its_line(tmp_path, at):
    lines = table().splitlines()
    lines[1 + at] = "2014" + lines[1 + at][4:]
    refused(read(tmp_path, "\n".join(lines)), f"line {at + 2}", "2014", "alone")
