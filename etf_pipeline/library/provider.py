"""`ETFDataProvider`: the store read as a library. Direct mode needs no infrastructure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from etf_pipeline.library.arguments import (
    ESTIMATORS,
    correlation_period_of,
    halflife_of,
    instant_of,
    one_of,
    span_of,
    ticker_of,
    tickers_of,
    years_of,
)
from etf_pipeline.library.courses import CourseQueries
from etf_pipeline.library.currencies import conversion_for, told
from etf_pipeline.library.uncertainty import UncertaintyQueries

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from etf_pipeline.model.instruments import Instrument

_LATEST = ("close", "adj_close", "volume")


class ETFDataProvider(CourseQueries, UncertaintyQueries):
    """Reads one data folder; touches nothing else, but for recording its calls in event mode.

    Every number has its definition and source in `docs/metrics.md`. Requests that name a ticker
    twice, or one there is no history of, are refused by name. Nothing is ever filled in.

    What is put side by side is in one currency: `base_currency` of the call, else
    ETF_BASE_CURRENCY, else the one that the tickers share. Prices in others are converted by the
    daily rates of the store; a rate that lacks is a `CurrencyError` that names the command which
    gets it. Answers say `base_currency`, in `fx` the rates used, and in `remarks` what a reader of
    the numbers must know (a ticker that ended early or is young, long gaps, currencies that
    nothing names): in `attrs` where they are frames.

    Where the store is a working copy (`ETF_STORE_URL`), what changed in the share is pulled when
    the object is made; without the share a `StaleCopyWarning` says how old the copy is.

    Args:
        data_dir: root of the Parquet store; the `ETF_DATA_DIR` setting when None.
        risk_free_rate: what is free of risk, for calls that name nothing: an annual effective rate
            (a fraction), a ticker whose returns are, or a CSV of rates; the `ETF_RISK_FREE_RATE`
            setting (0 unless set) when None. See `docs/metrics.md#free-of-risk`.
        events: shares another object's events; else the environment says whether calls are
            recorded, see `docs/events.md`. A call that cannot be recorded fails.
        use_event_sourcing: False records nothing, whatever `events` and the environment say; True
            is an `EventsOffError` where calls are not being recorded; None is what they say.
    """

    def load_etf_data(self, ticker: str) -> pd.DataFrame:
        """One ticker's daily history, indexed by naive session date, ascending.

        Columns are those of `schemas.HISTORY`: prices per unit in the ticker's currency,
        split-adjusted, and `adj_close` adjusted for distributions. A user's own Yahoo-shaped
        file in the folder loads the same way. The frame is the caller's to change. In event mode
        a history whose file is gone is rebuilt from the raw batches that events name, and proven.

        Raises:
            UnknownTickerError: naming the nearest tickers there are.
            CorruptFileError: the file is damaged.
            ProofError: the file is gone, and what was rebuilt is not what it was.
        """
        name = ticker_of(ticker)
        frame = self._load(name)
        self._asked("load_etf_data", [name])
        return frame

    def history_as_of(self, instrument: Instrument, instant: dt.datetime) -> pd.DataFrame | None:
        """One ticker's history as it was known at `instant`; None when nothing was.

        Rebuilt from the immutable raw batches; needs the instrument because a former ticker's
        batches belong to it too.
        """
        from etf_pipeline.model.rows import to_frame
        from etf_pipeline.store.histories import history_as_of

        self._refresh(raw=True)
        built = history_as_of(self._layout, instrument, instant_of(instant))
        if built is None:
            return None
        if self._calls is not None and self._calls.recording:
            from etf_pipeline.store.hashing import content_hash

            known = (content_hash(built.history), instrument.currency)
            self._calls.as_of(instrument.ticker, built.history.column("date"), *known)
        return to_frame(built.history)

    def check_data_availability(self, tickers: str | Iterable[str]) -> pd.DataFrame:
        """Per ticker: available, rows, first, last, source, currency and error (None when fine)."""
        import pandas as pd

        from etf_pipeline.store.inventory import describe

        rows = [vars(describe(self._layout, t)) for t in tickers_of(tickers)]
        frame = pd.DataFrame(rows).set_index("ticker").drop(columns="path")
        frame.insert(0, "available", [r["error"] is None and r["rows"] > 0 for r in rows])
        return frame.rename(columns={"first_date": "first", "last_date": "last"})

    def get_latest_prices(self, tickers: str | Iterable[str]) -> pd.DataFrame:
        """Per ticker: `date` of the newest session, close, adj_close, volume."""
        import pandas as pd

        last = {ticker: self._load(ticker).iloc[-1:] for ticker in tickers_of(tickers)}
        rows = {
            ticker: {"date": row.index[0], **{c: row[c].iloc[0] for c in _LATEST}}
            for ticker, row in last.items()
        }
        self._asked("get_latest_prices", list(last), {t: row.index for t, row in last.items()})
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ticker")

    def get_distributions(self, tickers: str | Iterable[str]) -> pd.DataFrame:
        """Every distribution of the tickers, indexed by `ticker` and ex-date, ascending.

        Columns, in each ticker's own currency per unit: `dividends` (income without gains),
        `capital_gains`, `total`, `withheld` (an amount that a rule keeps out of prices, see
        `docs/quality.md`; NaN when there is none) and `yield_12m`: what was paid in the twelve
        months up to the ex-date over its close, as a fraction; NaN when the history is shorter, or
        when one of them is withheld.
        """
        from etf_pipeline.store.distributions import distributions_of

        chosen = tickers_of(tickers)
        found = distributions_of({t: self._load(t) for t in chosen}, self._layout)
        self._asked("get_distributions", chosen)
        return found

    def get_returns(
        self,
        tickers: str | Iterable[str],
        start: dt.date | str | None = None,
        end: dt.date | str | None = None,
        period: str = "daily",
        base_currency: str | None = None,
    ) -> pd.DataFrame:
        """Simple returns on the dates common to all tickers, a column per ticker.

        `attrs` has `start`, the date of the first price, and `correlation_period`, which is weekly
        where the tickers' exchanges differ.

        Args:
            tickers: one or more.
            start: first price date, inclusive; a session's date, without a time or a zone. Text
                is as in ISO 8601, `2025-06-30`; `2025-06` is the month's first day here, and its
                last as `end`.
            end: last price date, inclusive.
            period: `daily` (every bar), `weekly`, `monthly`, `quarterly` or `yearly`: from the last
                price of each calendar period to the next one's. The last period may be unfinished.
            base_currency: what returns are in, see the class.

        Raises:
            InsufficientDataError: fewer than three common prices.
            CurrencyError: they cannot be brought to one currency.
        """
        import pandas as pd

        from etf_pipeline.model.spacing import MONTHS_AND_LONGER
        from etf_pipeline.risk.prices import common_prices
        from etf_pipeline.risk.returns import simple_returns
        from etf_pipeline.risk.together import common_gaps, doubts, ended_early, period_for

        names = tickers_of(tickers)
        rules = {"daily": None, "weekly": "W", **MONTHS_AND_LONGER}
        rule = rules[one_of("period", period, rules)]
        first, last = span_of(start, end)
        together = self._together(names, base_currency, start=first)
        prices = common_prices(together.series)
        prices = prices.loc[
            None if first is None else pd.Timestamp(first) : None
            if last is None
            else pd.Timestamp(last)
        ]
        if rule is not None:
            bins = pd.DatetimeIndex(prices.index).to_period(rule)
            prices = prices[~bins.duplicated(keep="last")]
        self._asked("get_returns", list(prices.columns), prices.index)
        returns = simple_returns(prices)
        gaps = common_gaps(prices.index.to_numpy()) if rule is None else []
        held = [s.since(first) for s in together.series]
        said = [*ended_early(together.series), *doubts(held), *gaps]
        returns.attrs |= told(together, said)
        returns.attrs["start"] = prices.index[0].date() if len(prices) else None
        returns.attrs["correlation_period"] = period_for(together.series)
        return returns

    def calculate_expected_returns(
        self,
        tickers: str | Iterable[str],
        lookback_years: int | None = 5,
        base_currency: str | None = None,
        periods_per_year: float | None = None,
        method: str | Mapping[str, Any] = "historical",
        risk_free_rate: float | str | Path | None = None,
        estimator: str = "sample",
    ) -> pd.Series:
        """A · mean of each ticker's simple returns, fraction a year (Markowitz, 1952), or others.

        Each from its own sessions of the window, so that no ticker's depends on the others.
        `periods_per_year` fixes A; by default it is ETF_PERIODS_PER_YEAR, else the returns a year
        that there were. `method` is `expected_returns` of `docs/portfolios.md`: a name such as
        `bayes_stein`, or a whole block. Those of equilibrium are over `risk_free_rate`, and rest on
        the covariance of `estimator`. `attrs["remarks"]` say what the means rest on.

        Raises:
            ValueError: the method lacks something, or cannot be had; names the ticker or view.
        """
        import pandas as pd

        from etf_pipeline.library.specs import request

        names, years = tickers_of(tickers), years_of(lookback_years)
        values = {"objective": "min_volatility", "expected_returns": method, "estimator": estimator}
        asked = request(names, values)
        together = self._together(names, base_currency, years)
        found = self._estimates(together, years, estimator, periods_per_year=periods_per_year)
        free = self._rate(risk_free_rate).like(together.currency)
        found = found.expecting(asked.spec.expected_returns, free, asked.columns)
        self._asked("calculate_expected_returns", names)
        means = pd.Series(found.means, index=names, name="expected_return")
        means.attrs |= told(together, found.remarks)
        return means

    def calculate_covariance_matrix(
        self,
        tickers: str | Iterable[str],
        lookback_years: int | None = 5,
        estimator: str = "sample",
        halflife: float | None = None,
        base_currency: str | None = None,
        periods_per_year: float | None = None,
        correlation_period: str | None = None,
    ) -> pd.DataFrame:
        """Annualised covariance of simple returns, positive semidefinite.

        Variances come from each ticker's own sessions, correlations from common dates.
        `estimator` is `sample` (ddof 1), `ledoit_wolf` or `ewma` (with `halflife` in bars, 63 by
        default).
        `correlation_period` is `daily` or `weekly`; None is weekly where exchanges differ.
        """
        import pandas as pd

        names, years = tickers_of(tickers), years_of(lookback_years)
        estimator = one_of("estimator", estimator, ESTIMATORS)
        bars, period = halflife_of(halflife, estimator), correlation_period_of(correlation_period)
        together = self._together(names, base_currency, years)
        found = self._estimates(together, years, estimator, bars, periods_per_year, period)
        self._asked("calculate_covariance_matrix", names)
        matrix = pd.DataFrame(found.covariance, index=names, columns=names)
        matrix.attrs |= told(together, found.remarks)
        return matrix

    def calculate_correlation_matrix(
        self,
        tickers: str | Iterable[str],
        lookback_years: int | None = 5,
        method: str = "listwise",
        base_currency: str | None = None,
        period: str | None = None,
    ) -> pd.DataFrame:
        """Correlation of simple returns.

        `listwise` uses the dates that all tickers have, and is always positive semidefinite.
        `pairwise` uses each pair's own dates, and may not be. `period` of the returns is `daily` or
        `weekly`; None is weekly where the tickers' exchanges differ. `attrs` has `n_obs` (N, N),
        `least_eigenvalue` and `period`.
        """
        from etf_pipeline.library.analysis import correlation_matrix
        from etf_pipeline.risk.together import ended_early

        names, years = tickers_of(tickers), years_of(lookback_years)
        method = one_of("method", method, ("listwise", "pairwise"))
        chosen = correlation_period_of(period, "period")
        together = self._together(names, base_currency, years)
        found = correlation_matrix(together.series, years, method, chosen)
        found.attrs |= told(together, ended_early(together.series))
        self._asked("calculate_correlation_matrix", list(found.columns))
        return found

    def calculate_risk_metrics(
        self,
        ticker: str,
        lookback_years: int | None = 5,
        benchmark: str | None = None,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
    ) -> dict[str, Any]:
        """The metrics of `docs/metrics.md` over the last `lookback_years` (0 or None: all history).

        Also n_obs, start, end, periods_per_year, n_excluded and `reason`, which says why a value
        is None. A history that does not cover the window gives None, not a shorter window.
        They are in the ticker's own `currency`, and so is the benchmark; `fx` names the rates that
        it was converted with.
        No return is annualised over less than a year. `periods_per_year` fixes A.
        """
        from etf_pipeline.library.analysis import risk_metrics
        from etf_pipeline.risk.conversion import OWN_CURRENCY

        name, years = ticker_of(ticker), years_of(lookback_years)
        against = None if benchmark is None else ticker_of(benchmark, "benchmark")
        series = self._series([name])[0]
        conversion = OWN_CURRENCY
        other = None if against is None else self._series([against])[0]
        if other is not None:
            conversion = conversion_for(self._layout, self._cache, [series, other], None)
        rate = self._rate(risk_free_rate)
        annual = self._annual(periods_per_year)
        found = risk_metrics(series, years, rate, other, conversion, annual)
        if self._calls is not None and self._calls.recording:
            asked = {
                "lookback_years": years,
                "benchmark": against,
                "risk_free_rate": rate.said,
                "periods_per_year": annual,
            }
            self._calls.risk(name, asked, found)
        return found
