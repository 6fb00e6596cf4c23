"""Random numbers of the analysis: each belongs to a text, and is the same on every computer."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: str) -> np.random.Generator:
    """Random numbers that the text, and nothing else, determines."""
    return np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
