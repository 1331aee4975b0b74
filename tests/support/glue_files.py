"""Small files of the GLUE tasks, in their published layouts, that a tiny model can learn from."""

import pathlib
import random

GOOD, BAD = ("boats", "hills", "walking"), ("river", "cheese", "market")
_FILLER = ("the", "a", "2009,", "and", "people", "in", "each")
_THREE_WAY = ("contradiction", "entailment", "neutral")
_MNLI = ("index", "promptID", "pairID", "genre", "p1", "p2", "p3", "p4", "sentence1", "sentence2")
_STS = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2")


def text(rng: random.Random, label: int) -> str:
    """Some words, one of which tells the label."""
    words = rng.choices(_FILLER, k=rng.randint(2, 9))
    return " ".join([rng.choice((BAD, GOOD)[label]), *words])


def write_glue(root: pathlib.Path, count: int = 24) -> pathlib.Path:
    """All tasks below `root`, each with train, dev and test."""
    rng = random.Random(1)
    splits = {"train": count, "dev": count // 2 + 1, "test": 5}
    for split, rows in splits.items():
        examples = [(str(i), text(rng, i % 2), text(rng, rng.randint(0, 1)), i) for i in range(rows)]
        has_label = split != "test"

        def write(name: str, header, row, bom: str = "", examples=examples) -> None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = ["\t".join(header)] if header else []
            lines += ["\t".join(row(*example)) for example in examples]
            path.write_text(bom + "\n".join(lines) + "\n", encoding="utf-8")

        def labelled(header, row, labels, has_label=has_label):
            if not has_label:
                return header, row
            name = "score" if labels is None else "label"

            def with_label(key, a, b, number):
                label = f"{number % 6:.3f}" if labels is None else labels[number % len(labels)]
                return [*row(key, a, b, number), label]

            return (*header, name), with_label

        def pair(key, a, b, i):
            return [key, a, b]

        if has_label:
            write(f"CoLA/{split}.tsv", None, lambda key, a, b, i: ["gj04", str(i % 2), "", a])
            write(f"SST-2/{split}.tsv", ("sentence", "label"), lambda key, a, b, i: [a, str(i % 2)])
            quora = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
            write(f"QQP/{split}.tsv", quora, lambda key, a, b, i: [key, "1", "2", a, b, str(i % 2)])
        else:
            write(f"CoLA/{split}.tsv", ("index", "sentence"), lambda key, a, b, i: [key, a])
            write(f"SST-2/{split}.tsv", ("index", "sentence"), lambda key, a, b, i: [key, a])
            write(f"QQP/{split}.tsv", ("id", "question1", "question2"), pair)
            write("diagnostic/diagnostic.tsv", ("index", "sentence1", "sentence2"), pair)
        paraphrase = ("Quality" if has_label else "index", "#1 ID", "#2 ID", "#1 String", "#2 String")
        first = (lambda key, i: str(i % 2)) if has_label else (lambda key, i: key)
        write(
            f"MRPC/{split}.tsv",
            paraphrase,
            lambda key, a, b, i, first=first: [first(key, i), "1", "2", a, b],
            bom="\ufeff",
        )
        sentences = ("index", "sentence1", "sentence2")
        two_way = ("entailment", "not_entailment")
        write(f"RTE/{split}.tsv", *labelled(sentences, pair, two_way))
        write(f"WNLI/{split}.tsv", *labelled(sentences, pair, ("0", "1")))
        write(f"QNLI/{split}.tsv", *labelled(("index", "question", "sentence"), pair, two_way))
        write(f"STS-B/{split}.tsv", *labelled(_STS, lambda key, a, b, i: [key, *["x"] * 6, a, b], None))
        header, row = labelled(_MNLI, lambda key, a, b, i: [key, *["x"] * 7, a, b], _THREE_WAY)
        if has_label:
            header = (*header[:-1], "label1", "gold_label")
            own_row = row
            row = lambda *example, own_row=own_row: [*own_row(*example)[:-1], "x", own_row(*example)[-1]]  # noqa: E731
        parts = [split] if split == "train" else [f"{split}_matched", f"{split}_mismatched"]
        for part in parts:
            write(f"MNLI/{part}.tsv", header, row)
    return root
