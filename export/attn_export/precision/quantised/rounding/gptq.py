"""Rounding that makes up for what it does: what one row of a weight loses, the rows behind it are changed to give back.

GPTQ (Frantar et al. 2022, arXiv:2210.17323), then passes of coordinate descent over the rows and scales, which can also change
a row that was rounded early (as QuantEase does, Behdin et al. 2023, arXiv:2309.01885). Both lower the square of x @ (w - wq)
over the inputs x whose second moment is given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .integer_grid import Floats, Grid, as_float16

#: What is added to the square of each input, as a share of their mean square: so much, and more where there are few samples
#: beside the inputs, since an error must not be balanced by what a few samples happen to have in common. The paper's 0.01 loses
#: a sixth more on inputs that it was not given where there are 64 of them, and as much as this where there are thousands.
_DAMPING, _DAMPING_OF_FEW = 0.05, 0.1
#: After two the error falls by less than one in a hundred a pass.
PASSES = 2
#: Rows whose corrections are gathered before they reach the rows behind: a product of matrices instead of many of vectors.
_GATHERED = 128


def damped(second_moment: NDArray[np.floating], samples: int | None = None) -> NDArray[np.float64]:
    """`second_moment` [K, K], the mean over `samples` inputs (None: far more than K), with more on its diagonal.

    The identity where no input ever was anything but 0.
    """
    moment = second_moment.astype(np.float64)
    mean = float(np.trace(moment)) / len(moment)
    if mean == 0.0:
        return np.eye(len(moment))
    few = len(moment) / samples if samples else 0.0
    moment[np.diag_indices_from(moment)] += mean * (_DAMPING + _DAMPING_OF_FEW * few)
    return moment


def inverse_factor(moment: NDArray[np.float64]) -> Floats:
    """U, upper, with U^T U the inverse of `moment` [K, K]. Row k says what an error in row k asks of the rows behind it.

    Raises numpy.linalg.LinAlgError where `moment` is no second moment.
    """
    upper: Floats = np.linalg.cholesky(np.linalg.inv(moment)).T.astype(np.float32)
    return upper


def compensated(w: Floats, block: int, grid: Grid, factor: Floats) -> tuple[Floats, Floats]:
    """GPTQ: (integers [K, N], scales [B, 1, N]) of w [K, N], K = B x block. `factor` is `inverse_factor`'s.

    A block's scales are those with the least square error for the block as it is when its turn comes, corrections included.
    """
    w = w.copy()
    inputs, outputs = w.shape
    q, scales = np.empty_like(w), np.empty((inputs // block, 1, outputs), np.float32)
    # A whole number of blocks: all corrections must be in a block when its scale is chosen.
    gathered = _GATHERED if block == inputs else block * max(1, _GATHERED // block)
    for start in range(0, inputs, gathered):
        end = min(start + gathered, inputs)
        errors = np.empty((end - start, outputs), np.float32)
        for k in range(start, end):
            if k % block == 0:
                scales[k // block] = grid.searched(w[None, k : k + block])[0]
            scale = scales[k // block, 0]
            q[k] = grid.rounded(w[k], scale)
            error = errors[k - start] = (w[k] - q[k] * scale) / factor[k, k]
            w[k + 1 : end] -= factor[k, k + 1 : end, None] * error
        w[end:] -= factor[start:end, end:].T @ errors
    return q, scales


def descended(
    w: Floats, q: Floats, scales: Floats, grid: Grid, second_moment: Floats, passes: int = PASSES
) -> tuple[Floats, Floats]:
    """Better (q, scales) for w [K, N]: each block's scales, then each row's integers, are set to what is best beside all others.

    `second_moment` [K, K] is the damped one. No step raises the error. Scales of blocks of more than 128 rows stay: nothing that
    can be measured is won by them.
    """
    q, scales = q.copy(), scales.copy()
    inputs, outputs = w.shape
    block = inputs // len(scales)
    gathered = _GATHERED if block > _GATHERED else block * (_GATHERED // block)
    residue = w - (q.reshape(-1, block, outputs) * scales).reshape(w.shape)
    for _ in range(passes):
        for start in range(0, inputs, gathered):
            end = min(start + gathered, inputs)
            # How fast the error would fall if a row of the rounded weight grew: kept up to date for these rows alone.
            gain = second_moment[start:end] @ residue
            here = second_moment[start:end, start:end]
            if block <= _GATHERED:
                for at in range(start, end, block):
                    rows = slice(at - start, at - start + block)
                    step = _rescaled(q[at : at + block], scales[at // block], gain[rows], here[rows, rows])
                    residue[at : at + block] -= step
                    gain -= here[:, rows] @ step
            for k in range(start, end):
                scale = scales[k // block, 0]
                best = grid.rounded(q[k] * scale + gain[k - start] / here[k - start, k - start], scale)
                change = (best - q[k]) * scale
                q[k] = best
                residue[k] -= change
                gain -= here[:, k - start, None] * change
    return q, scales


def _rescaled(q: Floats, scales: Floats, gain: Floats, second_moment: Floats) -> Floats:
    """What changes in a block's weights [block, N]; its `scales` [1, N] are set to the best ones, in place."""
    weighted = second_moment @ q
    squares = (q * weighted).sum(axis=0)
    fitted = scales[0] + np.divide((q * gain).sum(axis=0), squares, out=np.zeros_like(squares), where=squares > 0)
    # The error is a parabola of the scale, so that the nearest number of float16 is also the best one.
    step = np.where(fitted > 0, as_float16(fitted), scales[0]) - scales[0]
    scales[0] += step
    changed: Floats = q * step
    return changed
