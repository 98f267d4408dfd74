"""Confusion matrices in, numbers out: IoU by Cityscapes' rule, what is lost to abstaining, where void goes.

NumPy functions of any number of leading axes, in float64; NaN where there is nothing to divide by. Counts are integers,
or floats where pixels are weighted. Index K, one past the last class, is void in the truth and an abstention in the
prediction. Not in kseg.metrics, which offers the same names, because that package loads TensorFlow.
"""

import numpy as np


def per_class_iou(matrix, void_costs=None):
    """IoU of each class by Cityscapes' official rule: float64 [..., K], NaN where a class is in neither.

    tp / (tp + fn + fp). fn holds abstentions. fp counts labelled pixels alone, so what void is called costs nothing.
    Of one class alone that would be its recall, which is 1 where every pixel is called it: there void costs.

    Args:
      matrix: int, or float where pixels are weighted, [..., K + 1, K + 1].
      void_costs: whether void that is called a class is a false positive of it, too; None: where K = 1.
    Source: cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py, getIouScoreForLabel.
    """
    matrix = np.asarray(matrix)
    if void_costs is None:
        void_costs = matrix.shape[-1] == 2
    return _iou(matrix if void_costs else matrix[..., :-1, :])[..., : matrix.shape[-1] - 1]


def mean_iou(matrix):
    """Mean of `per_class_iou` over the classes that are in truth or prediction: float64 [...]; NaN if none is."""
    return _mean(per_class_iou(matrix))


def mean_iou_with_background(matrix):
    """Mean IoU of K + 1 classes, void being one of them: float64 [...]."""
    return _mean(_iou(np.asarray(matrix)))


def abstain_rate(matrix):
    """Share of labelled pixels lost to abstaining: float64 [...]."""
    labelled = np.asarray(matrix)[..., :-1, :]
    return _ratio(labelled[..., -1].sum(-1), labelled.sum((-2, -1)))


def abstain_rate_correct(matrix, forced):
    """Share of labelled pixels lost to abstaining that the forced decision has right: float64 [...].

    Over all labelled pixels, so abstain_rate - abstain_rate_correct is the share where abstaining avoided a mistake.

    Args:
      matrix: of decisions that abstain or agree with the forced ones.
      forced: of the same pixels, abstaining not allowed.
    """
    matrix, forced = np.asarray(matrix), np.asarray(forced)
    lost = _hits(forced) - _hits(matrix)
    return _ratio(lost, matrix[..., :-1, :].sum((-2, -1)))


def leak(claims):
    """Share of void pixels claimed as some class: float64 [...].

    Args:
      claims: int [..., K + 1], what void pixels were predicted as: `matrix[K]`, or the same for one kind of void.
    """
    claims = np.asarray(claims)
    return _ratio(claims[..., :-1].sum(-1), claims.sum(-1))


def claimed_as(claims):
    """Share of void pixels claimed as each class: float64 [..., K]; they sum to `leak`. Arguments as there."""
    claims = np.asarray(claims)
    return _ratio(claims[..., :-1], claims.sum(-1, keepdims=True))


def hits_and_union(matrix, array=np):
    """tp and tp + fn + fp of each class, [..., C].

    Args:
      matrix: [..., C or more, C or more], [true, predicted]; its rows are all the truth that counts, and C is the
        smaller of the two sizes.
      array: the module that has `sum` and `diagonal`: numpy, or tensorflow.experimental.numpy for tensors.
    """
    hits = array.diagonal(matrix, axis1=-2, axis2=-1)
    classes = hits.shape[-1]
    return hits, array.sum(matrix, -1)[..., :classes] + array.sum(matrix, -2)[..., :classes] - hits


def _iou(matrix):
    """[..., C] of the first C columns' classes, rows being all truth that counts."""
    # Not in the counts' own type: a sum of uint32 may not fit.
    return _ratio(*hits_and_union(matrix.astype(np.float64 if matrix.dtype.kind == "f" else np.int64)))


def _hits(matrix):
    return np.diagonal(matrix[..., :-1, :-1], axis1=-2, axis2=-1).sum(-1)


def _mean(values):
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def _ratio(part, whole):
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)[()]
