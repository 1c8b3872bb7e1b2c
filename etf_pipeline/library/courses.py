"""What the library is asked about portfolios through time: given weights, and backtests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etf_pipeline.errors import ArgumentError
from etf_pipeline.library.arguments import one_of, ticker_of, tickers_of, weights_of, years_of
from etf_pipeline.library.currencies import conversion_for, told
from etf_pipeline.library.portfolios import PortfolioQueries
from etf_pipeline.model.benchmarks import ACTIVE_LIMITS, ACTIVE_OBJECTIVE

if TYPE_CHECKING:
    from pathlib import Path

    from etf_pipeline.library.specs import Request
    from etf_pipeline.model.portfolios import PortfolioSpec
    from etf_pipeline.risk.prices import PriceSeries
    from etf_pipeline.risk.risk_free import RiskFree


class CourseQueries(PortfolioQueries):
    """The calls about what became of portfolios; see `ETFDataProvider`."""

    def portfolio_metrics(
        self,
        weights: Mapping[str, float],
        lookback_years: int | None = 5,
        benchmark: str | None = None,
        risk_free_rate: float | str | Path | None = None,
        rebalance: str = "daily",
        base_currency: str | None = None,
        periods_per_year: float | None = None,
    ) -> dict[str, Any]:
        """The metrics of `docs/metrics.md` for a portfolio of given weights, as for one ticker.

        Its prices are what 1 invested became on the dates that its tickers have in common.

        Args:
            weights: by ticker, fractions that sum to 1; those of 0 are left out.
            lookback_years: 0 or None for all common history. A history that does not cover the
                window gives None and a `reason`, not a shorter window.
            benchmark: a ticker, for beta, alpha, captures and what else compares.
            risk_free_rate: annual effective rate, a fraction; or a ticker or CSV, see the class.
            rebalance: when weights that prices have moved are brought back, at closing prices and
                free of charge: `daily` at every common date, so that each return is Σ w·r;
                `monthly`, `quarterly` or `yearly` at the period's last one; `never`, so that they
                drift from the first day on.
            base_currency: see `ETFDataProvider`.
            periods_per_year: A, where a convention fixes it.

        Returns:
            As `calculate_risk_metrics`, and weights, rebalance, base_currency, remarks.

        Raises:
            ArgumentError: weights that do not sum to 1, or another argument that means nothing.
            InsufficientDataError: fewer than three common dates.
            CurrencyError: they cannot be brought to one currency.
        """
        from etf_pipeline.library.analysis import risk_metrics
        from etf_pipeline.portfolio.fixed_weights import RESTORED, series_of_weights
        from etf_pipeline.risk.conversion import OWN_CURRENCY
        from etf_pipeline.risk.together import common_gaps, doubts, ended_early

        held, years = weights_of(weights), years_of(lookback_years)
        restored = next(r for r in RESTORED if r == one_of("rebalance", rebalance, RESTORED))
        against = None if benchmark is None else ticker_of(benchmark, "benchmark")
        together = self._together(list(held), base_currency, years)
        series = series_of_weights(together.series, held, years, restored)
        other = None if against is None else self._series([against])[0]
        conversion = OWN_CURRENCY
        if other is not None:
            both = [*together.series, other]
            conversion = conversion_for(self._layout, self._cache, both, together.currency)
        rate, annual = self._rate(risk_free_rate), self._annual(periods_per_year)
        found = risk_metrics(series, years, rate, other, conversion, annual)
        used = {fx for named in (together.fx, found["fx"]) for fx in (named or "").split(",") if fx}
        parts = [s.since(series.prices.index[0].date()) for s in together.series]
        said = [*ended_early(together.series), *doubts(parts), *common_gaps(series.days)]
        self._asked("portfolio_metrics", list(held), series.prices.index)
        found |= {"weights": held, "rebalance": restored, **told(together, said)}
        return found | {"source": together.source, "fx": ",".join(sorted(used)) or None}

    def backtest(
        self,
        tickers: str | Iterable[str],
        objective: str | None = None,
        *,
        benchmark: str | Mapping[str, float] | None = None,
        lookback_years: int = 5,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
        **limits: Any,
    ) -> dict[str, Any]:
        """A portfolio walked forward: decided anew at each rebalance from the past alone.

        See `docs/portfolios.md`. Nothing a decision rests on was unknown at the time, and it is
        traded a session later; only proven decisions are.

        Args:
            tickers: one or more.
            objective: as in `optimize_portfolio`.
            benchmark: a ticker to put beside the course, for beta and the like, or a portfolio of
                the file, whose own course that is; or weights by ticker. Where a limit or the
                objective is about a benchmark, it is that one.
            lookback_years: of history behind each decision, 1 to 100.
            risk_free_rate: annual effective rate, a fraction; or a ticker or CSV, see the class. It
                is what cash earns too.
            periods_per_year: A, where a convention fixes it.
            limits: any field of a portfolio in `portfolios.yaml` but `holdings`, those of backtests
                too: `rebalance`, `trading_cost` and the others. `max_turnover` and `cost_rate` are
                against what it holds by then.

        Returns:
            metrics (of the course, as `calculate_risk_metrics`), comparison_metrics (of
            `compare_with`, None without), course (a frame by session: wealth from 1, drawdown,
            cash, turnover and cost where there was a trade, benchmark_wealth, comparison_wealth),
            weights (a frame by trade), events (decisions, entries and exits: date, event, subject,
            traded, reason), start, end, base_currency, fx, remarks.

        Raises:
            ArgumentError: an argument means nothing; names it and the remedy.
            InsufficientDataError: too little history for a single decision.
            BacktestError: no decision gave weights; says why.
            CurrencyError: the prices cannot be brought to one currency.
        """
        from etf_pipeline.library.specs import request
        from etf_pipeline.model.objectives import implied

        names = tickers_of(tickers)
        given = [limits.get(k) for k in ("target_return", "risk_budget", "cvar_budget")]
        limits["objective"] = implied(*given) if objective is None else objective
        asked = request(names, limits | _active(limits, benchmark), walked=True)
        years = years_of(lookback_years)
        beside = _ticker(benchmark)
        return self._walked("backtest", asked, years, beside, risk_free_rate, periods_per_year)

    def backtest_model_portfolio(
        self,
        name: str,
        *,
        benchmark: str | Mapping[str, float] | None = None,
        lookback_years: int | None = None,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """A portfolio of `portfolios.yaml` walked forward, see `backtest`.

        Arguments are those of `optimize_model_portfolio`, and `benchmark`.
        """
        from etf_pipeline.library.specs import specs_of_file

        known = specs_of_file().get(name)
        given = {} if known is None else known.model_dump(exclude_unset=True) | changes
        changes |= _active(given, benchmark)
        asked, years = self._model(name, lookback_years, changes, walked=True)
        return self._walked(
            "backtest_model_portfolio",
            asked,
            years,
            _ticker(benchmark),
            risk_free_rate,
            periods_per_year,
        )

    def _walked(
        self,
        operation: str,
        asked: Request,
        years: int | None,
        benchmark: str | None,
        risk_free_rate: float | str | Path | None,
        periods_per_year: float | None,
    ) -> dict[str, Any]:
        from etf_pipeline.library.backtests import backtest_answer

        spec = asked.spec
        years = spec.lookback(years)
        if years is None:
            raise ArgumentError(
                "lookback_years: a backtest decides from a window of years that moves along; give "
                "1 or more"
            )
        rate, annual = self._rate(risk_free_rate), self._annual(periods_per_year)
        other = None if benchmark is None else self._prices_beside(spec, benchmark, rate, annual)
        found = self._walk(asked, years, rate, annual, other)
        together = found.together
        priced = [*together.series, *([] if other is None else [other])]
        conversion = conversion_for(self._layout, self._cache, priced, spec.base_currency)
        names = dict.fromkeys(s.ticker for s in (*together.series, *together.beside))
        self._asked(operation, [*names, *spec.comparison], found.backtest.wealth.index)
        return backtest_answer(found, rate, other, conversion, annual)

    def _prices_beside(
        self, spec: PortfolioSpec, name: str, rate: RiskFree, annual: float | None
    ) -> PriceSeries:
        """Prices to put beside a course: a ticker's, or the course of a portfolio of the file."""
        from etf_pipeline.portfolio.fixed_weights import as_series

        asked = self._portfolio_named(ticker_of(name, "benchmark"))
        if asked is None:
            return self._series([name])[0]
        found = self._walk_of(spec, asked, rate, annual)
        return replace(as_series(found.backtest.wealth, found.together.series), ticker=name)


def _active(limits: Mapping[str, Any], benchmark: object) -> dict[str, Any]:
    """The benchmark as a field of a specification, where something asked for is about one."""
    about = [limits.get(name) for name in ACTIVE_LIMITS]
    if limits.get("objective") == ACTIVE_OBJECTIVE or any(x is not None for x in about):
        return {"benchmark": benchmark}
    if isinstance(benchmark, Mapping):
        return {"benchmark": benchmark}  # which nothing obeys, as the specification says then
    return {}


def _ticker(benchmark: object) -> str | None:
    """What is put beside a course: one ticker, no weights."""
    if benchmark is None or isinstance(benchmark, Mapping):
        return None
    return ticker_of(benchmark, "benchmark")
