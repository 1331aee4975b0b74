"""Ten jobs, done by this package, by Hugging Face and by keras-hub; docs/compared.md has the results.

    python -m benchmarks.compared make 30k-clean.model FOLDER   # models with random weights, and texts
    python -m benchmarks.compared here fill FOLDER              # or hugging_face or keras_hub, and their jobs

It prints the answer, the lines of the job, and the processor seconds of the whole process. Each library may
have an environment of its own: this file imports nothing but the library that it runs.
"""

import inspect
import os
import pathlib
import resource
import subprocess
import sys
import tarfile

_CONTEXT = "Anna went to the market. " * 100
_TEXTS = ["A fine film.", "A dull film."]
_OPTIONS = ["the market", "the sea", "home", "nowhere"]
_HEADS = {
    "pretraining": {"task_name": "pretraining"},
    "classification": {"task_name": "custom", "label_names": ["no", "yes"], "num_texts": 1},
    "multiple_choice": {"task_name": "race", "label_names": ["A", "B", "C", "D"]},
    "question_answering": {"task_name": "squad_v1", "max_seq_length": 384},
}


def _make(spm_model_file: str, folder: str) -> None:
    """Writes a run and a Hugging Face folder of each head, the original's archive of one, and texts."""
    import tensorflow as tf

    import convert_checkpoint
    from albert_tf import AlbertConfig
    from albert_tf.checkpoints.assets import Assets
    from albert_tf.models.heads import HEADS

    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    config = AlbertConfig.from_preset("base_v2")
    for head, task in _HEADS.items():
        model = HEADS[head].model(config, **({"num_labels": 2} if head == "classification" else {}))
        os.makedirs(head, exist_ok=True)
        tf.train.Checkpoint(model=model).write(f"{head}/model.ckpt-best")
        Assets(config=config, spm_model_file=spm_model_file, do_lower_case=True, task=task).write(head)
        flags = [f"--input={head}", "--overwrite", f"--output=hf_{head}", "--output_format=huggingface"]
        convert_checkpoint.main(["convert_checkpoint.py", *flags])
    os.makedirs("albert_base", exist_ok=True)
    flags = ["--input=pretraining", "--output=albert_base/model.ckpt-best", "--output_format=original"]
    convert_checkpoint.main(["convert_checkpoint.py", *flags])
    with tarfile.open("albert_base.tar.gz", "w:gz") as archive:
        archive.add("albert_base")
    for name, rows in (("train", 64), ("dev", 32)):
        lines = [f"It is {('dull', 'fine')[i % 2]}, said guest {i}.\t{i % 2}" for i in range(rows)]
        pathlib.Path(f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines]))
    text = "\n".join(f"Guest {i} went to market {i % 7} and saw {i % 5} boats." for i in range(1000))
    pathlib.Path("text.txt").write_text(text)


def _run(*command: str) -> None:
    environment = os.environ | {"PYTHONPATH": (root := str(pathlib.Path(__file__).resolve().parents[1]))}
    script = [os.path.join(root, command[0])] if command[0].endswith(".py") else [command[0]]
    subprocess.run([sys.executable, *script, *command[1:]], env=environment, check=True)


class _Here:
    def fill(self):
        from albert_tf import open_model

        return open_model("hf_pretraining").predict("The capital of France is [MASK].")

    def classify(self):
        from albert_tf import open_model

        return open_model("classification").predict(_TEXTS)

    def answer(self):
        from albert_tf import open_model

        return open_model("question_answering").predict("Where did Anna go?", _CONTEXT)

    def choose(self):
        from albert_tf import open_model

        return open_model("multiple_choice").predict("Anna is at sea.", "Where is she?", _OPTIONS)

    def embed(self):
        from albert_tf import open_model

        return [row["mean"] for row in open_model("hf_pretraining").embed(["A text.", "Another one."])]

    def tokenize(self):
        from albert_tf import load_tokenizer

        tokenizer = load_tokenizer("hf_pretraining/spiece.model")
        return tokenizer(["He left."], ["He went away."], max_length=64, offsets=True)

    def fine_tune(self):
        files = (
            "--train_file=train.tsv",
            "--dev_file=dev.tsv",
            "--output_dir=out",
            "--do_train",
            "--do_eval",
        )
        chosen = ("--num_train_epochs=1", "--train_batch_size=16", "--max_seq_length=64")
        _run("run_classifier.py", "--task_name=custom", "--init_checkpoint=hf_pretraining", *files, *chosen)

    def pretrain(self):
        script, text = "data_prep.create_pretraining_data", ("--input_file=text.txt", "--max_seq_length=128")
        vocabulary = "--spm_model_file=hf_pretraining/spiece.model"
        _run("-m", script, *text, "--output_file=text.tfrecord", vocabulary, "--max_predictions_per_seq=20")
        files = ("--preset=base_v2", "--input_file=text.tfrecord", "--output_dir=model")
        _run("run_pretraining.py", *files, "--train_batch_size=8", "--num_train_steps=4")

    def original(self):
        from albert_tf import open_model

        return open_model("albert_base.tar.gz").predict("The capital of France is [MASK].")

    def export(self):
        from albert_tf import open_model

        _run("export_saved_model.py", "--input=classification", "--export_dir=exported")
        return open_model("exported").predict(["A fine film."])


class _HuggingFace:
    def fill(self):
        from transformers import pipeline

        return pipeline("fill-mask", "hf_pretraining")("The capital of France is [MASK].")

    def classify(self):
        from transformers import pipeline

        return pipeline("text-classification", "hf_classification", top_k=None)(_TEXTS)

    def answer(self):  # transformers 5 has no pipeline for it
        import torch
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained("hf_question_answering")
        model = AutoModelForQuestionAnswering.from_pretrained("hf_question_answering").eval()
        how = {"truncation": "only_second", "max_length": 384, "stride": 128, "padding": True}
        more = {"return_overflowing_tokens": True, "return_offsets_mapping": True, "return_tensors": "pt"}
        inputs = tokenizer("Where did Anna go?", _CONTEXT, **how, **more)
        offsets = inputs.pop("offset_mapping")
        inputs.pop("overflow_to_sample_mapping")
        with torch.no_grad():
            outputs = model(**inputs)
        found = []
        for window, logits in enumerate(zip(outputs.start_logits, outputs.end_logits, strict=True)):
            inside = torch.tensor([number == 1 for number in inputs.sequence_ids(window)])
            starts, ends = (torch.where(inside, values, -float("inf")) for values in logits)
            scores = starts[:, None] + ends[None, :]
            scores = torch.where(torch.ones_like(scores).triu().tril(29) > 0, scores, -float("inf"))
            first, last = divmod(int(scores.argmax()), scores.shape[1])
            found.append((float(scores.max()), int(offsets[window, first, 0]), int(offsets[window, last, 1])))
        score, begin, end = max(found)
        return score, _CONTEXT[begin:end]

    def choose(self):
        import torch
        from transformers import AutoModelForMultipleChoice, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained("hf_multiple_choice")
        model = AutoModelForMultipleChoice.from_pretrained("hf_multiple_choice").eval()
        texts = ["Anna is at sea."] * len(_OPTIONS), [f"Where is she? {option}" for option in _OPTIONS]
        inputs = tokenizer(*texts, truncation=True, padding=True, return_tensors="pt")
        with torch.no_grad():
            return model(**{name: values[None] for name, values in inputs.items()}).logits.softmax(-1)

    def embed(self):
        import torch
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained("hf_pretraining")
        model = AutoModel.from_pretrained("hf_pretraining").eval()
        inputs = tokenizer(["A text.", "Another one."], truncation=True, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        return (states * mask).sum(1) / mask.sum(1)

    def tokenize(self):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained("hf_pretraining")
        how = {"truncation": True, "max_length": 64, "return_offsets_mapping": True, "return_tensors": "np"}
        return tokenizer(["He left."], ["He went away."], **how)

    def fine_tune(self):
        from datasets import load_dataset
        from transformers import AutoModelForSequenceClassification as Classifier
        from transformers import AutoTokenizer, Trainer, TrainingArguments

        data = load_dataset("csv", data_files={"train": "train.tsv", "dev": "dev.tsv"}, sep="\t")
        tokenizer = AutoTokenizer.from_pretrained("hf_pretraining")
        data = data.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=64), batched=True)
        how = {"num_train_epochs": 1, "per_device_train_batch_size": 16, "eval_strategy": "epoch"}
        trainer = Trainer(
            Classifier.from_pretrained("hf_pretraining", num_labels=2),
            TrainingArguments("out_hf", report_to="none", **how),
            train_dataset=data["train"],
            eval_dataset=data["dev"],
            processing_class=tokenizer,
            compute_metrics=lambda found: {"accuracy": (found[0].argmax(-1) == found[1]).mean()},
        )
        trainer.train()
        return trainer.evaluate()

    def pretrain(self):  # masked words alone: nothing makes records of sentence order
        from datasets import load_dataset
        from transformers import AlbertConfig, AlbertForMaskedLM, AutoTokenizer, Trainer, TrainingArguments
        from transformers import DataCollatorForLanguageModeling as Masking

        tokenizer = AutoTokenizer.from_pretrained("hf_pretraining")
        data = load_dataset("text", data_files="text.txt")["train"]
        data = data.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=128), batched=True)
        model = AlbertForMaskedLM(AlbertConfig.from_pretrained("hf_pretraining"))
        how = {"max_steps": 4, "per_device_train_batch_size": 8, "report_to": "none"}
        trainer = Trainer(model, TrainingArguments("model_hf", **how), Masking(tokenizer), train_dataset=data)
        return trainer.train()

    def original(self):
        from transformers import AlbertForMaskedLM

        return AlbertForMaskedLM.from_pretrained("albert_base", from_tf=True)

    def export(self):  # ids in, logits out
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        inputs = AutoTokenizer.from_pretrained("hf_classification")(["A fine film."], return_tensors="pt")
        model = AutoModelForSequenceClassification.from_pretrained("hf_classification").eval()
        torch.export.save(torch.export.export(model, (), dict(inputs)), "exported.pt2")
        return torch.export.load("exported.pt2").module()(**inputs).logits.softmax(-1)


class _KerasHub:
    def fill(self):  # with a fresh head: the folder's is not read
        import numpy as np
        from keras_hub import models

        model = models.AlbertMaskedLM.from_preset("hf_pretraining", preprocessor=None)
        tokenizer = models.AlbertTokenizer.from_preset("hf_pretraining")
        start, mask = tokenizer.cls_token_id, [tokenizer.mask_token_id, tokenizer.sep_token_id]
        ids = np.array([[start, *tokenizer("the capital of france is"), *mask]])
        place = {"mask_positions": np.array([[ids.shape[1] - 2]]), "padding_mask": ids >= 0}
        [[logits]] = model.predict({"token_ids": ids, "segment_ids": 0 * ids, **place})
        return [tokenizer.id_to_token(int(id)) for id in logits.argsort()[-5:]]

    def classify(self):  # with a fresh head: the folder's is not read
        from keras_hub import models

        model = models.AlbertTextClassifier.from_preset("hf_classification", num_classes=2)
        return model.predict([text.lower() for text in _TEXTS])

    def embed(self):
        from keras_hub import models

        prepare = models.AlbertTextClassifierPreprocessor.from_preset("hf_pretraining")
        inputs = prepare(["a text.", "another one."])
        states = models.AlbertBackbone.from_preset("hf_pretraining").predict(inputs)["sequence_output"]
        mask = inputs["padding_mask"].numpy()[..., None]
        return (states * mask).sum(1) / mask.sum(1)

    def tokenize(self):  # without offsets
        import tensorflow as tf
        from keras_hub import models

        pair = tf.constant(["he left."]), tf.constant(["he went away."])
        prepare = models.AlbertTextClassifierPreprocessor.from_preset("hf_pretraining", sequence_length=64)
        return prepare(x=pair)

    def fine_tune(self):
        import pandas
        from keras_hub import models

        train, dev = (pandas.read_csv(f"{name}.tsv", sep="\t") for name in ("train", "dev"))
        prepare = models.AlbertTextClassifierPreprocessor.from_preset("hf_pretraining", sequence_length=64)
        how = {"num_classes": 2, "preprocessor": prepare}
        model = models.AlbertTextClassifier.from_preset("hf_pretraining", **how)
        model.fit(train["text"].str.lower().to_numpy(str), train["label"].to_numpy(), batch_size=16)
        return model.evaluate(dev["text"].str.lower().to_numpy(str), dev["label"].to_numpy())

    def pretrain(self):  # masked words alone
        import tensorflow as tf
        from keras_hub import models

        prepare = models.AlbertMaskedLMPreprocessor.from_preset("hf_pretraining", sequence_length=128)
        backbone = models.AlbertBackbone.from_preset("hf_pretraining", load_weights=False)
        lines = tf.data.TextLineDataset("text.txt").map(tf.strings.lower)
        return models.AlbertMaskedLM(backbone, prepare).fit(lines.batch(8).take(4)).history

    def original(self):
        from keras_hub import models

        return models.AlbertBackbone.from_preset("albert_base")

    def export(self):  # ids in, logits out
        import tensorflow as tf
        from keras_hub import models

        models.AlbertTextClassifier.from_preset("hf_classification", num_classes=2).export("exported_kh")
        return tf.saved_model.load("exported_kh").signatures["serving_default"].structured_input_signature


_LIBRARIES = {"here": _Here, "hugging_face": _HuggingFace, "keras_hub": _KerasHub}

if __name__ == "__main__":
    library, job, folder = sys.argv[1:]
    os.environ |= {"HF_HUB_OFFLINE": "1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if library == "make":
        sys.exit(_make(os.path.abspath(job), folder))
    os.chdir(folder)
    function = getattr(_LIBRARIES[library](), job, None)
    if function is None:
        sys.exit(f"{library} cannot {job}")
    print(function())
    lines = [line for line in inspect.getsource(function).splitlines()[1:] if line.strip()]
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds = sum(each.ru_utime + each.ru_stime for each in used)
    print(f"{library} {job}: {len(lines)} lines, {seconds:.1f} s of processor time")
