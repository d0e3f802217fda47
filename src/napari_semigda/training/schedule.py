"""How weights of losses and learning rates change over a stage; time runs from 0 to 1."""

from __future__ import annotations

import math


def unlabeled_weight(fraction: float, peak: float) -> float:
    """λ(t) = β·exp(−5(1 − t/t_max)²), the share of the unlabeled images (SemiGDA, schedule).

    Parameters
    ----------
    fraction : float
        t/t_max in [0, 1], over the real length of the stage.
    peak : float
        β, the value reached at the end.
    """
    return peak * math.exp(-5.0 * (1.0 - fraction) ** 2)


def polynomial_decay(fraction: float, power: float = 0.9) -> float:
    """Factor of the learning rate, from 1 down to 0 at the end of the stage, without restarts."""
    return float((1.0 - min(fraction, 1.0)) ** power)


def averaging_decay(step: int, decay: float) -> float:
    """Decay of the weights' moving average: short memory at first, so that a short round is not all start."""
    return min(decay, (1.0 + step) / (10.0 + step))
