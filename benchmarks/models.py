"""The models that every service of `benchmarks.serving` answers with.

By default: the MiniLM encoder of the installed package and its first, third and fifth layer, each with a head fitted to
the bundled sample. How often the graph `checked` repeats a text in float32 depends on the scores, and such a head is
rarely uncertain about the sample. Publish only figures of registered versions on real texts (`--versions`, with the
decision that was fitted for them, and `--texts`).
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenodd.rows import Split
from evenodd.task import Decision, Task

HEAD_TEXTS = 800
MEASURED_TEXTS = 600
BATCH = 32


@dataclass(frozen=True)
class Fitted:
    """A classifier, its tokenizer, its task and its decision."""

    model: Any
    tokenizer: Any
    task: Task
    decision: Decision


def prepare(work: Path, texts: list[str], versions: tuple[str, str] | None = None) -> None:
    """Models of all contenders under `work`: torch, bundle, student, mlflow, one_text.py.

    Args:
        work: an empty folder.
        texts: for comparing int8 with float32.
        versions: registered versions of the full model and of the student; None: fitted here.
    """
    from benchmarks.peers import save_mlflow_model

    full, student = registered(versions) if versions else fitted_here()
    full.model.eval().save_pretrained(work / "torch")
    full.tokenizer.save_pretrained(str(work / "torch"))
    for name, fitted in (("bundle", full), ("student", student)):
        write_model_bundle(fitted, work / name, texts[:MEASURED_TEXTS])
    if importlib.util.find_spec("mlflow"):
        save_mlflow_model(work / "mlflow", work / "bundle")
    source = "from benchmarks.peers import one_text_service\n\nservice = one_text_service()\n"
    (work / "one_text.py").write_text(source, encoding="utf-8")


def registered(versions: tuple[str, ...]) -> tuple[Fitted, Fitted]:
    """A registered full model and its student, with the decisions that were fitted for them."""
    from evenodd import tracking
    from evenodd.settings import Settings

    found = []
    for reference in versions:
        uri = tracking.find_version(reference, Settings().name).uri
        facts = tracking.model_metadata(uri)
        task = Task.from_dict(facts["task"])
        found.append(Fitted(*tracking.load_model(uri), task, Decision.from_dict(facts["decision"], task)))
    return found[0], found[1]


def fitted_here() -> tuple[Fitted, Fitted]:
    """The full model and its student of odd layers, with heads fitted to the bundled sample."""
    from evenodd.encoders import init_student, load_encoder, odd_layers
    from evenodd.encoders.files import resolve_model
    from evenodd.rows import load_corpus
    from evenodd.settings import DataSettings, Settings

    corpus = load_corpus(DataSettings(), seed=0, cache=Settings().home / "cache")
    task = corpus.task
    undecided = Decision(1.0, 0.5, (0.5, 0.5), "f1_macro", task.positive_index, task.labels)
    model, tokenizer = load_encoder(resolve_model("minilm"), task)
    student = init_student(model, odd_layers(model.config.num_hidden_layers)).model
    for one in (model, student):
        fit_head(one, tokenizer, corpus.train)
    return Fitted(model, tokenizer, task, undecided), Fitted(student, tokenizer, task, undecided)


def fit_head(model: Any, tokenizer: Any, split: Split) -> None:
    """Fits the head by logistic regression on its inputs for these rows."""
    import torch
    from sklearn.linear_model import LogisticRegression

    rows = list(split.texts)[:HEAD_TEXTS]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    read: list[np.ndarray] = []
    hook = model.classifier.register_forward_pre_hook(lambda _, given: read.append(given[0].numpy()))
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            texts = [rows[i] for i in order[start : start + BATCH]]
            model.eval()(**tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt"))
    hook.remove()
    fitted = LogisticRegression(max_iter=1000).fit(np.concatenate(read), split.labels[order])
    with torch.no_grad():
        weight, bias = torch.tensor(fitted.coef_[0]), torch.tensor(fitted.intercept_[0])
        model.classifier.weight.copy_(torch.stack([-weight / 2, weight / 2]))
        model.classifier.bias.copy_(torch.stack([-bias / 2, bias / 2]))


def write_model_bundle(fitted: Fitted, folder: Path, texts: list[str]) -> None:
    """Like `-e export`, but without the gate on int8's labels, because changed labels are not measured here."""
    from evenodd.flow.export import recommend, with_checked
    from evenodd.release import BundleContents, export_graphs, write_bundle
    from evenodd.settings import ExportSettings, Settings

    settings = ExportSettings(max_int8_flips=1.0, max_int8_f1_loss=1.0, parity_texts=64)
    contents = BundleContents(name="bench", variant="bench", task=fitted.task, decision=fitted.decision)
    with tempfile.TemporaryDirectory() as graphs_folder:
        graphs = export_graphs(
            fitted.model, fitted.tokenizer, Path(graphs_folder), settings, texts, validation_texts=texts, max_length=128
        )
        graphs = recommend(with_checked(graphs, contents, texts), Settings())
        write_bundle(folder, graphs, contents, texts)
