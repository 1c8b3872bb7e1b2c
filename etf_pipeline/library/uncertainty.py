"""What the library is asked about how sure portfolios are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from etf_pipeline.errors import ArgumentError
from etf_pipeline.library.arguments import (
    MOST_YEARS,
    number,
    one_of,
    tickers_of,
    whole,
    years_of,
)
from etf_pipeline.library.currencies import conversion_for, told
from etf_pipeline.library.portfolios import PortfolioQueries

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from etf_pipeline.library.specs import Request
    from etf_pipeline.model.portfolios import PortfolioSpec
    from etf_pipeline.portfolio.benchmarks import Followed
    from etf_pipeline.portfolio.uncertainty import Average, Resampled
    from etf_pipeline.portfolio.validation import Follow
    from etf_pipeline.risk.risk_free import RiskFree

_SEEDS = 2**63 - 1
_MOST_RESAMPLES = 100_000
_MOST_PURGED = 1000
# What a portfolio has one of, and a validation several.
_PLURALS = {"objective": "objectives", "estimator": "estimators", "lookback_years": "lookbacks"}


@dataclass(frozen=True)
class _Draws:
    """How histories are drawn."""

    resamples: int
    seed: int
    block_length: float | None


class UncertaintyQueries(PortfolioQueries):
    """The calls about uncertainty; see `ETFDataProvider`."""

    def weight_uncertainty(
        self,
        tickers: str | Iterable[str] | None = None,
        objective: str | None = None,
        *,
        portfolio: str | None = None,
        resamples: int = 500,
        seed: int = 1,
        block_length: float | None = None,
        lookback_years: int | None = None,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
        **limits: Any,
    ) -> pd.DataFrame:
        """How far each weight could be another, had the past gone a little differently.

        Other histories are drawn from the one there is, in blocks of days, estimated from and
        optimised for; see "How sure weights are" in `docs/portfolios.md`.

        Args:
            tickers: one or more; their order has no say in the answer.
            objective: as in `optimize_portfolio`.
            portfolio: one of `portfolios.yaml`, in place of tickers.
            resamples: how many histories are drawn, 20 or more.
            seed: of the draws; equal data and seeds give equal answers.
            block_length: mean days of a block, 1 or more; chosen from the returns when None.
            lookback_years: 0 for all history; 5, or the portfolio's own, when None.
            risk_free_rate: annual effective rate, a fraction; or a ticker or CSV, see the class.
            periods_per_year: A, where a convention fixes it.
            limits: as in `optimize_portfolio`.

        Returns:
            A row per ticker, and one called `cash` where `net_exposure` allows any: `weight`, the
            resamples' `mean` and quantiles `q05` … `q95`, and the share of them in which it is
            `held`. `attrs` has `figures` ({kind: {figure: {estimate,
            mean, q05, …}}}, of the `chosen` weights by every history's estimates, and of each
            history's own `optimal` ones), `average` (the averaged portfolio), `resamples`,
            `answered`, `failures` (by reason code), `seed`, `block_length`.

        Raises:
            EtfError: the portfolio has no answer to begin with; with its message and code.
            ArgumentError: an argument means nothing; names it and the remedy.
        """
        from etf_pipeline.model.portfolios import FEWEST_RESAMPLES

        draws = _Draws(
            whole("resamples", resamples, FEWEST_RESAMPLES, _MOST_RESAMPLES),
            whole("seed", seed, 0, _SEEDS),
            None if block_length is None else number("block_length", block_length),
        )
        asked, years = self._asked_for(tickers, portfolio, objective, lookback_years, limits)
        rate, annual = self._rate(risk_free_rate), self._annual(periods_per_year)
        return self._resampled(asked, years, rate, annual, draws)

    def _resampled(
        self, asked: Request, years: int | None, rate: RiskFree, annual: float | None, draws: _Draws
    ) -> pd.DataFrame:
        import pandas as pd

        from etf_pipeline.portfolio.uncertainty_tables import resampled_portfolio

        asked = self._beside_its_benchmark(asked, rate, annual)
        spec = asked.spec
        stated, together = self._stated(asked, years, rate, annual)
        try:
            found = resampled_portfolio(
                spec, together, years, rate, asked.columns, annual, **vars(draws)
            )
        except ValueError as error:
            raise ArgumentError(str(error)) from None
        self._asked("weight_uncertainty", spec.tickers)
        table = pd.concat([found.table().loc[spec.tickers], found.cash()])
        dates = stated.estimates.prices.index
        said = [*found.remarks, *stated.estimates.remarks, *asked.remarks]
        table.attrs |= told(together, said)
        table.attrs |= _about(found) | {
            "objective": spec.objective,
            "n_obs": stated.estimates.n_obs,
            "start": dates[0].date(),
            "end": dates[-1].date(),
        }
        return table

    def validate(
        self,
        tickers: str | Iterable[str] | None = None,
        objectives: str | Iterable[str] | None = None,
        *,
        portfolio: str | None = None,
        lookbacks: int | Iterable[int] = (1, 3, 5),
        estimators: str | Iterable[str] | None = None,
        expected_returns: Any = None,
        purge: int = 1,
        risk_free_rate: float | str | Path | None = None,
        periods_per_year: float | None = None,
        **limits: Any,
    ) -> pd.DataFrame:
        """Which lookbacks, estimators and objectives would have served, decided in advance.

        Every combination is walked forward over the same sessions, beside equal weights; see "What
        would have served" in `docs/portfolios.md`.

        Args:
            tickers: one or more.
            objectives: as in `optimize_portfolio`; what the limits imply when None.
            portfolio: one of `portfolios.yaml`, in place of tickers.
            lookbacks: whole years of history behind each decision.
            estimators: of the covariance; the portfolio's own, else `sample`, when None.
            expected_returns: methods or blocks; the portfolio's own, else past means, when None.
            purge: sessions between the last price known and the trade, 1 or more.
            risk_free_rate: annual effective rate, a fraction; or a ticker or CSV, see the class.
            periods_per_year: A, where a convention fixes it.
            limits: any other field of a portfolio but `holdings`, `rebalance` and `trading_cost`
                too.

        Returns:
            A row per combination, the first of equal weights; columns as in `docs/portfolios.md`.
            `attrs` has start, end, n_obs, decisions, purge, rebalance and `by_chance`.

        Raises:
            ArgumentError: an argument means nothing; names it and the remedy.
            InsufficientDataError: under a year is left to judge on after the longest lookback.
        """
        dimensions: dict[str, list[Any]] = {
            "objective": _several("objectives", objectives),
            "expected_returns": _several("expected_returns", expected_returns),
            "estimator": _several("estimators", estimators),
            "lookback_years": _lookbacks(lookbacks),
        }
        asked = self._combined(tickers, portfolio, dimensions, limits)
        sessions = whole("purge", purge, 1, _MOST_PURGED)
        rate, annual = self._rate(risk_free_rate), self._annual(periods_per_year)
        return self._validated(asked, sessions, rate, annual)

    def _combined(
        self,
        tickers: str | Iterable[str] | None,
        portfolio: str | None,
        dimensions: Mapping[str, list[Any]],
        limits: Mapping[str, Any],
    ) -> list[Request]:
        """A request for every combination, each read and checked as one of its own."""
        from etf_pipeline.library.specs import changed, not_of, request, specs_of_file
        from etf_pipeline.model.objectives import implied

        _one_way(tickers, portfolio)
        not_of(limits, ("compare_with", "members"), "backtest()")
        for one, several in _PLURALS.items():
            not_of(limits, (one,), f"the other calls; here {several} takes one or several")
        known = {} if portfolio is None else specs_of_file()
        model = None if portfolio is None else known[one_of("portfolio", portfolio, known)]
        names = [] if tickers is None else tickers_of(tickers)
        given = [limits.get(k) for k in ("target_return", "risk_budget", "cvar_budget")]
        found = []
        for values in product(*dimensions.values()):
            asked = {**limits, **dict(zip(dimensions, values, strict=True))}
            if model is not None:
                found.append(changed(model, asked, walked=True))
                continue
            if asked["objective"] is None:
                asked["objective"] = implied(*given)
            found.append(request(names, asked, walked=True))
        return found

    def _validated(
        self, asked: list[Request], purge: int, rate: RiskFree, annual: float | None
    ) -> pd.DataFrame:
        from etf_pipeline.portfolio.validation import validated

        spec = asked[0].spec
        other = self._benchmark_portfolio(spec)
        besides = spec.beside
        if other is not None:
            besides = [t for t in other.spec.tickers if t not in spec.tickers]
        held, others = self._series(spec.tickers), self._series(besides)
        both = [*held, *others]
        conversion = conversion_for(self._layout, self._cache, both, spec.base_currency)
        together, beside = conversion.beside(held, others, spec.base_currency)
        together = replace(together, beside=tuple(beside))
        specs, columns = [one.spec for one in asked], asked[0].columns
        try:
            follow = None if other is None else self._follow(spec, other, rate, annual)
            found = validated(specs, together, 1, rate, columns, annual, purge=purge, follow=follow)
        except ValueError as error:
            raise ArgumentError(str(error)) from None
        self._asked("validate", spec.tickers, found.returns.index)
        table = found.table.copy()
        table.attrs |= told(together, found.remarks) | {
            "start": found.dates[found.splits[0].trade].date(),
            "end": found.dates[-1].date(),
            "n_obs": len(found.returns),
            "decisions": len(found.splits),
            "purge": purge,
            "rebalance": spec.rebalance,
            "by_chance": found.by_chance,
        }
        return table

    def _follow(
        self, spec: PortfolioSpec, other: Request, rate: RiskFree, annual: float | None
    ) -> Follow:
        """Of days, the portfolio that one is measured against, decided on each of them."""

        def follow(days: Sequence[dt.date]) -> Followed:
            calendar = "never" if other.spec.rebalance == "never" else spec.rebalance
            changed = other.spec.model_copy(update={"rebalance": calendar})
            found = self._walk_of(spec, replace(other, spec=changed), rate, annual, days)
            return found.backtest.followed(other.spec.name)

        return follow

    def _asked_for(
        self,
        tickers: str | Iterable[str] | None,
        portfolio: str | None,
        objective: str | None,
        lookback_years: int | None,
        limits: Mapping[str, Any],
    ) -> tuple[Request, int | None]:
        """A request for tickers or for a portfolio of the file, and the years of one without."""
        from etf_pipeline.library.specs import not_for_backtests, request
        from etf_pipeline.model.objectives import implied

        _one_way(tickers, portfolio)
        not_for_backtests(limits)
        if portfolio is not None:
            return self._model(portfolio, lookback_years, {"objective": objective, **limits})
        given = [limits.get(k) for k in ("target_return", "risk_budget", "cvar_budget")]
        names = tickers_of(tickers)
        objective = implied(*given) if objective is None else objective
        asked = request(names, {"objective": objective, **limits})
        return asked, years_of(5 if lookback_years is None else lookback_years)


def _one_way(tickers: object, portfolio: str | None) -> None:
    """Nothing, where either tickers or a portfolio of the file are named."""
    if (tickers is None) == (portfolio is None):
        raise ArgumentError("give tickers or portfolio='name', one of the two")


def _several(name: str, value: Any) -> list[Any]:
    """One value or several, in a list; a mapping is one, and None stands for what is usual.

    Raises:
        ArgumentError: there is none, or one twice, which would count as two that were tried.
    """
    if value is None or isinstance(value, str | Mapping):
        return [value]
    if not isinstance(value, Iterable):
        raise ArgumentError(f"{name} {value!r}: give one or several, such as a list")
    found = list(value)
    if not found:
        raise ArgumentError(f"{name}: none is given; give one or several, or leave it out")
    for i, one in enumerate(found):
        if one in found[:i]:
            raise ArgumentError(f"{name}: asked for twice: {one}")
    return found


def _lookbacks(value: Any) -> list[int]:
    """Whole years, each once."""
    given = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    years = [whole("lookbacks", one, 1, MOST_YEARS) for one in given]
    return list(_several("lookbacks", years))


def _about(found: Resampled) -> dict[str, Any]:
    """What an answer says besides its rows."""
    figures: dict[str, dict[str, Any]] = {}
    frame = found.figures()
    for kind in frame.index.unique("of"):
        figures[kind] = frame.loc[kind].to_dict("index")
    return {
        "figures": figures,
        "average": None if found.average is None else _average(found.names, found.average),
        "resamples": found.asked,
        "answered": len(found.weights),
        "failures": {code.value: n for code, n in found.failures.items()},
        "seed": found.seed,
        "block_length": found.block_length,
    }


def _average(names: Iterable[str], average: Average) -> dict[str, Any]:
    return {
        "weights": dict(zip(names, average.weights.tolist(), strict=True)),
        "expected_return": average.expected_return,
        "volatility": average.volatility,
        "sharpe_ratio": average.sharpe_ratio,
        "cash": average.cash,
    }
