"""Tensors for networks that were trained on others: read, and refused where they are of another kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from seizurelit.cache.store import Cache
from seizurelit.cohort.manifest import Cohort, Sign
from seizurelit.data.store import SeizureStore, load_store
from seizurelit.errors import InputError
from seizurelit.handover.ensemble import Ensemble, RowModel


def store_of(
    ensemble: Ensemble, row: RowModel, cache: Cache, cohort: Cohort, labels: Mapping[str, int]
) -> SeizureStore:
    """The tensors that a row's networks need.

    Args:
        ensemble: what is known of the training tensors.
        row: whose networks.
        cache: where the tensors are.
        cohort: of the cache.
        labels: seizure → class; 0 for those that nobody rated.

    Raises:
        InputError: they are missing, damaged, or of other joints or features than the training cohort's.
    """
    store = load_store(
        cache,
        cohort,
        Sign(row.sign, row.classes),
        row.stream,
        keypoints="keypoints" in row.needs,
        appearance="appearance" in row.needs,
        labels=labels,
    )
    return fitting(store, ensemble, row, cohort)


def fitting(store: SeizureStore, ensemble: Ensemble, row: RowModel, cohort: Cohort) -> SeizureStore:
    """The store, if a row's networks can be given it, told what they are told.

    Raises:
        InputError: other joints, dimensions, features or frame rates than in training; or a condition that they do not know.
    """
    facts = ensemble.streams[row.stream]
    if store.keypoints is not None and store.skeleton is not None and facts.skeleton is not None:
        own, theirs = store.skeleton, facts.skeleton
        flat = all(member.training.inputs.dimensions == 2 for member in row.members)
        if own.joints != theirs.joints or (own.dimensions != theirs.dimensions and not flat):
            msg = (
                f"{row.name}: was trained on {theirs.name} of {len(theirs.joints)} joints in {theirs.dimensions}D, here are "
                f"{own.name} of {len(own.joints)} in {own.dimensions}D; extract with the backend that its cohort was extracted with"
            )
            raise InputError(msg)
        if abs(store.fps - facts.fps) > 0.01 * facts.fps:
            msg = f"{row.name}: was trained at {facts.fps:g} frames a second, these have {store.fps:g}; bring them to one rate"
            raise InputError(msg)
    if store.appearance is not None and store.appearance.shape[1] != facts.appearance_channels:
        msg = (
            f"{row.name}: was trained on {facts.appearance_channels} appearance features, here are {store.appearance.shape[1]}; "
            "extract with the weights that its cohort was extracted with"
        )
        raise InputError(msg)
    if not row.conditions:
        return store
    name = row.members[0].training.inputs.condition or ""
    values = cohort.column(name)
    table = torch.zeros(len(store.seizures), len(row.conditions))
    for place, seizure in enumerate(store.seizures):
        if values[seizure]:
            if values[seizure] not in row.conditions:
                msg = f"{cohort.path}: {name} is {values[seizure]!r}; the networks know {', '.join(row.conditions)}"
                raise InputError(msg)
            table[place, row.conditions.index(values[seizure])] = 1
    return dataclasses.replace(store, condition=table, conditions=row.conditions)
