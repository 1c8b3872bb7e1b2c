"""The fields of a portfolio in `portfolios.yaml` as options, for every command that takes them.

A field has its option in one line of the table below; one without is still reached by `--set`. The
values are read here and judged by the library, as all arguments are. Reading the fields from their
model would take every command a tenth of a second.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

import typer

from etf_pipeline.cli.options import completing
from etf_pipeline.errors import SettingsError
from etf_pipeline.library.arguments import ESTIMATORS
from etf_pipeline.model.backtesting import Calendar, Membership
from etf_pipeline.model.objectives import Objective

_PANEL = "Limits, as in portfolios.yaml"
_SET = "set"
# Arguments of the library that commands have under another name, and what to write for them.
_OWN = {"lookback_years": "years", "json": "as_json"}
_SAID = {"tickers": "write the tickers as they are, such as VAS VGS", "as_json": "write --json"}


@dataclass(frozen=True)
class LimitOption:
    """One field's option.

    Attributes:
        field: its name in a specification.
        help: what it is.
        kind: `number`, `whole`, `text`, `block` (a word, or JSON), or by name: `shares`
            (NAME=NUMBER), `ranges` (NAME=LEAST:GREATEST), `groups` (COLUMN=VALUE:LEAST:GREATEST);
            `pair` is LEAST:GREATEST, `mix` is one name alone, or shares.
        flag: where it is not the field's name.
        backtest: whether only a backtest obeys it.
        words: what a text may be, for the shell to complete.
    """

    field: str
    help: str
    kind: str = "number"
    flag: str = ""
    backtest: bool = False
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The flag."""
        return self.flag or "--" + self.field.replace("_", "-")

    def parameter(self, hidden: bool = False) -> inspect.Parameter:
        """The parameter of a command that it is, told in its help or not."""
        found = typer.Option(
            self.name,
            help=self.help if self.kind in _ONE else f"{self.help} Repeatable.",
            metavar=_SHAPES.get(self.kind),
            rich_help_panel=_PANEL,
            autocompletion=completing(lambda: self.words) if self.words else None,
            hidden=hidden,
        )
        kind: Any = Annotated[(_ONE.get(self.kind) or list[str]) | None, found]
        return inspect.Parameter(
            self.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
        )

    def read(self, value: Any) -> Any:
        """What was given as the library takes it."""
        if self.kind in _ONE:
            if self.kind == "pair":
                return self._pair(value)
            return _value(value) if self.kind == "block" else value
        if self.kind == "mix" and len(value) == 1 and "=" not in value[0]:
            return value[0]
        found: dict[str, Any] = {}
        for text in value:
            self._add(found, text)
        return found

    def _pair(self, text: str) -> tuple[float, ...]:
        try:
            numbers = tuple(float(n) for n in text.split(":"))
            if len(numbers) == 2:
                return numbers
        except ValueError:
            pass
        raise SettingsError(
            f"{self.name} {text!r}: write {_SHAPES[self.kind]}, such as {_EXAMPLES[self.kind]}"
        )

    def _add(self, found: dict[str, Any], text: str) -> None:
        try:
            if self.kind == "groups":
                column, _, rest = text.partition("=")
                name, least, most = rest.rsplit(":", 2)
                found, given = found.setdefault(column, {}), [least, most]
            else:
                name, _, rest = text.rpartition("=")
                given = rest.split(":") if self.kind == "ranges" else [rest]
            numbers = tuple(float(n) for n in given)
            if not name or len(numbers) != (2 if self.kind in ("ranges", "groups") else 1):
                raise ValueError(text)
        except ValueError:
            raise SettingsError(
                f"{self.name} {text!r}: write {_SHAPES[self.kind]}, such as {_EXAMPLES[self.kind]}"
            ) from None
        if name in found:
            raise SettingsError(f"{self.name} {text!r}: {name} is given twice")
        found[name] = numbers if len(numbers) > 1 else numbers[0]


_ONE: dict[str, type] = {"number": float, "whole": int, "text": str, "block": str, "pair": str}
_SHAPES = {
    "pair": "LEAST:GREATEST",
    "shares": "TICKER=NUMBER",
    "mix": "TICKER[=WEIGHT]",
    "ranges": "TICKER=LEAST:GREATEST",
    "groups": "COLUMN=VALUE:LEAST:GREATEST",
}
_EXAMPLES = {
    "pair": "0.5:1",
    "shares": "VAS=0.5",
    "mix": "VGS, or VGS=0.6 and VAF=0.4",
    "ranges": "VAS=0.1:0.5",
    "groups": "asset_class=fixed_income:0.2:0.6",
}
OPTIONS = (
    LimitOption(
        "objective",
        "What is asked for, such as min_volatility or max_sharpe.",
        "text",
        words=get_args(Objective),
    ),
    LimitOption("risk_budget", "Ceiling on annual volatility."),
    LimitOption("risk_aversion", "Of max_utility: λ of return − λ/2 · variance."),
    LimitOption(
        "benchmark",
        "A ticker, a portfolio or weights: for active risk, and beside a course.",
        "mix",
    ),
    LimitOption("max_tracking_error", "Ceiling on the annual tracking error."),
    LimitOption("max_active_weight", "Furthest that a weight may be from the benchmark's."),
    LimitOption("beta", "Least and greatest beta to the benchmark.", "pair"),
    LimitOption("net_exposure", "Least and greatest sum of weights; the rest is cash.", "pair"),
    LimitOption("gross_exposure", "Ceiling on the sum of weights' sizes; allows shorts."),
    LimitOption("max_holdings", "How many tickers may be held.", "whole"),
    LimitOption("min_position", "Least weight of a ticker that is held."),
    LimitOption("search_limit", "Choices of holdings that a search for few may look at.", "whole"),
    LimitOption("target_return", "Annual return to reach."),
    LimitOption("cvar_budget", "Ceiling on the CVaR of one session."),
    LimitOption("cvar_level", "Of the CVaR; 0.95 by default."),
    LimitOption("min_weight", "Least weight of every ticker, a fraction."),
    LimitOption("max_weight", "Greatest weight of every ticker, a fraction."),
    LimitOption("bounds", "Least and greatest weight of one.", "ranges", "--bound"),
    LimitOption("groups", "Those of a group of the universe.", "groups", "--group"),
    LimitOption("holdings", "A current weight.", "shares", "--holding"),
    LimitOption("risk_budgets", "Share of the risk of one.", "shares", "--risk-share"),
    LimitOption("max_turnover", "Part of the portfolio that may change hands."),
    LimitOption("cost_rate", "Cost of trading one unit of weight."),
    LimitOption("estimator", "sample, ledoit_wolf or ewma.", "text", words=ESTIMATORS),
    LimitOption("halflife", "Of ewma, in bars."),
    LimitOption("correlation_period", "daily or weekly.", "text", words=("daily", "weekly")),
    LimitOption("expected_returns", "A method such as bayes_stein, or a block as JSON.", "block"),
    LimitOption("base_currency", "What returns are in, such as AUD.", "text"),
    LimitOption(
        "rebalance",
        "monthly, quarterly, yearly or never.",
        "text",
        backtest=True,
        words=get_args(Calendar),
    ),
    LimitOption("band", "Drift of a weight that is not yet traded.", backtest=True),
    LimitOption("members", "as_listed or all.", "text", backtest=True, words=get_args(Membership)),
    LimitOption("trading_cost", "Cost of trading one unit of wealth.", backtest=True),
    LimitOption(
        "half_spreads", "Half spread of one, in bp.", "shares", "--half-spread", backtest=True
    ),
    LimitOption(
        "compare_with", "A ticker, or weights of several, beside the course.", "mix", backtest=True
    ),
)


def read_shares(texts: Iterable[str], name: str) -> dict[str, float]:
    """Numbers by ticker, of arguments such as VAS=0.6.

    Raises:
        SettingsError: one is of another shape, or a ticker is there twice.
    """
    found: dict[str, float] = LimitOption("", "", "shares", name).read(texts)
    return found


def with_limits(
    *, backtest: bool = False, without: Iterable[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options, as its argument `limits`: those that were given, by field.

    Args:
        backtest: whether it obeys those of backtests.
        without: fields that it does not take.
    """
    left_out = set(without)
    chosen = [o for o in OPTIONS if o.field not in left_out and (backtest or not o.backtest)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            limits = {o.field: o.read(v) for o in chosen if _given(v := given.pop(o.field))}
            for text in given.pop(_SET) or ():
                name, value = _setting(text)
                own = _OWN.get(name, name)
                if name in limits:
                    raise SettingsError(f"--set {text!r}: {name} is given twice")
                if own in given:
                    raise SettingsError(f"--set {text!r}: {_SAID.get(own, _flag(own))}")
                limits[name] = value
            command(**given, limits=limits)

        own = inspect.signature(command).parameters.values()
        hints = get_type_hints(command, include_extras=True)
        parameters = [
            p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for p in own
            if p.name != "limits"
        ]
        unheard = ("holdings",) if backtest else ()  # the library says why it does not take them
        parameters += [o.parameter(o.field in unheard) for o in chosen] + [_set_parameter()]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _flag(parameter: str) -> str:
    return f"write --{parameter.replace('_', '-')}"


def _given(value: Any) -> bool:
    """Whether an option was given: 0 is, an empty list is not."""
    return value is not None and value != []


def _set_parameter() -> inspect.Parameter:
    option = typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any other field of portfolios.yaml, its value as JSON. Repeatable.",
        rich_help_panel=_PANEL,
    )
    kind: Any = Annotated[list[str] | None, option]
    return inspect.Parameter(_SET, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _setting(text: str) -> tuple[str, Any]:
    """A field and its value; what is no JSON is text."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise SettingsError(f"--set {text!r}: write FIELD=VALUE, such as max_turnover=0.2")
    if (read := _value(value)) is None:  # means "not given" to the library, and would be ignored
        raise SettingsError(
            f"--set {text!r}: null takes nothing away; without a limit that portfolios.yaml has, "
            "ask for the tickers and the other limits"
        )
    return name.replace("-", "_"), read


def _value(text: str) -> Any:
    """What is no JSON is text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
