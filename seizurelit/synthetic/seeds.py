"""Child seeds of the stand-in cohort.

What is drawn for a seizure hangs on the seed, the subject's and the seizure's number and the purpose alone: not on
how many others there are, not on the order in which they are made, not on the labels.
"""

from __future__ import annotations

import numpy as np

COMPOSITION, LABELS, TRAITS, RECORDING, BODY, BODY_SEEN, FACE, FACE_SEEN, BODY_FEATURES, FACE_FEATURES = range(10)
"""Purposes: the first key of a child seed."""


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose (and subject, and seizure): `SeedSequence(seed)`'s child by that key."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
