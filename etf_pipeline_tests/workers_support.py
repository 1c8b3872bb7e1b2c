"""Work for worker processes: they import it by its name."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.store.writer import atomic_file

log = logging.getLogger("etf_pipeline.tests")


@dataclass(frozen=True)
class Squares:
    """Squares of numbers, and which process made them; some numbers are refused."""

    refused: tuple[int, ...] = ()
    deadly: int | None = None
    shut: bool = False
    unfit: int | None = None

    @contextmanager
    def __call__(self) -> Iterator[Callable[[int], tuple[int, int]]]:
        if self.shut:
            raise OSError("it cannot be opened")
        yield self._square

    def _square(self, number: int) -> tuple[int, int]:
        if number in self.refused:
            raise ValueError(f"{number} is refused")
        if number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.unfit:
            return threading.Lock()  # type: ignore[return-value]
        print("what a library prints")
        if number % 10 == 0:
            log.warning("%d is round", number)
        return number * number, os.getpid()


@dataclass(frozen=True)
class Files:
    """Writes a file for each number, over and over, and first says which process does."""

    folder: Path

    @contextmanager
    def __call__(self) -> Iterator[Callable[[int], int]]:
        (self.folder / f"{os.getpid()}.pid").touch()
        yield self._write

    def _write(self, number: int) -> int:
        while True:
            with atomic_file(self.folder / f"{number}.data") as handle:
                for _ in range(4):
                    handle.write(b"0123456789abcdef" * 1024)
                    handle.flush()
                    time.sleep(0.01)
