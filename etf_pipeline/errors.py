"""Errors that a user is meant to read: each names the thing and the remedy."""


class EtfError(Exception):
    """Base of every error this package raises on purpose."""


class SettingsError(EtfError):
    """An environment variable has a value that cannot be used."""


class UniverseError(EtfError):
    """`universe.csv` is not usable; the message quotes the line."""


class PortfolioFileError(EtfError):
    """`portfolios.yaml` is not usable; the message quotes the line."""


class StoreError(EtfError):
    """A file of the store cannot be read or written."""


class CorruptFileError(StoreError):
    """A file of the store is not readable Parquet of the expected kind."""


class MixedSourceError(StoreError):
    """A write would mix sources or currencies in one history."""


class LockTimeoutError(StoreError):
    """Another process holds the lock on a ticker or a partition."""


class UnknownTickerError(EtfError):
    """The ticker is not known here; the message names the nearest ones."""


class InsufficientDataError(EtfError):
    """There are too few observations for the number asked for."""


class RejectedDataError(EtfError):
    """Downloaded data is not what was asked for and is refused."""


class EventError(EtfError):
    """Events cannot be recorded or read."""


class EventFormatError(EventError):
    """An event is not of a type, version or shape that is known here."""


class EventsOffError(EventError):
    """Events are not being recorded, so there is nothing to replay."""


class TamperError(EventError):
    """The event log is not what was written."""


class ProofError(EventError):
    """What was rebuilt is not what the events say it was."""


class QueryError(EtfError):
    """A query may not be run, is wrong, or takes too much."""
