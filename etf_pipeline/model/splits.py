"""What a split ratio may be: new units for an old one, 0 where there is none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Consolidations of a thousand to one happen; ten thousand is beyond any.
LARGEST = 10_000.0


def possible_splits(ratios: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of these are splits: positive, not 1, and of a size that happens."""
    with np.errstate(invalid="ignore"):
        sized = (ratios >= 1 / LARGEST) & (ratios <= LARGEST)
    return np.asarray(sized & (ratios != 1), dtype=np.bool_)
