"""Reports a run as one HTML page: no network, no scripts; for light and dark, for screen and paper.

Pure functions make the sections of the page; `write_report` puts the sections together.
"""

from albert_tf.html_report.answers import AnswerExample, TaggedExample, answers_in_context, tagged_sentences
from albert_tf.html_report.charts import curves, scatter, threshold_curve, tradeoff
from albert_tf.html_report.examples import largest_errors, wrong_examples
from albert_tf.html_report.page import Section, write_report
from albert_tf.html_report.tables import (
    accuracy_by_part,
    breakdown,
    confusion_matrix,
    facts,
    precision_and_recall,
    results,
)

__all__ = [
    "AnswerExample",
    "Section",
    "TaggedExample",
    "accuracy_by_part",
    "answers_in_context",
    "breakdown",
    "confusion_matrix",
    "curves",
    "facts",
    "largest_errors",
    "precision_and_recall",
    "results",
    "scatter",
    "tagged_sentences",
    "threshold_curve",
    "tradeoff",
    "write_report",
    "wrong_examples",
]
