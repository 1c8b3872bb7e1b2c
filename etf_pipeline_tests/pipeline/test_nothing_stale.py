"""Whatever changes between two nights, tables are what they would be if all were made anew."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from etf_pipeline.ingest.source import Download, Request
from etf_pipeline.model import assets
from etf_pipeline.model.calendars import last_final_session, sessions
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    CORRELATIONS,
    FRONTIER,
    HISTORY,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
)
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.jobs import DERIVE, INGEST
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.settings import Settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.support import bars, walk

TABLES = (
    *(RISK_METRICS, CORRELATIONS, WEIGHTS, SUMMARY, FRONTIER, UNCERTAINTY),
    *(BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS),
)
STEPS = (assets.RISK_METRICS, assets.CORRELATIONS, assets.OPTIMISED_PORTFOLIOS, assets.BACKTESTS)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BEGIN = np.datetime64("2023-07-03")
Row = dict[str, Any]


def fund(ticker: str, mic: str = "XASX", currency: str = "AUD", kind: str = "equity") -> Row:
    return {
        "ticker": ticker,
        "symbol": ticker,
        "exchange": mic,
        "name": f"Fund {ticker}",
        "asset_class": kind,
        "issuer": "x",
        "currency": currency,
        "management_fee": 0.2,
        "market_weight": 100.0,
    }


@dataclass
class World:
    """Everything that numbers follow from, as somebody could change it from night to night."""

    folder: Path
    now: dt.datetime = dt.datetime(2025, 11, 12, 22, tzinfo=dt.UTC)
    funds: dict[str, Row] = field(
        default_factory=lambda: {
            **{t: fund(t) for t in ("AAA", "BBB", "CCC", "DDD")},
            "BND": fund("BND", kind="bond"),
            "CSH": fund("CSH", kind="cash"),
            "USE": fund("USE", "XNYS", "USD"),
        }
    )
    portfolios: dict[str, Row] = field(
        default_factory=lambda: {
            "calm": {"tickers": ["AAA", "BBB", "BND"], "objective": "min_volatility"},
            "best": {
                "tickers": ["AAA", "CCC", "USE"],
                "objective": "max_sharpe",
                "base_currency": "AUD",
                "lookback_years": 1,
                "max_weight": 0.6,
                "resamples": 20,
            },
        }
    )
    settings: dict[str, Any] = field(
        default_factory=lambda: {"lookback_years": 1, "risk_free_rate": 0.03}
    )
    corrections: list[str] = field(default_factory=list)
    rates: str = "date,rate (%)\n2023-01-01,3.0\n2025-11-11,4.0\n"
    restated: dict[str, float] = field(default_factory=dict)
    downloaded: str = ""

    def at(self, folder: Path) -> World:
        return replace(self, folder=folder)

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "store")

    def pipeline(self) -> Pipeline:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {n: self.folder / n for n in ("universe.csv", "portfolios.yaml", "c.csv", "r.csv")}
        pd.DataFrame(self.funds.values()).to_csv(files["universe.csv"], index=False)
        blocks = [{"name": name} | block for name, block in self.portfolios.items()]
        files["portfolios.yaml"].write_text(yaml.safe_dump({"portfolios": blocks}))
        header = "ticker,date,field,value,reason,author\n"
        files["c.csv"].write_text(header + "".join(f"{line}\n" for line in self.corrections))
        files["r.csv"].write_text(self.rates)
        changed = dict(self.settings)
        if changed["risk_free_rate"] == "file":
            changed["risk_free_rate"] = str(files["r.csv"])
        settings = Settings(
            data_dir=self.folder / "store",
            source=f"files:{self.folder}",
            universe_file=files["universe.csv"],
            portfolios_file=files["portfolios.yaml"],
            corrections_file=files["c.csv"],
            **changed,
        )
        clock = lambda: self.now  # noqa: E731
        return Pipeline(settings, clock=clock, source=lambda *_: Walks(self))

    def night(self, instance: dg.DagsterInstance) -> None:
        """Download and bring histories up to date where prices may differ, then derive."""
        pipeline = self.pipeline()
        names = [i.ticker for i in pipeline.universe]
        shown = repr((self.now, names, self.corrections, self.restated))
        if shown != self.downloaded or not all(map(self._has_prices, names)):
            self.ingest(pipeline, instance)
            self.downloaded = shown
        self.derive(instance)

    def _has_prices(self, ticker: str) -> bool:
        return self.layout.of(HISTORY, ticker).exists()

    def ingest(self, pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
        repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
        for partition in pipeline.universe.partitions():
            done = repository.get_job(INGEST).execute_in_process(
                run_config=QUIET, instance=instance, partition_key=partition
            )
            assert done.success

    def derive(self, instance: dg.DagsterInstance) -> None:
        pipeline = self.pipeline()
        repository = build_definitions(pipeline.settings, None, pipeline).get_repository_def()
        steps = [dg.AssetKey(name) for name in STEPS]
        done = repository.get_job(DERIVE).execute_in_process(
            run_config=QUIET, instance=instance, asset_selection=steps, raise_on_error=False
        )
        told = [e.step_failure_data.error for e in done.get_step_failure_events()]
        assert done.success, told

    def tables(self) -> dict[str, pd.DataFrame]:
        found = {}
        for table in TABLES:
            path = self.layout.newest(table)
            assert path is not None, table.name
            found[table.name] = pq.read_table(path, partitioning=None).to_pandas()
            found[table.name].attrs["as_of"] = path.parent.name
        return found


class Walks:
    """Random walks up to the clock's last session, with two distributions a year."""

    name = "files"

    def __init__(self, world: World) -> None:
        self._world = world

    def fetch(self, requests: list[Request]) -> Iterator[Download]:
        for request in requests:
            one = request.instrument
            last = last_final_session(one.exchange, self._world.now, dt.timedelta())
            days = sessions(one.exchange)
            days = days[(days >= BEGIN) & (days <= np.datetime64(last))]
            closes = walk(len(days), sum(map(ord, one.ticker)))
            closes[-20:] *= self._world.restated.get(one.ticker, 1.0)
            rows = bars(days, closes, adj_close_source=float("nan"))
            if one.exchange != "FX":
                rows.loc[np.arange(len(days)) % 126 == 60, "dividends"] = 0.5
            start = BEGIN if request.start is None else np.datetime64(request.start)
            yield Download(request, rows[rows.index >= start], one.symbol, one.currency)


Change = Callable[[World], None]


def setting(**changed: Any) -> Change:
    return lambda world: world.settings.update(changed)


def of_fund(ticker: str, **changed: Any) -> Change:
    return lambda world: world.funds[ticker].update(changed)


def of_portfolio(name: str, **changed: Any) -> Change:
    return lambda world: world.portfolios[name].update(changed)


def _later(days: int) -> Change:
    def change(world: World) -> None:
        world.now += dt.timedelta(days=days)

    return change


def _with_fund(ticker: str) -> Change:
    return lambda world: world.funds.update({ticker: fund(ticker)})


def _without(ticker: str) -> Change:
    return lambda world: world.funds.pop(ticker) and None


def _corrected(line: str) -> Change:
    return lambda world: world.corrections.append(line)


def _restated(world: World) -> None:
    world.restated["AAA"] = 1.01


def _rates(world: World) -> None:
    world.rates = "date,rate (%)\n2023-01-01,3.0\n2025-06-11,4.5\n"


def _hand_edited(table: Any, column: str) -> Change:
    """Values changed in a published file, its metadata as they were."""

    def change(world: World) -> None:
        path = world.layout.newest(table)
        assert path is not None
        held = pq.read_table(path, partitioning=None)
        frame = held.to_pandas()
        frame[column] = frame[column] * 1.01
        at = held.schema.get_field_index(column)
        edited = held.set_column(at, held.schema.field(column), [frame[column].to_numpy()])
        pq.write_table(edited, path)

    return change


def _torn(table: Any) -> Change:
    def change(world: World) -> None:
        path = world.layout.newest(table)
        assert path is not None
        path.write_bytes(path.read_bytes()[:-100])

    return change


def _gone(table: Any) -> Change:
    def change(world: World) -> None:
        path = world.layout.newest(table)
        assert path is not None
        path.unlink()

    return change


def _history_gone(ticker: str) -> Change:
    return lambda world: world.layout.of(HISTORY, ticker).unlink()


CHANGES: dict[str, Change] = {
    "nothing": lambda world: None,
    "the next night": _later(1),
    "a weekend": _later(3),
    "prices restated": _restated,
    "a correction": _corrected("BBB,2025-06-03,close,100.5,typing error,me"),
    "a new fund": _with_fund("NEW"),
    "a fund that left": _without("DDD"),
    "a fee": of_fund("BND", management_fee=0.9),
    "a class": of_fund("AAA", asset_class="bond"),
    "expected returns": of_portfolio("calm", objective="max_return", risk_budget=0.2),
    "a limit": of_portfolio("best", max_weight=0.5),
    "expected returns net of fees": of_portfolio(
        "calm", expected_returns={"method": "equilibrium", "net_of_fees": True}
    ),
    "a fee that counts": of_fund("BND", management_fee=0.1),
    "a market that counts": of_fund("BND", market_weight=300.0),
    "a band": of_portfolio("calm", rebalance="quarterly", band=0.02),
    "measured against another": of_portfolio("calm", benchmark="CCC", max_tracking_error=0.9),
    "measured against a portfolio": of_portfolio("calm", benchmark="best"),
    "what that one holds": of_portfolio("best", max_weight=0.45),
    "one more": lambda world: world.portfolios.update(
        more={"tickers": ["CCC", "BND"], "objective": "hrp"}
    ),
    "one less": lambda world: world.portfolios.pop("more") and None,
    "the rate": setting(risk_free_rate=0.05),
    "a cash fund": setting(risk_free_rate="CSH"),
    "a restated cash fund": lambda world: world.restated.update(CSH=1.002),
    "published rates": setting(risk_free_rate="file"),
    "other published rates": _rates,
    "a benchmark": setting(benchmark="CCC"),
    "a restated benchmark": lambda world: world.restated.update(CCC=0.99),
    "periods by convention": setting(periods_per_year=252),
    "years": setting(lookback_years=2),
    "one currency": setting(base_currency="AUD"),
    "restated rates": lambda world: world.restated.update({"AUDUSD=X": 1.02}),
    "edited metrics": _hand_edited(RISK_METRICS, "volatility"),
    "edited correlations": _hand_edited(CORRELATIONS, "correlation"),
    "edited weights": _hand_edited(WEIGHTS, "weight"),
    "torn metrics": _torn(RISK_METRICS),
    "a torn summary": _torn(SUMMARY),
    "torn courses": _torn(BACKTESTS),
    "no metrics": _gone(RISK_METRICS),
    "no frontier": _gone(FRONTIER),
    "no bands": _gone(UNCERTAINTY),
    "no history of one": _history_gone("AAA"),
}


@pytest.fixture(scope="module")
def instance():
    with dg.DagsterInstance.ephemeral() as made:  # nothing here is about its records
        yield made


def test_what_follows_from_a_change_is_made_again(instance, tmp_path):
    world = World(tmp_path / "night-by-night")
    world.night(instance)
    for name, change in CHANGES.items():
        change(world)
        world.night(instance)
        anew = world.at(tmp_path / "anew")
        shutil.rmtree(anew.folder, ignore_errors=True)
        shutil.copytree(world.folder, anew.folder)
        for table in TABLES:
            shutil.rmtree(anew.layout.folder(table))
        anew.derive(instance)
        expected = anew.tables()
        for table, found in world.tables().items():
            assert found.attrs == expected[table].attrs, (name, table)
            pd.testing.assert_frame_equal(
                found, expected[table], check_exact=True, obj=f"{table} after {name}"
            )
