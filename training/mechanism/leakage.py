"""How much of one mechanism's part another mechanism's input tells: out of sample, by random forests."""

from __future__ import annotations

from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_predict

from training.mechanism.figures import r_squared
from training.mechanism.structure import Array

_FOLDS, _TREES = 5, 200
# Inputs with more columns than this are pictures or curves: a split then looks at a random √d of them, which are as good as any others.
_FEW = 16


def leakage(part: Array, other: Array, *, seed: int) -> float:
    """R² of a part (n,) from the input (n, d) of another mechanism, 5-fold, clipped at 0: 0 says that it tells nothing of it.

    Mechanisms that are correlated in the data leak by that alone; the figure says how much, and bars nothing.
    """
    forest = RandomForestRegressor(_TREES, max_features=1.0 if other.shape[1] <= _FEW else "sqrt", min_samples_leaf=5, random_state=seed)
    told = cross_val_predict(forest, other, part, cv=KFold(_FOLDS, shuffle=True, random_state=seed))
    return max(0.0, r_squared(told, part))
