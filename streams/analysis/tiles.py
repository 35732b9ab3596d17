"""A picture in tiles, so that a caption or somebody who walks by counts for some of them and not for all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TILES: Final = (8, 6)
"""Across and down."""


def tiles_of(picture: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the tiles of a picture, row by row; of one smaller than that, some are empty."""
    bands = np.array_split(picture, TILES[1])
    return [tile for band in bands for tile in np.array_split(band, TILES[0], axis=1)]
