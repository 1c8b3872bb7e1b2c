"""Portfolios of the file as benchmarks of what is asked for: decided first, on the same prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from etf_pipeline.errors import (
    ArgumentError,
    BacktestError,
    EtfError,
    ReasonCode,
    UnknownTickerError,
    nearest,
)
from etf_pipeline.library.access import StoreAccess
from etf_pipeline.library.arguments import ticker_of
from etf_pipeline.library.currencies import conversion_for

if TYPE_CHECKING:
    from etf_pipeline.library.specs import Request
    from etf_pipeline.model.portfolios import PortfolioSpec
    from etf_pipeline.portfolio.backtest_tables import Walked
    from etf_pipeline.portfolio.tables import Stated
    from etf_pipeline.risk.conversion import Together
    from etf_pipeline.risk.prices import PriceSeries
    from etf_pipeline.risk.risk_free import RiskFree


class BenchmarkQueries(StoreAccess):
    """What calls about portfolios share: problems and courses, and the benchmark of either."""

    def _portfolio_named(self, name: str) -> Request | None:
        """A portfolio of the file; None where the store has a ticker of that name.

        Raises:
            UnknownTickerError: it is neither; names the nearest of both.
            PortfolioFileError: the file cannot be used.
        """
        from etf_pipeline.library.specs import changed

        if self._layout.find_history(ticker_of(name, "benchmark")).exists():
            return None
        known = _specs_at_hand()
        if name in known:
            return changed(known[name], {})
        try:
            self._series([name])
        except UnknownTickerError as error:
            near = nearest(name, known, "the portfolio ")
            raise UnknownTickerError(f"benchmark: {error}{near}") from None
        return None

    def _benchmark_portfolio(self, spec: PortfolioSpec) -> Request | None:
        """The portfolio of the file that one is measured against; None for other benchmarks.

        Raises:
            ArgumentError: it may hold what an active weight cannot be of, or stands among tickers.
        """
        from etf_pipeline.model.benchmark_portfolios import within_weights
        from etf_pipeline.model.benchmarks import wrong_benchmark

        name = spec.benchmark
        if not isinstance(name, str):
            strange = [t for t in spec.beside if not self._layout.find_history(t).exists()]
            for one in strange:
                if one in _specs_at_hand():
                    raise ArgumentError(within_weights("benchmark", one))
            return None
        other = self._portfolio_named(name)
        weights = spec.against if other is None else dict.fromkeys(other.spec.tickers, 1.0)
        of = "" if other is None else name
        if why := wrong_benchmark(spec.objective, vars(spec), weights, spec.tickers, of=of):
            raise ArgumentError(why)
        return other

    def _beside_its_benchmark(
        self, asked: Request, rate: RiskFree, annual: float | None
    ) -> Request:
        """The same with weights in place of a portfolio of the file, as that is decided now.

        Raises:
            EtfError: that portfolio has no answer.
        """
        from etf_pipeline.model.benchmark_portfolios import without_benchmark
        from etf_pipeline.portfolio import optimise
        from etf_pipeline.portfolio.answer import refused_by
        from etf_pipeline.portfolio.tables import against_answer

        other = self._benchmark_portfolio(asked.spec)
        if other is None:
            return asked
        try:
            inner = self._beside_its_benchmark(other, rate, annual)
            answer = optimise(self._stated(inner, _own_years(), rate, annual)[0].problem)
        except (EtfError, ValueError) as error:
            refused = refused_by(error)
            why = without_benchmark(asked.spec, other.spec.name, "answer", refused.message)
            raise EtfError(why, code=refused.code) from None
        spec, said = against_answer(asked.spec, other.spec, answer)
        return replace(asked, spec=spec, remarks=(said,))

    def _stated(
        self, asked: Request, years: int | None, rate: RiskFree, annual: float | None
    ) -> tuple[Stated, Together]:
        """The problem that a request makes of this store's prices, as the pipeline states it.

        Raises:
            ArgumentError: what is asked cannot be with these prices, such as views that contradict
                each other.
        """
        from etf_pipeline.portfolio.tables import stated_problem, together_of

        spec = asked.spec
        held = self._series([*spec.tickers, *spec.beside])
        conversion = conversion_for(self._layout, self._cache, held, spec.base_currency)
        together = together_of(spec, {s.ticker: s for s in held}, years, conversion)
        try:
            found = stated_problem(spec, together, years, rate, asked.columns, annual)
        except EtfError:
            raise
        except ValueError as error:
            raise ArgumentError(str(error), code=ReasonCode.BAD_PROBLEM) from None
        return found, together

    def _walk(
        self,
        asked: Request,
        years: int,
        rate: RiskFree,
        annual: float | None,
        other: PriceSeries | None = None,
        on: Sequence[dt.date] = (),
    ) -> Walked:
        """A request walked forward, beside the prices of another; see `walked`."""
        from etf_pipeline.portfolio.backtest_tables import walked

        spec = asked.spec
        found = self._walked_benchmark(spec, rate, annual, on)
        followed = None if found is None else found.backtest.followed(str(spec.benchmark))
        active = spec.beside if followed is None else followed.tickers
        names = dict.fromkeys([*spec.tickers, *active, *spec.comparison])
        series = {s.ticker: s for s in self._series(names)}
        priced = [*series.values(), *([] if other is None else [other])]
        conversion = conversion_for(self._layout, self._cache, priced, spec.base_currency)
        return walked(
            spec, series, years, rate, asked.columns, other, conversion, annual, followed, on
        )

    def _walked_benchmark(
        self,
        spec: PortfolioSpec,
        rate: RiskFree,
        annual: float | None,
        on: Sequence[dt.date] = (),
    ) -> Walked | None:
        """The portfolio that one is measured against, walked forward; None for other benchmarks.

        Args:
            spec: the portfolio that is measured.
            rate: what is free of risk.
            annual: A, where a convention fixes it.
            on: days to decide on, in place of its calendar's, see `backtest_portfolio`.

        Raises:
            BacktestError: it has no course.
        """
        other = self._benchmark_portfolio(spec)
        return None if other is None else self._walk_of(spec, other, rate, annual, on)

    def _walk_of(
        self,
        spec: PortfolioSpec,
        other: Request,
        rate: RiskFree,
        annual: float | None,
        on: Sequence[dt.date] = (),
    ) -> Walked:
        """`other`, which a portfolio is measured against, walked forward.

        Raises:
            BacktestError: it has no course.
        """
        from etf_pipeline.model.benchmark_portfolios import without_benchmark
        from etf_pipeline.portfolio.answer import refused_by

        try:
            return self._walk(other, other.spec.lookback(_own_years()), rate, annual, on=on)
        except (EtfError, ValueError) as error:
            refused = refused_by(error)
            why = without_benchmark(spec, other.spec.name, "backtest", refused.message)
            raise BacktestError(why, code=refused.code) from None


def _specs_at_hand() -> Mapping[str, PortfolioSpec]:
    """The portfolios of the file by name; none where there is no such file.

    Raises:
        PortfolioFileError: it cannot be used.
    """
    from etf_pipeline.library.specs import specs_of_file
    from etf_pipeline.settings import load_settings

    return specs_of_file() if load_settings().portfolios_file.exists() else {}


def _own_years() -> int:
    """Of portfolios of the file that name none, as the pipeline has them."""
    from etf_pipeline.settings import load_settings

    return load_settings().lookback_years
