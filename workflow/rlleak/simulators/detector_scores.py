"""How good the detector is: average precision, and whether its confidence means anything."""

from typing import TYPE_CHECKING

import numpy as np

from rlleak.simulators.views import Views

if TYPE_CHECKING:
    from rlleak.simulators.detector import Detector

MINIMAL_PIXELS = 30  # objects that show fewer are neither taught nor counted for or against the detector
_CHUNK = 64


def box_iou(boxes: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of (n, 4) and (m, 4) boxes (x1, y1, x2, y2)."""
    low = np.maximum(boxes[:, None, :2], other[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], other[None, :, 2:])
    overlap = (high - low).clip(min=0.0).prod(2)
    area = [(these[:, 2:] - these[:, :2]).clip(min=0.0).prod(1) for these in (boxes, other)]
    return overlap / np.maximum(area[0][:, None] + area[1][None] - overlap, 1e-12)


def average_precision(scores: np.ndarray, correct: np.ndarray, objects: int) -> float:
    """Area under the precision-recall curve, precision made monotone (PASCAL VOC 2010). nan if there are no objects.

    scores: (k,), of all detections of one type. correct: (k,) bool. objects: how many there were to find.
    """
    if objects == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(correct[order])
    recall, precision = hits / objects, hits / np.arange(1, len(order) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(np.concatenate([[0.0], recall])) * precision).sum())


def _match(found: dict[str, np.ndarray], kind: int, boxes: np.ndarray, counted: np.ndarray) -> list[tuple[float, bool]]:
    """One view's detections of one type, surest first, as (score, correct); those of uncounted objects are left out."""
    of_kind = found["kinds"] == kind
    scores, overlaps = found["scores"][of_kind], box_iou(found["boxes"][of_kind], boxes)
    taken = np.zeros(len(boxes), bool)
    results = []
    for score, overlap in zip(scores, overlaps, strict=True):
        free = np.where(taken, 0.0, overlap)
        best = int(free.argmax()) if len(free) else -1
        if best >= 0 and free[best] >= 0.5:
            taken[best] = True
            if counted[best]:
                results.append((float(score), True))
        else:
            results.append((float(score), False))
    return results


def score_detector(detector: "Detector", views: Views) -> dict:
    """mAP50 and, per type, AP50, the number of objects, and the mean confidence in views that show one and in views
    that do not. A type that no view shows has AP50 nan and is left out of the mean."""
    rows: list[list[tuple[float, bool]]] = [[] for _ in views.types]
    confidences = []
    of_view = [np.flatnonzero(views.view == index) for index in range(len(views))]
    for start in range(0, len(views), _CHUNK):
        chunk = views.rgb[start : start + _CHUNK]
        confidences.append(detector.confidences(chunk))
        for offset, found in enumerate(detector.detect(chunk)):
            labels = of_view[start + offset]
            for kind in range(len(views.types)):
                alike = labels[views.kind[labels] == kind]
                rows[kind] += _match(found, kind, views.boxes[alike], views.pixels[alike] >= MINIMAL_PIXELS)
    surety = np.concatenate(confidences)
    scores: dict = {"AP50": {}, "objects": {}, "confidence_visible": {}, "confidence_absent": {}}
    for kind, name in enumerate(views.types):
        of_kind = views.kind == kind
        clear = of_kind & (views.pixels >= MINIMAL_PIXELS)
        result = np.array(rows[kind], float).reshape(-1, 2)
        shows = np.isin(np.arange(len(views)), views.view[clear])
        lacks = ~np.isin(np.arange(len(views)), views.view[of_kind])
        scores["objects"][name] = int(clear.sum())
        scores["AP50"][name] = average_precision(result[:, 0], result[:, 1] > 0, int(clear.sum()))
        scores["confidence_visible"][name] = float(surety[shows, kind].mean()) if shows.any() else float("nan")
        scores["confidence_absent"][name] = float(surety[lacks, kind].mean()) if lacks.any() else float("nan")
    seen = [value for value in scores["AP50"].values() if not np.isnan(value)]
    scores["mAP50"] = float(np.mean(seen)) if seen else float("nan")
    return {**scores, "held_out_views": len(views), "held_out_layouts": len(set(views.layout.tolist()))}
