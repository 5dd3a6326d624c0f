"""GLUE's scores against scikit-learn and SciPy, by hand, and through the metric."""

import numpy as np
import pytest

from mindformers.data.loader import FILLER_ROW
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.glue import SCORES, LabelMetric

PREDICTED = np.array([1, 1, 0, 0, 1, 0, 1, 1])
LABELS = np.array([1, 0, 0, 1, 1, 0, 1, 0])


def one_hot(classes, size=2):
    return 5.0 * np.eye(size)[classes]


def test_scores_of_a_small_case_by_hand():
    # 3 true positives, 2 false positives, 1 false negative, 2 true negatives
    assert SCORES["accuracy"](PREDICTED, LABELS) == 5 / 8
    assert SCORES["f1"](PREDICTED, LABELS) == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    by_hand = (3 * 2 - 2 * 1) / np.sqrt((3 + 2) * (3 + 1) * (2 + 2) * (2 + 1))
    assert SCORES["matthews_correlation"](PREDICTED, LABELS) == pytest.approx(by_hand)
    assert SCORES["pearson"](np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])) == pytest.approx(
        3 / np.sqrt(2 * 14 / 3)
    )
    # ranks 1, 2, 3 against 1, 3, 2: 1 - 6 * (0 + 1 + 1) / (3 * 8)
    assert SCORES["spearmanr"](np.array([1.0, 2.0, 9.0]), np.array([0.0, 7.0, 5.0])) == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_classes_equal_scikit_learns(seed, classes):
    sklearn = pytest.importorskip("sklearn.metrics", reason="needs: pip install 'mindformers[oracle]'")
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, 200)
    predicted = np.where(generator.random(200) < 0.6, labels, generator.integers(0, classes, 200))
    assert SCORES["accuracy"](predicted, labels) == pytest.approx(sklearn.accuracy_score(labels, predicted))
    assert SCORES["matthews_correlation"](predicted, labels) == pytest.approx(
        sklearn.matthews_corrcoef(labels, predicted)
    )
    if classes == 2:
        assert SCORES["f1"](predicted, labels) == pytest.approx(sklearn.f1_score(labels, predicted))


def test_correlations_equal_numpys(seed=4):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, 100).astype(np.float32)  # with ties
    predicted = (labels + generator.normal(0, 2, 100)).astype(np.float32)
    assert SCORES["pearson"](predicted, labels) == pytest.approx(np.corrcoef(predicted, labels)[0, 1], abs=1e-6)

    def ranks(values):
        return np.array([(values < item).sum() + ((values == item).sum() + 1) / 2 for item in values])

    expected = np.corrcoef(ranks(predicted), ranks(labels))[0, 1]
    assert SCORES["spearmanr"](predicted, labels) == pytest.approx(expected, abs=1e-6)


def test_predictions_that_never_change_score_nothing_and_warn_nothing():
    assert SCORES["matthews_correlation"](np.zeros(8, int), LABELS) == 0
    assert SCORES["f1"](np.zeros(8, int), np.zeros(8, int)) == 0
    for name in ("pearson", "spearmanr"):
        assert SCORES[name](np.zeros(4), np.arange(4.0)) == 0


def test_the_metric_scores_rows_in_any_order_and_leaves_out_fillers():
    metric = LabelMetric(LABELS, ("accuracy", "f1"))
    order = np.array([7, 6, 5, 4, 3, 2, 1, 0])
    metric.update(order[:5], one_hot(PREDICTED[order[:5]]))
    metric.update(np.array([2, 1, 0, FILLER_ROW, FILLER_ROW]), one_hot(PREDICTED[[2, 1, 0, 0, 0]]))
    assert metric.eval() == pytest.approx(
        {"accuracy": 5 / 8, "f1": 2 / 3, "combined_score": (5 / 8 + 2 / 3) / 2, "scored": 8, "total": 8}
    )
    metric.clear()
    metric.update(np.array([0, FILLER_ROW]), one_hot(np.array([1, 1])))
    assert metric.eval()["scored"] == 1 and metric.eval()["accuracy"] == 1


def test_numbers_are_scored_by_the_only_output():
    labels = np.array([0.0, 2.5, 5.0], np.float32)
    metric = LabelMetric(labels, ("pearson", "spearmanr"))
    metric.update(np.arange(3), 10 - labels[:, None])
    assert metric.eval() == pytest.approx(
        {"pearson": -1, "spearmanr": -1, "combined_score": -1, "scored": 3, "total": 3}
    )


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="unknown score 'acuracy'. Did you mean 'accuracy'"):
        LabelMetric(LABELS, ("acuracy",))
    with pytest.raises(UsageError, match="'pearson' does not score classes; these do: accuracy, f1"):
        LabelMetric(LABELS, ("pearson",))
    with pytest.raises(UsageError, match="'f1' does not score numbers"):
        LabelMetric(LABELS.astype(np.float32), ("f1",))
    metric = LabelMetric(np.array([0, 2]), ("f1",))
    metric.update(np.arange(2), one_hot(np.array([0, 2]), 3))
    with pytest.raises(UsageError, match="f1 is the score of two classes"):
        metric.eval()


def test_outputs_that_do_not_fit_are_refused():
    metric = LabelMetric(np.array([0, 2]), ("accuracy",))
    with pytest.raises(DataError, match="takes rows and logits, but got 3 inputs"):
        metric.update(1, 2, 3)
    with pytest.raises(DataError, match=r"logits of shape \(2, 1\) do not fit 2 rows"):
        metric.update(np.arange(2), np.zeros((2, 1)))
    with pytest.raises(DataError, match="the model has 2 outputs, but the data has label 2"):
        metric.update(np.arange(2), np.zeros((2, 2)))
    with pytest.raises(DataError, match="no row was scored"):
        metric.eval()
