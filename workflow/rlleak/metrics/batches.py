"""Claims about the samples of a batch: how many, how many of them true, how many of the batch's samples found."""

import numpy as np

TRUE_BELOW = 1e-3
"""A claim is true if its relative error, in the 2-norm, is below this."""


def score_claims(claimed: np.ndarray, attempt: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """How true the claims about V updates over B samples each are.

    claimed: (V, B) bool. attempt: (V, B, D), in no order; rows that are not claimed do not count. truth: (V * B, D), B
    consecutive rows per update. Claims are assigned to samples one to one, for the smallest sum of relative errors
    |attempt - truth| / |truth|, each cut at 1 so that one absurd claim moves no other. Gives, each (V,) float:
    `claimed` and `recall`, shares of B (recall counts true claims only); `precision`, share of the claims that are
    true, and `claim_error`, the median relative error of the claims: both NaN where nothing is claimed.
    """
    updates, batch = claimed.shape
    scores = {name: np.full(updates, np.nan) for name in ("claimed", "precision", "recall", "claim_error")}
    for update in range(updates):
        true = truth[update * batch : (update + 1) * batch].astype(np.float64)
        claims = attempt[update][claimed[update]].astype(np.float64)
        errors = relative_errors(claims, true)
        reached = errors[assigned(errors)]
        scores["claimed"][update] = len(claims) / batch
        scores["recall"][update] = (reached < TRUE_BELOW).sum() / batch
        if len(claims):
            scores["precision"][update] = (reached < TRUE_BELOW).mean()
            scores["claim_error"][update] = np.median(reached)
    return scores


def assigned(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which claim is which sample: (rows, columns) of relative errors (claims, samples)."""
    # Takes half a second to import, in each job, and updates over one transition have nothing to assign.
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(np.minimum(errors, 1.0))


def samples_of_claims(
    claimed: np.ndarray, attempt: np.ndarray, truth: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each update its claims' rows in `attempt`, and the rows in `truth` of the samples that they are assigned to.

    Arguments as `score_claims`'s: every claim counts here, true or not.
    """
    batch, pairs = claimed.shape[1], []
    for update, rows in enumerate(claimed):
        places = np.flatnonzero(rows)
        true = truth[update * batch : (update + 1) * batch].astype(np.float64)
        claims, samples = assigned(relative_errors(attempt[update][places].astype(np.float64), true))
        pairs.append((places[claims], update * batch + samples))
    return pairs


def relative_errors(claims: np.ndarray, true: np.ndarray) -> np.ndarray:
    """|claim - sample| / |sample| for all pairs, (claims, samples); differences are formed, so that nothing cancels."""
    size = np.maximum(np.linalg.norm(true, axis=1), np.finfo(np.float64).tiny)
    distances = [np.linalg.norm(claim - true, axis=1) / size for claim in claims]
    return np.stack(distances) if distances else np.zeros((0, len(true)))
