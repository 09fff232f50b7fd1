"""A made-up folder of public data sets: every file where and as it is distributed, with a few rows of our own."""

import json
import lzma
from itertools import cycle, islice
from pathlib import Path

from tests.labelled import BAD, GOOD
from tests.tasks.rows import conll, ner_rows

TEXTS = [text for pair in zip(GOOD.strip().splitlines(), BAD.strip().splitlines(), strict=True) for text in pair]
"""Good and bad in turn, so that the label of row i is i % 2."""
INTENTS = ("praise", "complaint")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _tsv(path: Path, rows: list[tuple[object, ...]]) -> None:
    _write(path, "".join("\t".join(map(str, row)) + "\n" for row in rows))


def write_glue(glue: Path) -> None:
    """Every set that this project's own folder has, QNLI without train as there."""
    numbered = list(enumerate(TEXTS))
    mine = [(text, i % 2) for i, text in numbered]
    other = [TEXTS[(i + 2) % len(TEXTS)] for i in range(len(TEXTS))]
    for part in ("train", "dev", "test_labelled"):
        _tsv(glue / "SST-2" / f"{part}.tsv", [("sentence", "label"), *mine])
    _tsv(glue / "SST-2" / "test_unlabelled.tsv", [("index", "sentence"), *numbered[:6]])
    for part in ("train", "dev"):
        _tsv(glue / "CoLA" / f"{part}.tsv", [("gj04", i % 2, "*" * (1 - i % 2), text) for i, text in numbered])
    _tsv(glue / "CoLA" / "test_unlabelled.tsv", [("index", "sentence"), *numbered[:6]])
    pairs = [(i, text, other[i]) for i, text in numbered]
    for name, labels in (("RTE", ("not_entailment", "entailment")), ("WNLI", ("0", "1"))):
        head = ("index", "sentence1", "sentence2")
        for part in ("train", "dev"):
            _tsv(glue / name / f"{part}.tsv", [(*head, "label"), *((*pair, labels[pair[0] % 2]) for pair in pairs)])
        _tsv(glue / name / "test_unlabelled.tsv", [head, *pairs[:6]])
    head = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    for part in ("train", "test"):
        rows = [(i % 2, i, 100 + i, text, other[i]) for i, text in numbered]
        _tsv(glue / "MRPC" / f"msr_paraphrase_{part}.txt", [head, *rows])
        path = glue / "MRPC" / f"msr_paraphrase_{part}.txt"
        path.write_text("\ufeff" + path.read_text(encoding="utf-8"), encoding="utf-8")
    middle = ("main-captions", "MSRvid", "2012test", "0000", "none", "none")
    head = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2")
    for part in ("train", "dev"):
        rows = [(i, *middle, text, other[i], f"{4.5 * (i % 2) + i % 5 / 10:.3f}") for i, text, _ in pairs]
        _tsv(glue / "STS-B" / f"{part}.tsv", [(*head, "score"), *rows])
    _tsv(glue / "STS-B" / "test_unlabelled.tsv", [head, *((i, *middle, text, other[i]) for i, text, _ in pairs[:6])])
    rows = [(*middle[:4], f"{4.5 * (i % 2) + i % 5 / 10:.3f}", text, other[i]) for i, text, _ in pairs]
    rows[0] = (*rows[0], "a licence", "of its own")
    _tsv(glue / "STS-B" / "sts-test-labelled.tsv", rows)
    _tsv(glue / "QNLI" / "dev.tsv", [("index", "question", "sentence", "label"), (0, "Why?", "So.", "entailment")])


def complete_glue(glue: Path) -> None:
    """What this project's own folder lacks, in the official layout, broken lines of QQP included."""
    entailment = ("entailment", "not_entailment")
    rows = [(i, text, f"so {text}", entailment[i % 2]) for i, text in enumerate(TEXTS)]
    for part in ("train", "dev"):
        _tsv(glue / "QNLI" / f"{part}.tsv", [("index", "question", "sentence", "label"), *rows])
    _tsv(glue / "QNLI" / "test.tsv", [("index", "question", "sentence"), *(row[:3] for row in rows[:6])])
    head = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    pairs = [(i, i, i, text, f"so {text}", i % 2) for i, text in enumerate(TEXTS)]
    for part in ("train", "dev"):
        _tsv(glue / "QQP" / f"{part}.tsv", [head, *pairs, (99, "half a line")])
    _tsv(glue / "QQP" / "test.tsv", [("id", "question1", "question2"), *((row[0], *row[3:5]) for row in pairs[:6])])
    middle = ("promptID", "pairID", "genre", "sentence1", "sentence2", "label1", "gold_label")
    names = ("neutral", "contradiction", "entailment")
    rows = [(i, i, f"{i}n", "fiction", text, f"so {text}", "-", names[i % 3]) for i, text in enumerate(TEXTS)]
    for part in ("train", "dev_matched", "dev_mismatched"):
        _tsv(glue / "MNLI" / f"{part}.tsv", [("index", *middle), *rows])
    for part in ("test_matched", "test_mismatched"):
        _tsv(glue / "MNLI" / f"{part}.tsv", [("index", *middle[:5]), *(row[:6] for row in rows[:6])])
    asked = [(i, text, f"so {text}") for i, text in enumerate(TEXTS[:6])]
    _tsv(glue / "diagnostic" / "diagnostic.tsv", [("index", "sentence1", "sentence2"), *asked])
    head = ("index", "#1 ID", "#2 ID", "#1 String", "#2 String")
    _tsv(glue / "MRPC" / "test.tsv", [head, *((i, i, i, one, other) for i, one, other in asked)])


def write_questions(folder: Path) -> None:
    """Five articles of SQuAD; TyDiQA, whose ids repeat and whose contexts occur several times."""

    def paragraph(number: int, first: str) -> dict[str, object]:
        context = f"The river {number} rises near Oslo and ends at Lima. It is {number} miles long."
        asked = (("Where does river {} end?", "Lima"), ("Where does river {} rise?", "near Oslo"))
        qas = [
            {
                "id": f"{first}{number}-{i}",
                "question": question.format(number),
                "answers": [{"text": answer, "answer_start": context.index(answer)}],
            }
            for i, (question, answer) in enumerate(asked)
        ]
        return {"context": context, "qas": qas}

    articles = [{"title": f"River_{a}", "paragraphs": [paragraph(10 * a + p, "q") for p in range(3)]} for a in range(5)]
    _write(folder / "squad" / "dev-v1.1.json", json.dumps({"version": "1.1", "data": articles}))
    tydi = [{"paragraphs": [paragraph(n % 7, "") for n in range(14)]}]
    for part in tydi[0]["paragraphs"]:
        for question in part["qas"]:  # type: ignore[attr-defined]
            question["id"] = "0"
    _write(folder / "tydiqa" / "tydiqa.goldp.en.train.json", json.dumps({"data": tydi}))


def write_xnli(folder: Path) -> None:
    """English and two other languages in the same order, three hypotheses a premise."""
    labels = ("neutral", "contradiction", "entailment")
    for language in ("en", "de", "zh"):
        rows = [
            (f"{language} {text}", f"{language} hypothesis {label} {i}", label)
            for i, text in enumerate(TEXTS)
            for label in labels
        ]
        _tsv(folder / "xnli" / f"dev-{language}.tsv", list(rows))


def write_choice(folder: Path) -> None:
    """COPA, DREAM, RACE, and ARC with rows that lost their choices."""
    pairs = list(zip(TEXTS[::2], TEXTS[1::2], strict=True))
    for part in ("train", "val", "test"):
        lines = [
            json.dumps({"premise": "A day out.", "choice1": a, "choice2": b, "question": q, "idx": i, "label": i % 2})
            for i, ((a, b), q) in enumerate(zip(pairs, cycle(("cause", "effect")), strict=False))
        ]
        _write(folder / "copa" / f"{part}-en.jsonl", "\n".join(lines) + "\n")
    for part in ("train", "dev", "test"):
        dialogues = [
            [["M: How was it?", f"W: {a}"], [{"question": "How?", "choice": [b, a, "Tea."], "answer": a}], str(i)]
            for i, (a, b) in enumerate(pairs)
        ]
        _write(folder / "dream" / f"{part}.json", json.dumps(dialogues))
    for part in ("train", "dev", "test"):
        for level in ("middle", "high"):
            for i, (a, b) in enumerate(pairs):
                passage = {
                    "id": f"{level}{i}.txt",
                    "article": f"Some day {a} or {b}",
                    "questions": ["What?", "Which _ ?"],
                }
                passage |= {"options": [[a, b, "Tea", "Rain"]] * 2, "answers": ["A", "B"]}
                _write(folder / "RACE" / part / level / f"{i}.txt", json.dumps(passage))
    for level in ("challenge", "easy"):
        for part in ("train", "validation"):
            rows = [f'"Which one, {i}?","{a}","{b}",Tea,,{"AB"[i % 2]}' for i, (a, b) in enumerate(pairs)]
            rows += ["Lost?,,,,,2", "Fifth?,a,b,c,d,E"]
            _write(folder / "arc" / f"arc_{level}_{part}.csv", "\n".join(rows) + "\n")


def write_texts(folder: Path) -> None:
    """Tagged words, opinions, messages and intents."""
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        _write(folder / "wnut17" / name, conll(ner_rows()))
    for part in ("train", "test"):
        rows = [{"text": text, "label": ("pos", "neg")[i % 2]} for i, text in enumerate(TEXTS)]
        (folder / "imdb").mkdir(exist_ok=True)
        with lzma.open(folder / "imdb" / f"{part}.jsonl.xz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    for name, names in (("sentiment", ("negative", "neutral", "positive")), ("emotion", ("anger", "joy"))):
        place = folder / "tweeteval" / name
        _write(place / "mapping.txt", "".join(f"{i}\t{label}\n" for i, label in enumerate(names)) + "\n")
        for part in ("test", "val") if name == "sentiment" else ("train", "val", "test"):
            _write(place / f"{part}_text.txt", "".join(f"{text} \n" for text in TEXTS))
            _write(place / f"{part}_labels.txt", "".join(f"{i % len(names)}\n" for i in range(len(TEXTS))))
    spam = [(("ham", "spam")[i % 2], text) for i, text in enumerate(TEXTS)]
    _tsv(folder / "sms_spam" / "SMSSpamCollection", [("Label", "SMS"), *spam, *spam[:8]])
    for part in ("train", "train_10", "valid", "test"):
        texts = list(islice(cycle(TEXTS), 40))
        _write(folder / "clinc150" / part / "seq.in", "\n".join(texts) + "\n")
        _write(folder / "clinc150" / part / "label", "\n".join(INTENTS[i % 2] for i in range(40)) + "\n")
    for part in ("valid", "test"):
        _write(folder / "clinc150" / "oos" / part / "seq.in", "how far is the moon\nwho won the cup in 1954\n")
        _write(folder / "clinc150" / "oos" / part / "label", "oos\noos\n")


def write_public(folder: Path) -> Path:
    """Write them all."""
    write_glue(folder / "glue")
    for write in (write_questions, write_xnli, write_choice, write_texts):
        write(folder)
    return folder
