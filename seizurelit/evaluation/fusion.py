"""The fusion row: the mean of the pose and the face student's scores of one sign, seed and fold (METHOD.md)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from seizurelit.errors import InputError
from seizurelit.evaluation.predictions import PROBABILITY, as_frame, classes_of, decide

FUSED_STREAM = "pose+face"
FUSED_MODEL = "fusion"
STUDENT = "agcn_kd"


def fuse(predictions: pd.DataFrame) -> pd.DataFrame:
    """The fused predictions of every seizure that both students have scored, in the same fold with the same seed.

    The score is the mean of the two students' probabilities. The threshold is the mean of theirs, which is 0.5 where
    both are; it was chosen on inner subjects where theirs were, so the held-out subject decides nothing here either.

    Args:
        predictions: of all models; others than `agcn_kd` of pose and face are passed over.

    Returns:
        Rows of stream `pose+face` and model `fusion`; none where a student's fold or a stream's extraction is missing.

    Raises:
        InputError: the students took a seizure from different folds, which only mixed runs can do.
    """
    students = predictions.loc[predictions["model"] == STUDENT]
    keys = ["sign", "seed", "seizure"]
    both = students.loc[students["stream"] == "pose"].merge(
        students.loc[students["stream"] == "face"], on=keys, suffixes=("", "|face"), validate="one_to_one"
    )
    constant = ["fold", "subject", "label"]
    for name in constant:
        differs = both.loc[both[name] != both[f"{name}|face"]]
        if len(differs):
            row = differs.iloc[0]
            other = row[f"{name}|face"]
            msg = (
                f"{row['sign']}, seed {row['seed']}, {row['seizure']}: the pose student has {name} '{row[name]}', "
                f"the face student '{other}'; their predictions are of different runs: fuse those of one run"
            )
            raise InputError(msg)
    rows = []
    for sign, part in both.groupby("sign", sort=True):
        classes = classes_of(students, str(sign))
        names = [PROBABILITY + name for name in classes]
        pose = part[names].to_numpy(dtype=float)
        face = part[[f"{name}|face" for name in names]].to_numpy(dtype=float)
        scores = (pose + face) / 2.0
        thresholds = (part["threshold"].to_numpy(dtype=float) + part["threshold|face"].to_numpy(dtype=float)) / 2.0
        for entry, score, threshold in zip(part.to_dict("records"), scores, thresholds, strict=True):
            cut = None if np.isnan(threshold) else float(threshold)
            rows.append(
                {
                    **{name: entry[name] for name in (*keys, *constant)},
                    "stream": FUSED_STREAM,
                    "model": FUSED_MODEL,
                    "prediction": decide(score[None], classes, cut)[0],
                    "threshold": cut,
                    **dict(zip(names, score.tolist(), strict=True)),
                }
            )
    return as_frame(rows)
