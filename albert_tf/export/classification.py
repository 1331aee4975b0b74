"""Served classification and regression: a text or a pair in, a label or a score out."""

import tensorflow as tf

from albert_tf.export.served_model import ServedModel, Signature, Tensors, family, on_inputs, strings
from albert_tf.export.trained_model import TrainedModel

_NAMES = ("text", "text_pair")
_REQUEST = ("The film is a delight from beginning to end.", "It is worth seeing.")


class ServedClassification(ServedModel):
    """Answers with `label` and `probabilities` in the order of the task's labels, or with `score`.

    Args:
      trained: a model for sequence classification.
      threshold_to_export: a constant that the original's users may put into the export for their clients.
    """

    settings = ("threshold_to_export",)

    def __init__(self, trained: TrainedModel, threshold_to_export: float | None = None):
        super().__init__(trained)
        model, labels = trained.model, trained.task["label_names"]
        self._names = _NAMES[: trained.task["num_texts"]]
        self._threshold = threshold_to_export

        def predict(inputs: Tensors) -> Tensors:
            logits = model(inputs, training=False)["logits"]
            if not labels:
                return {"score": logits[:, 0]}
            chosen = tf.argmax(logits, axis=-1, output_type=tf.int32)
            return {"label": tf.gather(tf.constant(labels), chosen), "probabilities": tf.nn.softmax(logits)}

        self._predict = on_inputs(predict)

    def task_signatures(self) -> dict[str, Signature]:
        """See `ServedModel`."""

        def predict_text(**texts: tf.Tensor) -> Tensors:
            return self._predict(**self.text_inputs(*(texts[name] for name in self._names)))

        request = {name: [text] for name, text in zip(self._names, _REQUEST, strict=False)}
        text = Signature(predict_text, tuple(map(strings, self._names)), request)
        return family(text, self.text_inputs, self._predict, for_examples=self._as_the_original)

    def _as_the_original(self, outputs: Tensors) -> Tensors:
        if "score" in outputs:
            named = {"predictions": outputs["score"], "probabilities": outputs["score"][:, None]}
        else:
            chosen = tf.argmax(outputs["probabilities"], axis=-1, output_type=tf.int32)
            named = {"predictions": chosen, "probabilities": outputs["probabilities"]}
        return named if self._threshold is None else named | {"threshold": tf.constant(self._threshold)}
