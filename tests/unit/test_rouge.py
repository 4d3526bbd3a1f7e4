"""ROUGE is that of rouge-score, and behaves as a metric of `evaluate` does."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer as GoogleScorer

from job.contract.errors import SpecError
from job.contract.metric_names import ALWAYS, DIRECTIONS, METRIC_GROUPS, names_of
from job.metrics.installed import INSTALLED, score_texts
from job.metrics.rouge import ROUGE_NAMES, rouge_settings, score_rouge

WORDS = (
    *(
        "the",
        "a",
        "of",
        "at",
        "Anna",
        "Tom",
        "meets",
        "meeting",
        "met",
        "agreed",
        "agreement",
        "flies",
        "dying",
        "skies",
    ),
    *("running", "runner", "happily", "relational", "generalizations", "5", "pm", "12:30", "3.14", "2,000", "don't"),
    *("it's", "e-mail", "<file_gif>", "C++", "U.S.A.", "yes", "no", "maybe", "pizza", "Café", "naïve", "ties"),
)
ODD = (
    *(
        "",
        " ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "...",
        "?!",
        "_",
        "a_b",
        "😀",
        "日本語",
        "привет",
        "ß",
        "ﬁne",
        "\u017ftreet",
    ),
    *("İstanbul", "\u212aelvin", "e\u0301", "\u2028", "\x85", "\x0b", "\x00", "x" * 80, "1st", "ies", "sses", "''"),
)


def _text(rng: random.Random) -> str:
    pieces = []
    for _ in range(rng.choice((0, 1, 2, 5, 12, 40, 200))):
        pieces.append(rng.choice(ODD) if rng.random() < 0.2 else rng.choice(WORDS))
        pieces.append(rng.choice((" ", " ", " ", "\n", ". ", "")))
    return "".join(pieces)


def _pairs(count: int) -> list[tuple[str, str]]:
    rng = random.Random(7)  # noqa: S311  (test data, not a secret)
    pairs = []
    for _ in range(count):
        reference = _text(rng)
        words = reference.split()
        kept = " ".join(word for word in words if rng.random() < 0.7)
        shuffled = "\n".join(rng.sample(words, len(words)))
        pairs.append((rng.choice((_text(rng), reference, kept, shuffled)), reference))
    return pairs


def test_every_score_equals_that_of_rouge_score_on_1000_pairs() -> None:
    pairs = _pairs(1000)
    predictions, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    google = GoogleScorer(list(ROUGE_NAMES), use_stemmer=True)

    ours = score_rouge(predictions=predictions, references=references)

    for at, (prediction, reference) in enumerate(pairs):
        expected = google.score(reference, prediction)
        assert {name: ours[name][at] for name in ROUGE_NAMES} == {
            name: expected[name].fmeasure for name in ROUGE_NAMES
        }, (prediction, reference)
    assert 0.2 < sum(ours["rouge1"]) / 1000 < 0.9, "the pairs are neither all equal nor all different"


def test_a_line_is_a_sentence_for_rouge_lsum_alone() -> None:
    scores = score_rouge(predictions=["Tom sings\nAnna flies"], references=["Anna flies\nTom sings"])

    assert scores["rougeLsum"] == (1.0,)
    assert scores["rougeL"] == (0.5,)


def test_a_lone_surrogate_scores_like_any_other_character_that_is_no_letter() -> None:
    assert score_rouge(predictions=["a \ud800 b"], references=["a ? b"])["rouge2"] == (1.0,)


def test_pairs_have_to_be_pairs() -> None:
    with pytest.raises(ValueError, match="2 predictions for 1 references"):
        score_rouge(predictions=["a", "b"], references=["a"])


def test_settings_name_the_scorer_its_version_and_the_splitting() -> None:
    settings = rouge_settings()

    assert settings["use_stemmer"] is True
    assert settings["split"] == "newline"
    assert str(settings["scorer"]).startswith("rouge-score-rs 0.")


def test_the_table_of_scorers_has_what_the_contract_promises() -> None:
    assert set(INSTALLED) == set(METRIC_GROUPS)
    scores = score_texts(tuple(METRIC_GROUPS), predictions=["a"], references=["a"])
    assert set(scores) | set(ALWAYS) == set(names_of(tuple(METRIC_GROUPS)))
    assert set(DIRECTIONS) <= set(names_of(tuple(METRIC_GROUPS)))


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("rogue", "did you mean 'rouge'"),
        ("rougeL", "'rougeL' is part of 'rouge'"),
        ("completion_loss", "always measured"),
        ("someone/metric", "installed: rouge"),
        ("", "installed: rouge"),
    ],
)
def test_a_metric_that_is_not_installed_is_refused_with_the_way_out(metric: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        names_of([metric])


def test_no_metrics_leave_what_is_always_measured() -> None:
    assert names_of([]) == ALWAYS
    assert names_of(["rouge", "rouge"]) == ("rouge1", "rouge2", "rougeL", "rougeLsum", *ALWAYS)


_AS_USERS_USE_IT = """
from job.metrics.rouge_metric import Rouge
metric = Rouge()
assert isinstance(metric, __import__("evaluate").Metric)
print(metric.compute(predictions=["a cat sat", "x"], references=["the cat sat", "x"])["rouge1"])
metric.add(prediction="b", reference="a")
metric.add_batch(predictions=["a"], references=["a"])
print(metric.compute(use_aggregator=False)["rougeL"])
try:
    metric.compute(predictions=[], references=[])
except ValueError as err:
    print(err)
"""


def test_the_metric_is_used_as_any_of_evaluate_and_writes_no_file(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": _root()}

    done = subprocess.run(
        [sys.executable, "-c", _AS_USERS_USE_IT], env=environment, cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str((2 / 3 + 1) / 2), "[0.0, 1.0]", "no pair of texts to score"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_scoring_texts_imports_neither_torch_nor_evaluate() -> None:
    code = "import sys, job.metrics.installed; print({'torch', 'evaluate', 'datasets', 'nltk'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=_root(), capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def _root() -> str:
    return str(Path(__file__).parents[2])
