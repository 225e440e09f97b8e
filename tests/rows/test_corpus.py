"""From settings to splits: what is dropped, what stays together, what is given, what is reused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from evenodd.rows import Corpus, corpus, load, load_corpus, load_rows
from evenodd.rows.clean import normalise
from evenodd.settings import DataSettings


def make_rows(rows: int = 120, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "label_text": "hate" if n % 3 == 0 else "noHate", **more} for n in range(rows)]


def make_corpus(rows: list[dict[str, Any]], tmp_path: Path, seed: int = 0, **settings: Any) -> Corpus:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_corpus(DataSettings(source=str(path), **settings), seed=seed, cache=tmp_path / "cache")


def test_the_sample_is_split_with_authors_apart_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    """Figures of made-up texts must never pass for real ones."""
    found = load_corpus(DataSettings(), seed=0, cache=tmp_path)
    assert found.synthetic
    assert found.label_names == ("noHate", "hate")
    assert sum(map(len, found.splits)) == found.counts["kept"] == found.counts["rows"] - found.counts["duplicates"]
    groups = [set(split.groups.tolist()) for split in found.splits]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    for split in found.splits:
        assert split.labels.mean() == pytest.approx(found.train.labels.mean(), abs=0.02)
    assert not make_corpus(make_rows(), tmp_path).synthetic


def test_row_ids_are_positions_in_the_source(tmp_path: Path) -> None:
    """Predictions and cached targets are joined by row id; one that is off joins them to other texts."""
    rows = make_rows()
    rows.insert(0, {"text": "other", "label_text": "skip"})
    rows.insert(50, dict(rows[5]))
    found = make_corpus(rows, tmp_path, labels="noHate,hate")
    for split in found.splits:
        texts = [rows[row]["text"] for row in split.row_ids]
        assert list(split.texts) == texts
        assert [found.label_names[label] for label in split.labels] == [
            rows[row]["label_text"] for row in split.row_ids
        ]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """Rows that vanish uncounted make a data set smaller than the report says."""
    rows = make_rows()
    rows += [{"text": f"other {n}", "label_text": "relation"} for n in range(7)]
    rows += [{"text": " TEXT  1 ", "label_text": "noHate"}, {"text": "text 2", "label_text": "hate"}]
    counts = (found := make_corpus(rows, tmp_path, labels="noHate,hate")).counts
    assert (counts["rows"], counts["dropped/relation"]) == (129, 7)
    assert (counts["duplicates"], counts["label_conflicts"], counts["kept"]) == (1, 2, 119)
    assert found.examples == {"duplicates": (127,), "label_conflicts": (2, 128)}
    assert sum(counts[f"{split.name}/hate"] for split in found.splits) == 40


def test_no_normalised_text_is_in_two_splits(tmp_path: Path) -> None:
    """A test text that was trained on measures memory."""
    rng = np.random.default_rng(0)
    rows = [
        {"text": ("Word " if n % 2 else " word\t") + str(rng.integers(150)), "label_text": "noHate"} for n in range(400)
    ]
    rows += make_rows(90)
    found = make_corpus(rows, tmp_path)
    texts = [normalise(text) for split in found.splits for text in split.texts]
    assert len(texts) == len(set(texts))
    assert found.counts["duplicates"] > 200


def test_predefined_splits_are_respected_and_a_missing_validation_is_cut_from_train(tmp_path: Path) -> None:
    """Scores on a published test split are comparable only when it stays as it is."""
    rows = [row | {"split": "test" if n < 40 else "train"} for n, row in enumerate(make_rows())]
    rows.append({"text": "TEXT 3", "label_text": "hate", "split": "train"})
    found = make_corpus(rows, tmp_path)
    assert sorted(found.test.row_ids.tolist()) == list(range(40))
    assert min(found.train.row_ids.min(), found.validation.row_ids.min()) == 40
    assert len(found.validation) == pytest.approx(12, abs=1)
    assert found.counts["duplicates"] == 1


def test_a_missing_test_split_is_cut_from_train(tmp_path: Path) -> None:
    """Reporting on validation would report on what chose the winner."""
    rows = [row | {"split": "dev" if n < 30 else "train"} for n, row in enumerate(make_rows())]
    found = make_corpus(rows, tmp_path)
    assert sorted(found.validation.row_ids.tolist()) == list(range(30))
    assert len(found.test) == pytest.approx(13.5, abs=1.5)


def test_a_column_called_split_with_other_values_is_no_split(tmp_path: Path) -> None:
    """A coincidence of names must not send rows anywhere; a column that was named must be right."""
    rows = [row | {"split": "left" if n % 2 else "train"} for n, row in enumerate(make_rows())]
    assert len(make_corpus(rows, tmp_path).test) == pytest.approx(18, abs=1)
    with pytest.raises(ValueError, match=r"split is none of train, validation, test: lines 2, 4"):
        make_corpus(rows, tmp_path, split_column="split")


def test_groups_that_predefined_splits_divide_are_counted(tmp_path: Path) -> None:
    """A published split that leaks authors is used, and said to leak."""
    rows = [row | {"split": "test" if n < 40 else "train", "user_id": n % 50} for n, row in enumerate(make_rows())]
    assert make_corpus(rows, tmp_path).counts["group_leaks"] == 40


def test_one_giant_group_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    """Everything in train would leave empty splits and a crash much later."""
    with pytest.raises(ValueError, match=r"no rows of .* in test.*-P data.group_columns=none"):
        make_corpus(make_rows(user_id=1), tmp_path)
    assert len(make_corpus(make_rows(user_id=1), tmp_path, group_columns="none").test) == 18


def test_all_labels_make_a_corpus_of_many_classes_without_a_positive_one(tmp_path: Path) -> None:
    """A threshold on one of four labels has no meaning."""
    rows = [row | {"label_text": f"class {n % 4}"} for n, row in enumerate(make_rows())]
    found = make_corpus(rows, tmp_path, labels="all")
    assert found.label_names == ("class 0", "class 1", "class 2", "class 3")
    assert found.positive is None
    assert all(set(split.labels.tolist()) == {0, 1, 2, 3} for split in found.splits)


def test_a_limit_keeps_the_share_of_labels(tmp_path: Path) -> None:
    """A trial run must look like the whole one, only smaller."""
    found = make_corpus(make_rows(300), tmp_path, limit=90)
    assert found.counts["kept"] == 90
    assert found.counts["limited"] == 210
    assert sum(int(split.labels.sum()) for split in found.splits) == pytest.approx(30, abs=1)


def test_counterexamples_go_to_train_only_and_are_marked(tmp_path: Path) -> None:
    """Made-up rows in validation or test would make the scores made up too."""
    plain = make_corpus(make_rows(), tmp_path)
    found = make_corpus(make_rows(), tmp_path, augment="counterexamples", augment_rows=50, augment_turns=1)
    added = found.counts["augmented"]
    assert added + found.counts["augment_duplicates"] == 50
    assert len(found.train) == len(plain.train) + added
    assert [found.validation.digest, found.test.digest] == [plain.validation.digest, plain.test.digest]
    assert found.train.digest != plain.train.digest
    assert found.train.rows["origin"][:] == ["data"] * len(plain.train) + ["augment"] * added
    assert len(np.unique(found.train.row_ids)) == len(found.train)
    assert sum(many for kind, many in found.counts.items() if kind.startswith("augmented/")) == added


def test_counterexamples_take_turns_and_floors_do_not_see_them(tmp_path: Path) -> None:
    """Sets of unequal size would make unequal epochs; a floor fitted on templates would be another floor."""
    plain = make_corpus(make_rows(), tmp_path)
    found = make_corpus(make_rows(), tmp_path, augment="counterexamples", augment_rows=50, augment_turns=3)
    assert found.counts["augmented"] + found.counts["augment_duplicates"] == 150
    turns = found.train.turns(3)
    assert (turns[: len(plain.train)] == -1).all()
    many = np.bincount(turns[turns >= 0])
    assert len(many) == 3
    assert len(set(many.tolist())) == 1
    assert (turns >= 0).sum() > found.counts["augmented"] - 3
    assert found.train.turns(1) is None
    assert plain.train.turns(3) is None
    assert list(found.train.without_augmented().texts) == list(plain.train.texts)


def test_a_counterexample_that_the_test_split_has_is_not_trained_on(tmp_path: Path, monkeypatch: Any) -> None:
    """Otherwise templates and data that share a sentence leak it."""
    rows = make_rows()
    repeats = [row | {"kind": "repeat", "text": row["text"].upper()} for row in rows]
    fresh = {"text": "fresh", "label_text": "hate", "kind": "new"}
    monkeypatch.setattr(corpus, "counterexamples", lambda rows, seed, kinds: [*repeats, fresh, fresh])
    found = make_corpus(rows, tmp_path, augment="counterexamples")
    assert (found.counts["augmented"], found.counts["augment_duplicates"]) == (1, 121)


def test_counterexamples_need_the_labels_hate_and_no_hate(tmp_path: Path) -> None:
    """Their labels cannot be guessed for other data."""
    rows = [row | {"label_text": f"class {n % 2}"} for n, row in enumerate(make_rows())]
    for labels in ("all", "class 0,class 1"):
        with pytest.raises(ValueError, match=r"labelled hate and noHate"):
            make_corpus(rows, tmp_path, labels=labels, positive="class 1", augment="counterexamples")


def test_a_corpus_is_reused_and_equal(tmp_path: Path, monkeypatch: Any) -> None:
    """A second run that reads a million rows again, or reads them differently, is no reuse."""
    first = make_corpus(make_rows(user_id=None), tmp_path)
    monkeypatch.setattr(corpus, "read_table", None)
    second = make_corpus(make_rows(user_id=None), tmp_path)
    assert second.digest == first.digest
    assert second.counts == first.counts
    assert list(second.test.texts) == list(first.test.texts)


def test_another_seed_moves_rows_and_keeps_shares(tmp_path: Path) -> None:
    """`vary_split` passes another seed."""
    first, second = (make_corpus(make_rows(), tmp_path, seed=seed) for seed in (0, 1))
    assert set(first.test.row_ids.tolist()) != set(second.test.row_ids.tolist())
    assert len(first.test) == len(second.test)


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: Any) -> None:
    """Half a split that is taken for a whole one would train on fewer rows without a word."""

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "_write_augmented", fail)
    with pytest.raises(KeyboardInterrupt):
        make_corpus(make_rows(), tmp_path)
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []
    monkeypatch.undo()
    assert make_corpus(make_rows(), tmp_path).counts["kept"] == 120


def test_hub_splits_and_class_names_are_used(tmp_path: Path, monkeypatch: Any) -> None:
    """A hub data set's numbers mean what its features say, and its test split is the test split."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["noHate", "hate"])}
    )

    def part(name: str, rows: int, unlabelled: bool = False) -> datasets.Dataset:
        labels = [-1 if unlabelled else n % 2 for n in range(rows)]
        return datasets.Dataset.from_dict({"text": [f"{name} {n}" for n in range(rows)], "label": labels}, features)

    parts = {"train": part("train", 80), "test": part("test", 30), "unsupervised": part("more", 9, unlabelled=True)}
    monkeypatch.setattr(load, "hub_commit", lambda *_: "0" * 40)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(parts))
    found = load_corpus(DataSettings(source="someone/some-data"), seed=0, cache=tmp_path)
    assert all(text.startswith("test ") for text in found.test.texts)
    assert (len(found.test), len(found.train) + len(found.validation)) == (30, 80)
    assert [int(text.split()[1]) % 2 for text in found.train.texts] == found.train.labels.tolist()
    assert found.counts["skipped_split/unsupervised"] == 9


def test_scoring_reads_every_row_in_order_with_the_labels_of_the_model(tmp_path: Path) -> None:
    """A repeat that is left out, or labels numbered by the file, would change the figures of a published test list."""
    rows = [{"text": text, "label_text": label} for text, label in zip("abca", ["b", "a", "other", "b"], strict=True)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for _ in range(2):
        found = load_rows(DataSettings(source=str(path)), label_names=("b", "a", "c"), cache=tmp_path / "cache")
        assert list(found.texts) == ["a", "b", "a"]
        assert found.labels.tolist() == [0, 1, 0]
        assert found.row_ids.tolist() == [0, 1, 3]
    again = load_rows(DataSettings(source=str(path)), label_names=("a", "b"), cache=tmp_path / "cache")
    assert again.labels.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"none of the model's labels \(x, y\) occurs; found are: b \(2\), a"):
        load_rows(DataSettings(source=str(path)), label_names=("x", "y"), cache=tmp_path / "cache")


def test_scoring_refuses_bad_rows_too(tmp_path: Path) -> None:
    """Scores of fewer rows than the file has would be told as the file's."""
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,hate\n ,noHate\n")
    with pytest.raises(ValueError, match="text empty: line 3"):
        load_rows(DataSettings(source=str(path)), label_names=("noHate", "hate"), cache=tmp_path / "cache")


def test_values_of_slices_stay_with_their_rows(tmp_path: Path) -> None:
    """A value beside another row's text would blame the wrong group; a new column must not make other rows of them."""
    rows = make_rows()
    for number, row in enumerate(rows):
        row["region"] = None if number % 7 == 0 else f"r{number % 3}"
        row["age"] = 20.5 + number
    plain, sliced = make_corpus(rows, tmp_path), make_corpus(rows, tmp_path, slices=("region", "age"))
    assert sliced.slices == ("region", "age")
    assert sliced.digest == plain.digest
    for split in sliced.splits:
        regions, ages = split.slice_values("region"), split.slice_values("age")
        for row_id, text, region, age in zip(split.row_ids, split.texts, regions, ages, strict=True):
            assert (rows[row_id]["text"], rows[row_id]["region"]) == (text, region)
            assert float(age) == rows[row_id]["age"]
