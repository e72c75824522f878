"""How much of one mechanism's part another mechanism's input tells: out of sample, by random forests."""

from __future__ import annotations

from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_predict

from training.mechanism.figures import r_squared
from training.mechanism.structure import Array

_FOLDS, _TREES = 5, 200


def leakage(part: Array, other: Array, *, seed: int) -> float:
    """R² of a part (n,) from the inputs (n, d) of the other mechanisms, 5-fold, clipped at 0: 0 says that they tell nothing of it.

    Mechanisms that are correlated in the data leak by that alone; the figure says how much, and bars nothing.
    """
    forest = RandomForestRegressor(_TREES, random_state=seed, n_jobs=1)
    told = cross_val_predict(forest, other, part, cv=KFold(_FOLDS, shuffle=True, random_state=seed))
    return max(0.0, r_squared(told, part))
