"""What the library is asked about portfolios: optimal ones, and the frontier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etf_pipeline.library.arguments import one_of, tickers_of, whole, years_of
from etf_pipeline.library.benchmarks import BenchmarkQueries
from etf_pipeline.library.currencies import told

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from etf_pipeline.library.specs import Request
    from etf_pipeline.risk.risk_free import RiskFree

_MOST_POINTS = 1000


class PortfolioQueries(BenchmarkQueries):
    """The calls about portfolios; see `ETFDataProvider`."""

    def optimize_portfolio(
        self,
        tickers: str | Iterable[str],
        objective: str | None = None,
        *,
        lookback_years: int | None = 5,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
        **limits: Any,
    ) -> dict[str, Any]:
        """An optimal portfolio by any objective and limits of `portfolios.yaml`, and its proof.

        Args:
            tickers: one or more, in any order.
            objective: `min_volatility`, `max_sharpe`, `max_return`, `target_return`, `min_cvar`,
                `risk_parity`, `hrp`, …; what the limits imply when None, see
                `optimize_portfolio_mean_variance`.
            lookback_years: of common history, 0 for all; a shorter one is used as it is, see
                `start`.
            risk_free_rate: annual effective rate, a fraction; or a ticker or CSV, see the class.
            periods_per_year: A, where a convention fixes it.
            limits: any field of a portfolio in `portfolios.yaml`, by its name there: among others
                `risk_budget`, `target_return`, `min_weight`, `max_weight`, `bounds`
                ({ticker: (least, greatest)}), `groups` ({universe column: {value: (least,
                greatest)}}, or several `GroupLimit`), `holdings` ({ticker: weight}) with
                `max_turnover` and `cost_rate`, `risk_budgets` ({ticker: share of the risk}),
                `cvar_budget`, `estimator`, `halflife`,
                `correlation_period`, `base_currency`, `expected_returns` (a method's name or a
                block of `docs/portfolios.md`; past means unless it is given).

        Returns:
            optimal_weights ({ticker: weight}, None on failure), expected_return, volatility,
            sharpe_ratio, cvar, tracking_error and beta (to a benchmark), benchmark_weights (of the
            benchmark, None without), cash (the part in none of the tickers),
            optimization_success, optimization_message, optimality_gap, risk_budget_binding,
            objective, n_obs, start, end, correlation_period, remarks (on the data),
            base_currency, fx.

        Raises:
            ArgumentError: an argument means nothing; names it and the remedy.
            UnknownTickerError: naming the nearest tickers there are.
            InsufficientDataError: too few common returns.
            CurrencyError: they cannot be brought to one currency.
        """
        from etf_pipeline.library.specs import not_for_backtests, request
        from etf_pipeline.model.objectives import implied

        names = tickers_of(tickers)
        not_for_backtests(limits)
        given = [limits.get(k) for k in ("target_return", "risk_budget", "cvar_budget")]
        objective = implied(*given) if objective is None else objective
        asked = request(names, {"objective": objective, **limits})
        return self._optimised(
            asked,
            years_of(lookback_years),
            self._rate(risk_free_rate),
            self._annual(periods_per_year),
        )

    def optimize_portfolio_mean_variance(
        self,
        tickers: str | Iterable[str],
        target_return: float | None = None,
        risk_budget: float | None = None,
        lookback_years: int | None = 5,
        risk_free_rate: float | str | Path | None = None,
        estimator: str = "sample",
        base_currency: str | None = None,
        periods_per_year: float | None = None,
        correlation_period: str | None = None,
        **limits: Any,
    ) -> dict[str, Any]:
        """An optimal long-only, fully invested portfolio, and the proof of it.

        With `risk_budget` (a ceiling on annual volatility): the greatest expected return. With
        `target_return`: the least volatility that reaches it. With both: the least volatility that
        reaches the target, a failure if that exceeds the budget. With neither: the greatest Sharpe
        ratio. That is the objective that is implied; `objective` names another. Arguments, answer
        and errors are those of `optimize_portfolio`.
        """
        return self.optimize_portfolio(
            tickers,
            limits.pop("objective", None),
            lookback_years=lookback_years,
            risk_free_rate=risk_free_rate,
            periods_per_year=periods_per_year,
            target_return=target_return,
            risk_budget=risk_budget,
            estimator=estimator,
            base_currency=base_currency,
            correlation_period=correlation_period,
            **limits,
        )

    def get_efficient_frontier_data(
        self,
        tickers: str | Iterable[str],
        n: int = 25,
        lookback_years: int | None = 5,
        risk_free_rate: float | str | Path | None = None,
        base_currency: str | None = None,
        periods_per_year: float | None = None,
        correlation_period: str | None = None,
        **limits: Any,
    ) -> pd.DataFrame:
        """`n` portfolios from least volatility to greatest return, evenly spaced in return.

        Columns: expected_return, volatility, sharpe_ratio, a weight per ticker, and `cash` where
        `net_exposure` allows any. `limits` are those of `optimize_portfolio`, but for the objective
        and what only some objectives take. A point without a proof is left out, and remarked on.

        Raises:
            EtfError: no portfolio meets the limits; says what could be had.
        """
        from etf_pipeline.library.analysis import frontier_table
        from etf_pipeline.library.specs import not_for_backtests, not_of, request
        from etf_pipeline.model.objectives import FRONTIER_HAS

        names, points = tickers_of(tickers), whole("n", n, 2, _MOST_POINTS)
        not_for_backtests(limits)
        not_of(limits, FRONTIER_HAS, "optimize_portfolio(); the frontier has every one of them")
        limits |= {"base_currency": base_currency, "correlation_period": correlation_period}
        asked = request(names, {"objective": "min_volatility", **limits})
        years, annual = years_of(lookback_years), self._annual(periods_per_year)
        rate = self._rate(risk_free_rate)
        asked = self._beside_its_benchmark(asked, rate, annual)
        stated, together = self._stated(asked, years, rate, annual)
        self._asked("get_efficient_frontier_data", names)
        found = frontier_table(stated.problem, points)
        said = [*found.attrs["remarks"], *stated.estimates.remarks, *asked.remarks]
        found.attrs |= told(together, said)
        return found

    def optimize_model_portfolio(
        self,
        name: str,
        *,
        lookback_years: int | None = None,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """A portfolio of `portfolios.yaml` (ETF_PORTFOLIOS_FILE) as the pipeline optimises it.

        Args:
            name: as the file has it; `model_portfolios` has them all.
            lookback_years: 0 for all history; the portfolio's own, else ETF_LOOKBACK_YEARS, when
                None.
            risk_free_rate: annual effective rate, a fraction; or a ticker or CSV, see the class.
            periods_per_year: A, where a convention fixes it.
            changes: fields of the portfolio that are to be otherwise, see `optimize_portfolio`;
                None leaves one as the file has it.

        Returns:
            As `optimize_portfolio`.

        Raises:
            ArgumentError: there is no such portfolio; names the nearest. Or as
                `optimize_portfolio`.
            PortfolioFileError: the file cannot be used.
        """
        asked, years = self._model(name, lookback_years, changes)
        return self._optimised(
            asked, years, self._rate(risk_free_rate), self._annual(periods_per_year), name
        )

    @property
    def model_portfolios(self) -> list[str]:
        """Names of the portfolios of `portfolios.yaml` (ETF_PORTFOLIOS_FILE), as it has them."""
        from etf_pipeline.library.specs import specs_of_file

        return list(specs_of_file())

    def _model(
        self,
        name: str,
        lookback_years: int | None,
        changes: Mapping[str, Any],
        *,
        walked: bool = False,
    ) -> tuple[Request, int | None]:
        """A portfolio of the file with some changes, and the years of one that names none."""
        from etf_pipeline.library.specs import changed, specs_of_file
        from etf_pipeline.settings import load_settings

        known = specs_of_file()
        asked = changed(known[one_of("portfolio", name, known)], changes, walked=walked)
        if lookback_years is None:
            return asked, load_settings().lookback_years
        spec = asked.spec.model_copy(update={"lookback_years": None})
        return replace(asked, spec=spec), years_of(lookback_years)

    def _optimised(
        self,
        asked: Request,
        years: int | None,
        rate: RiskFree,
        annual: float | None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """The answer to a request, recorded in event mode; `name` of a model portfolio."""
        from etf_pipeline.library.analysis import answer_dict
        from etf_pipeline.portfolio import optimise

        spec, beside = asked.spec, self._beside_its_benchmark(asked, rate, annual)
        stated, together = self._stated(beside, years, rate, annual)
        answer = answer_dict(optimise(stated.problem), stated.estimates)
        said = [*stated.estimates.remarks, *beside.remarks]
        answer |= {"objective": spec.objective, "benchmark_weights": beside.spec.against or None}
        answer |= told(together, said)
        if self._calls is not None and self._calls.recording:
            assumed: dict[str, Any] = {
                "lookback_years": spec.lookback(years),
                "risk_free_rate": rate.said,
                "periods_per_year": annual,
                "model_portfolio": name,
            }
            self._calls.portfolio(spec.tickers, asked.parameters | assumed, answer)
        return answer
