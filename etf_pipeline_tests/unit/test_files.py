"""A folder of files as a source: whose prices are adjusted already, and what cannot be read."""

import pandas as pd
import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.history.adjust import adjusted_close
from etf_pipeline.ingest.source import Request
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows

ROWS = bars(asx_days("2024-09-02", 300), walk(300))
ROWS.loc[ROWS.index[250], "dividends"] = 1.25


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_files_without_adj_close_are_unadjusted_exactly(tmp_path, extension):
    """yfinance's default output is adjusted already; adjusting it twice would invent returns."""
    adjusted = adjusted_close(ROWS["close"], ROWS["dividends"])
    factor = adjusted / ROWS["close"].to_numpy()
    published = yahoo_rows(ROWS).drop(columns="Adj Close")
    for name in ("Open", "High", "Low", "Close"):
        published[name] *= factor
    published.index = published.index.tz_localize("Australia/Sydney")
    path = tmp_path / f"VAS.{extension}"
    published.to_csv(path) if extension == "csv" else published.to_parquet(path)
    (answer,) = FilesSource(tmp_path).fetch([Request(instrument("VAS"))])
    assert list(answer.rows.index) == list(ROWS.index)
    assert answer.rows["close"].to_numpy() == pytest.approx(ROWS["close"].to_numpy(), rel=1e-12)
    assert answer.rows["open"].to_numpy() == pytest.approx(ROWS["open"].to_numpy(), rel=1e-12)


def test_an_unreadable_file_is_that_tickers_rejection(tmp_path):
    (tmp_path / "VAS.parquet").write_bytes(b"nonsense")
    (tmp_path / "VGS.csv").write_text("Date,Price\n2024-01-02,1\n")
    vas, vgs = FilesSource(tmp_path).fetch([Request(instrument("VAS")), Request(instrument("VGS"))])
    assert (vas.kind, vgs.kind) == ("rejected", "rejected")
    assert "VAS.parquet" in vas.reason
    assert "no 'close' column" in vgs.reason


def test_an_absent_folder_is_a_bad_setting(tmp_path):
    with pytest.raises(SettingsError, match="no such folder"):
        FilesSource(tmp_path / "nothing")


@pytest.mark.parametrize(
    "names", [("VAS.csv", "VAS.AX.csv"), ("VAS.parquet", "VAS.csv"), ("VAS.AX.txt", "VAS.AX.csv")]
)
def test_two_files_of_one_ticker_are_refused_unless_they_are_one(tmp_path, names):
    def answer(*values):
        for name, value in zip(names, values, strict=True):
            frame = pd.DataFrame({"Date": ["2024-01-02"], "Close": [value], "Adj Close": [value]})
            path = tmp_path / name
            frame.to_csv(path, index=False) if "parquet" not in name else frame.to_parquet(path)
        return next(iter(FilesSource(tmp_path).fetch([Request(instrument("VAS"))])))

    refused = answer(4.0, 3.0)
    assert refused.kind == "rejected"
    for name in names:
        assert str(tmp_path / name) in refused.reason
    if "parquet" not in names[0]:
        assert answer(4.0, 4.0).rows["close"].tolist() == [4.0]


def test_offsets_of_the_exchange_itself_name_its_sessions(tmp_path):
    (tmp_path / "VAS.csv").write_text(
        "Date,Close,Adj Close\n2024-01-02 00:00:00+11:00,1,1\n2024-07-01 00:00:00+10:00,2,2\n"
    )
    (answer,) = FilesSource(tmp_path).fetch([Request(instrument("VAS"))])
    assert [str(d.date()) for d in answer.rows.index] == ["2024-01-02", "2024-07-01"]
