"""Settings: one place with defaults, four layers, every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from evenodd.encoders.catalog import VARIANTS, find_variant
from evenodd.settings import SHORT_NAMES, VARIANT_DEFAULTS, Settings, field_paths, flatten, resolve_settings

ROOT = Path(__file__).resolve().parents[2]


def test_all_faults_are_reported_at_once() -> None:
    """One fault a run, with minutes between, is how an afternoon goes."""
    with pytest.raises(ValueError, match="epochs='abc'") as caught:
        resolve_settings({"epochs": "abc", "epoch": "3", "train.warmup_share": "2", "seed": "-1", "config": "no.yaml"})
    message = str(caught.value)
    assert "\n" not in message
    for part in ("'epoch' is not known: did you mean 'epochs'", "train.warmup_share='2'", "seed='-1'", "no.yaml"):
        assert part in message


@pytest.mark.parametrize(
    ("said", "meant"),
    [("epoch", "epochs"), ("learning-rate", "learning_rate"), ("lora.ranc", "lora.rank"), ("sed", "seed")],
)
def test_an_unknown_name_suggests_the_nearest(said: str, meant: str) -> None:
    """A misspelt parameter that is ignored gives a run of the defaults under the wrong belief."""
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        resolve_settings({said: "1"})


def test_every_setting_is_described() -> None:
    """`--help` would show a name with its default, and the reader would have to guess what it does."""
    assert not [path for path, description in field_paths().items() if not description]


def test_a_name_like_no_other_lists_the_common_ones() -> None:
    """There is nothing near, so the message must show where to start."""
    with pytest.raises(ValueError, match=r"common ones are config, seed, data.*--help"):
        resolve_settings({"zzzzzz": "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", "nan"),
        ("learning_rate", "0"),
        ("distill.temperature", "inf"),
        ("train.class_weight", "-2"),
        ("train.class_weight", "nan"),
        ("train.class_weight", "heavy"),
        ("layers", "1,x"),
        ("epochs", "2.5"),
        ("train.precision", "fp8"),
        ("name", "a b"),
        ("fresh", "maybe"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: str) -> None:
    """Infinite and negative weights train to nonsense without a word."""
    with pytest.raises(ValueError, match=name):
        resolve_settings({name: value})


def test_a_loss_without_a_term_for_the_classifier_is_refused() -> None:
    """The classifier would stay the teacher's, whatever the body learns."""
    with pytest.raises(ValueError, match="nothing trains the classifier"):
        resolve_settings({"distill.soft_weight": "0", "distill.label_weight": "0"})


def test_a_parameter_given_by_two_names_is_refused() -> None:
    """One of the two would win by the order of a dictionary."""
    with pytest.raises(ValueError, match=r"epochs and train\.epochs are the same parameter"):
        resolve_settings({"epochs": "3", "train.epochs": "5"})


def test_later_layers_win(tmp_path: Path) -> None:
    """Class defaults, the family's, the file's, its variant's, the command line's: in this order."""
    path = _write(
        tmp_path,
        {
            "train": {"weight_decay": 0.2, "epochs": 7, "learning_rate": 0.002},
            "variants": {"student": {"train": {"epochs": 8}}, "odd": {"train": {"epochs": 9, "max_rows": 5}}},
        },
    )
    assert resolve_settings({}).train.epochs == Settings().train.epochs
    assert resolve_settings({}, family="student").train.learning_rate == 2e-4
    assert resolve_settings({"config": path}, family="student", name="even").train.epochs == 8
    found = resolve_settings({"config": path, "train.max_rows": "6"}, family="student", name="odd").train
    assert (found.weight_decay, found.learning_rate, found.epochs, found.max_rows) == (0.2, 0.002, 9, 6)
    assert resolve_settings({"config": path}, family="teacher", name="teacher").train.epochs == 7


def test_resolving_leaves_the_defaults_alone(tmp_path: Path) -> None:
    """A merge into the module's own table would carry one run's settings into the next."""
    before = yaml.safe_dump(VARIANT_DEFAULTS)
    path = _write(tmp_path, {"train": {"epochs": 7}, "variants": {"lora": {"train": {"learning_rate": 0.5}}}})
    resolve_settings({"config": path, "train.weight_decay": "0.3"}, family="lora", name="lora")
    assert yaml.safe_dump(VARIANT_DEFAULTS) == before


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("train: 5", "train=5"),
        ("train: {epochz: 3}", "'train.epochz' is not known: did you mean 'train.epochs'"),
        ("epochs: 3", "'epochs' is not known"),
        ("- 1", "a mapping of settings is expected, not list"),
        ("variants: [odd]", "variants: names"),
        ("variants: {odd: 5}", "variants: names"),
        ("a: [1", "not valid YAML"),
    ],
)
def test_a_faulty_file_is_one_line(content: str, what: str, tmp_path: Path) -> None:
    """A section that is passed over in silence leaves the defaults in place; -P epochs must not hide it."""
    path = tmp_path / "settings.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=what) as caught:
        resolve_settings({"config": str(path), "train.max_rows": "3"}, family="student", name="odd")
    assert "\n" not in str(caught.value)


def test_texts_of_the_command_line_become_values() -> None:
    """Layers as text would be compared with numbers; names as one text would be one name."""
    found = resolve_settings({"layers": "1, 3,5", "labels": "a,b , c", "train.class_weight": "3", "fresh": "true"})
    assert found.variant.layers == (1, 3, 5)
    assert found.data.labels == ("a", "b", "c")
    assert found.train.class_weight == 3.0
    assert found.run.fresh is True


def test_settings_cannot_be_changed() -> None:
    """What is logged at the start must hold to the end."""
    with pytest.raises(ValidationError):
        Settings().train.epochs = 9  # type: ignore[misc]


def test_every_setting_has_one_dotted_name() -> None:
    """A setting without a name cannot be set; a short name that points nowhere is refused as unknown."""
    assert list(flatten(Settings())) == list(field_paths())
    assert set(SHORT_NAMES.values()) <= set(field_paths())
    assert len(set(SHORT_NAMES.values())) == len(SHORT_NAMES)


def test_defaults_resolve_for_every_variant() -> None:
    """`VARIANT_DEFAULTS` is read by family; one that is misspelt would leave the class defaults."""
    assert {variant.family for variant in VARIANTS.values()} == set(VARIANT_DEFAULTS)
    for variant in VARIANTS.values():
        settings = resolve_settings({}, family=variant.family, name=variant.name)
        for key, value in VARIANT_DEFAULTS[variant.family].items():
            assert flatten(settings)[key] == value


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_resolves_for_every_variant_it_names(path: Path) -> None:
    """A config with an unknown name would be refused when somebody tries it, hours after it was written."""
    named = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("variants", {})
    assert set(named) <= set(VARIANTS) | set(VARIANT_DEFAULTS)
    for variant in VARIANTS.values():
        assert resolve_settings({"config": str(path)}, family=variant.family, name=variant.name)


def test_an_unknown_variant_lists_those_there_are() -> None:
    """`-P variants=od,even` must not run `even` alone."""
    with pytest.raises(ValueError, match=r"variants=od: not known; there are teacher, odd, even"):
        find_variant("od")


def test_entries_are_named_after_what_they_do() -> None:
    """Two variants with one entry point would be fitted as the first of them."""
    assert find_variant("odd").entry == "distill_odd"
    assert find_variant("lora").entry == "lora"
    assert len({variant.entry for variant in VARIANTS.values()}) == len(VARIANTS)


def _write(folder: Path, content: dict[str, object]) -> str:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)
