import numpy as np
import pandas as pd
import pytest

from etf_pipeline import ETFDataProvider
from etf_pipeline.errors import CorruptFileError, StoreError, UnknownTickerError
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_history

DAYS = pd.DatetimeIndex(["2009-04-30", "2009-05-01", "2009-05-04"])


def yahoo_frame(index):
    return pd.DataFrame(
        {
            "Open": [1.0, 2, 3],
            "High": [1.0, 2, 3],
            "Low": [1.0, 2, 3],
            "Close": [1.0, 2, 3],
            "Volume": [10, 20, 30],
            "Dividends": [0.0, 0, 0],
            "Stock Splits": [0.0, 0, 0],
        },
        index=index,
    )


def save(tmp_path, frame, name="VAS", **options):
    folder = tmp_path / "historical"
    folder.mkdir(exist_ok=True)
    frame.to_parquet(folder / f"{name}.parquet", **options)
    return ETFDataProvider(tmp_path)


@pytest.mark.parametrize("zone", [None, "Australia/Sydney", "America/New_York", "UTC"])
@pytest.mark.parametrize("as_index", [True, False])
@pytest.mark.parametrize("name", ["Date", "date", "DATE"])
def test_users_files_in_any_shape_load_with_the_same_sessions(tmp_path, zone, as_index, name):
    index = DAYS.tz_localize(zone) if zone else DAYS
    frame = yahoo_frame(index.rename(name))
    provider = save(tmp_path, frame if as_index else frame.reset_index())
    loaded = provider.load_etf_data("VAS")
    assert list(loaded.index) == list(DAYS)  # 2009-05-01 stays 2009-05-01
    assert loaded["close"].tolist() == [1, 2, 3]
    assert loaded["adj_close"].tolist() == [1, 2, 3]


def test_an_adj_close_of_the_user_is_used(tmp_path):
    frame = yahoo_frame(DAYS.rename("Date")).assign(**{"Adj Close": [0.5, 1.5, 3]})
    assert save(tmp_path, frame).load_etf_data("VAS")["adj_close"].tolist() == [0.5, 1.5, 3]


def test_lower_case_file_names_of_users_are_found(tmp_path):
    provider = save(tmp_path, yahoo_frame(DAYS.rename("Date")), name="vas.AX")
    assert provider.available_etfs == ["vas.AX"]
    assert len(provider.load_etf_data("vas.AX")) == 3


def test_null_rows_of_users_are_left_out_and_duplicates_refused(tmp_path):
    frame = yahoo_frame(DAYS.rename("Date"))
    frame.iloc[1, :4] = np.nan
    assert len(save(tmp_path, frame).load_etf_data("VAS")) == 2
    twice = pd.concat([frame, frame.iloc[[2]] * 2])
    with pytest.raises(StoreError, match="two different bars for 2009-05-04"):
        save(tmp_path, twice).load_etf_data("VAS")


def test_an_unknown_ticker_names_the_nearest(tmp_path):
    provider = save(tmp_path, yahoo_frame(DAYS.rename("Date")))
    with pytest.raises(UnknownTickerError, match=r"'VSA'.*did you mean VAS\?"):
        provider.load_etf_data("VSA")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all" * 50])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, content):
    path = Layout(tmp_path).of(HISTORY, "VAS")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"VAS\.parquet is not readable.*etf run"):
        read_history(path)


def test_a_truncated_file_is_named_with_the_remedy(tmp_path):
    save(tmp_path, yahoo_frame(DAYS.rename("Date")))
    path = tmp_path / "historical" / "VAS.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFileError, match=r"VAS\.parquet"):
        read_history(path)
