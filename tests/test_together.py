"""Learning together: tables without some columns, several tables as one, targets of several inputs."""

from dataclasses import replace

import contracts
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.model import halves
from mmkeras.records.combining import combine
from mmkeras.tuning.trial import only

SCHEMA = mk.Schema(
    inputs={"image": mk.Image(8, 8, 1), "question": mk.Text(4, ["is", "it", "zero", "one", "two"], optional=True)},
    targets={"digit": mk.Category(optional=True, reads="image"), "answer": mk.Category(optional=True)},
)
WORDS = ("zero", "one", "two")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of three "digits", bright in the left, middle or right third, four of each; and a broken one."""
    folder, random = tmp_path_factory.mktemp("together"), np.random.default_rng(0)
    for digit in range(3):
        for number in range(4):
            pixels = random.integers(0, 60, (8, 8, 1), "uint8")
            pixels[:, 3 * digit : 3 * digit + 2] += 180
            (folder / f"{digit}{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


def digits_table(folder, rows=24):
    digit, number = np.arange(rows) % 3, np.arange(rows) % 4
    images = [folder / f"{d}{n}.png" for d, n in zip(digit, number, strict=True)]
    return pd.DataFrame({"image": images, "digit": digit, "split": "train"})


def questions_table(folder, rows=72):
    table = digits_table(folder, rows)
    asked = np.arange(rows) // 3 % 3
    answers = np.where(asked == table.pop("digit"), "yes", "no")
    return table.assign(question=[f"is it {WORDS[a]}" for a in asked], answer=answers)


def both(folder, **options):
    digits = mk.read(digits_table(folder), SCHEMA, missing=["question", "answer"], **options)
    return combine(
        {"digits": digits, "questions": mk.read(questions_table(folder), SCHEMA, missing=["digit"], **options)}
    )


@pytest.fixture(scope="module")
def together(folder):
    return both(folder).split("split")["train"]


def test_what_a_table_lacks_is_absent_in_every_row(folder):
    records = mk.read(digits_table(folder), SCHEMA, missing=["question", "answer"])
    assert {name: set(records.there(name)) for name in SCHEMA.parts} == {
        "image": {True},
        "question": {False},
        "digit": {True},
        "answer": {False},
    }
    sizes = mk.Tabular(["height"], ["coat"], optional=True)
    schema = mk.Schema({"image": mk.Image(8, 8, 1), "size": sizes}, {"digit": mk.Category()})
    assert not mk.read(digits_table(folder), schema, missing=("size",)).there("size").any()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["question"], "unknown column 'answer'"),
        ([], "unknown column 'question'"),
        (["answer", "image"], "missing: expected inputs and targets with optional=True, received 'image'"),
        (["question", "anser"], "missing: unknown input or target 'anser'; did you mean 'answer'"),
        (["answer", "question", "digit"], "missing: 'digit': expected DataFrame to be without the column 'digit'"),
        ("question", "expected missing to be a list of names, received 'question'"),
    ],
)
def test_only_what_is_said_may_lack(folder, missing, message):
    with pytest.raises(InputError, match=message):
        mk.read(digits_table(folder), SCHEMA, missing=missing)


def test_a_column_of_two_parts_is_not_lacking_for_both(folder):
    texts = {name: mk.Text(4, ["is"], column="words", optional=True) for name in ("short", "long")}
    schema = mk.Schema({"image": mk.Image(8, 8, 1), **texts}, {"digit": mk.Category()})
    with pytest.raises(InputError, match="unknown column 'words'"):
        mk.read(digits_table(folder), schema, missing=["short"])


def test_several_tables_as_one(folder, together):
    records = both(folder)
    assert len(records) == 24 + 72
    assert records.frame.index[30] == ("questions", 6)
    assert records.where(30, "image") == "questions row 6: 'image'"
    assert records.frame["source"].value_counts().to_dict() == {"digits": 24, "questions": 72}
    assert records.there("digit").tolist() == [True] * 24 + [False] * 72
    assert together.schema.targets["digit"].classes == ("0", "1", "2")  # each fitted on the rows that have it
    assert together.schema.targets["answer"].classes == ("no", "yes")
    parts = records.split({"train": 0.5, "test": 0.5}, stratify="source")
    assert parts["test"].frame["source"].value_counts().to_dict() == {"digits": 12, "questions": 36}


def test_bad_cells_are_named_by_table_and_row(folder, tmp_path):
    digits, questions = digits_table(folder), questions_table(folder)
    digits.loc[5, "image"], questions.loc[7, "image"] = folder / "none.png", folder / "bad.png"
    with pytest.warns(UserWarning, match="1 of 24 rows left out"):
        digits = mk.read(digits, SCHEMA, missing=["question", "answer"], on_bad="drop")
    questions = mk.read(questions, SCHEMA, missing=["digit"], on_bad="drop")
    records = combine({"digits": digits, "questions": questions}).fit()
    with pytest.raises(InputError, match="questions row 7: 'image': expected a picture"):
        mk.batches(replace(records, on_bad="raise"), 8)
    with pytest.warns(UserWarning, match=r"digits \+ questions: 1 of 95 rows left out"):
        shards = mk.write_shards(records, tmp_path / "shards", shards=2)
    assert len(shards) == 94
    assert records.ledger["row"].tolist() == [("digits", 5), ("questions", 7)]
    assert [value[-8:] for value in records.ledger["value"]] == ["none.png", "/bad.png"]
    assert (digits.ledger["row"].tolist(), questions.ledger["row"].tolist()) == ([5], [])
    records.entries.add(["questions", 7], "image", "again", "what interrupted shards had written as JSON")
    assert len(records.ledger) == 2


def test_holes_are_named_by_table_and_row(folder):
    digits = digits_table(folder).assign(person=1)
    parts = {"digits": mk.read(digits, SCHEMA, missing=["question", "answer"])}
    parts["questions"] = mk.read(questions_table(folder), SCHEMA, missing=["digit"])
    with pytest.raises(InputError, match="questions row 0: 'person': expected a group, found nothing"):
        combine(parts).split({"train": 0.5, "test": 0.5}, group="person")


def test_tables_that_do_not_fit_together(folder):
    records = mk.read(digits_table(folder), SCHEMA, missing=["question", "answer"])
    other_size = replace(SCHEMA, inputs={**SCHEMA.inputs, "image": mk.Image(9, 8, 1)})
    no_answer = mk.Schema(SCHEMA.inputs, {"digit": mk.Category(reads="image"), "size": mk.Number()})
    for other, message in [
        (replace(records, schema=other_size), r"received 'image': Image\(height=8.* in 'a' and Image\(height=9.*'b'"),
        (
            replace(records, schema=no_answer),
            "received image, question, digit, answer in 'a' and image, .*, size in 'b'",
        ),
        (replace(records, on_bad="drop"), "read alike, received on_bad='raise' in 'a' and 'drop' in 'b'"),
        (combine({"c": records}), "'b': expected one table, received c: combine all in one call"),
        (records.frame, "expected a dict of name -> Records, received 'b'"),
    ]:
        with pytest.raises(InputError, match=message):
            combine({"a": records, "b": other})
    with pytest.raises(InputError, match="column to be a name that no table has, 'a' has 'split'"):
        combine({"a": records}, column="split")
    with pytest.raises(InputError, match=r"expected a dict of name -> Records, received \[\]"):
        combine([])


def test_mixed_with_class_weights_and_augmentation(together):
    options = {"augment": {"image": {"brightness": 0.5}}, "class_weight": {"answer": {"yes": 3}}}
    data = mk.batches(together, 12, training=True, mix={"source": {"digits": 1, "questions": 2}}, **options)
    inputs, targets, weights = next(iter(data))
    asked = inputs["question_present"].numpy()
    assert sorted(asked) == [False] * 4 + [True] * 8
    np.testing.assert_array_equal(weights["digit"], ~asked)
    np.testing.assert_array_equal(weights["answer"], np.where(asked, 1 + 2 * targets["answer"].numpy(), 0))
    plain, *_ = next(iter(mk.batches(together, 12, training=True, mix={"source": {"digits": 1, "questions": 2}})))
    assert not np.array_equal(plain["image"], inputs["image"])


def test_two_tables_teach_one_model(together):
    keras.utils.set_random_seed(0)
    model = mk.build(together.schema, towers={"image": {"kind": "conv", "depth": 1}, "question": "bag"}, width=16)
    model.compile(keras.optimizers.Adam(0.02), **mk.compile_args(together.schema))
    of_digits, of_both = (next(iter(mk.batches(together.take(np.arange(rows)), rows))) for rows in (24, 96))
    no_gradient_reaches_what_is_missing(model, of_digits, of_both)
    missing_parts_do_not_matter(model, *of_both)
    before = accuracies(model, of_both)
    data = mk.batches(together, 24, training=True, mix={"source": {"digits": 1, "questions": 2}})
    model.fit(data, epochs=20, verbose=0)
    assert max(before.values()) < 0.8
    assert min(accuracies(model, of_both).values()) > 0.95
    table = mk.predict(model, together)
    assert (table.loc["digits", "digit"] == together.frame.loc["digits", "digit"]).mean() > 0.95


def accuracies(model, batch):
    """The share of right answers of each target, among the rows that have it."""
    x, y, weights = batch
    answers = model(x)
    right = {name: np.argmax(answers[name], axis=1) == y[name].numpy() for name in y}
    return {name: right[name][weights[name].numpy() > 0].mean() for name in y}


def no_gradient_reaches_what_is_missing(model, of_digits, of_both):
    found, with_questions = sizes(model, *of_digits), sizes(model, *of_both)
    assert found["question_tower"] == 0
    assert min(found["image_tower"], with_questions["image_tower"], with_questions["question_tower"]) > 0


def sizes(model, x, y, weights):
    """The largest gradient in each part of the model."""
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True), sample_weight=weights)
    parts = [layer for layer in model.layers if layer.trainable_variables]
    found = tape.gradient(loss, [[v.value for v in part.trainable_variables] for part in parts])
    return {
        part.name: max(float(tf.reduce_max(tf.abs(tf.convert_to_tensor(g)))) for g in own if g is not None)
        for part, own in zip(parts, found, strict=True)
    }


def missing_parts_do_not_matter(model, x, y, weights):
    """Junk in the place of missing questions, and other labels where a target is missing: the same loss."""
    there = x["question_present"][:, None]
    junk = {**x, "question": tf.where(there, x["question"], 3)}
    other = {name: tf.where(weights[name] == 0, 1 - label, label) for name, label in y.items()}
    losses = [
        float(model.compute_loss(given, truth, model(given), sample_weight=weights))
        for given, truth in ((x, y), (junk, other))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def several(**picture):
    """The answer is asked of all three inputs, the kind of picture and table alone."""
    image = replace(contracts.FEATURES["image"], **picture)
    numbers = mk.Tabular(["age"], means=[0], std=[1], vocabularies=[])
    return contracts.small_schema(
        {"image": image, "table": contracts.FEATURES["table"], "numbers": numbers},
        kind=mk.Category(["x", "y"], reads=("table", "image")),
        answer=mk.Category(["a", "b", "c"]),
    )


SMALL = {"towers": {"image": {"kind": "conv", "depth": 1}}, "width": 8}


@pytest.mark.parametrize("fusion", ["attention", "concat", "film", "late", "tensor"])
def test_a_target_reads_several_inputs(fusion):
    schema = several()
    keras.utils.set_random_seed(0)
    model = mk.build(schema, fusion=fusion, **SMALL)
    x = contracts.samples(schema)
    answers = model(x)
    for name in schema.inputs:
        changed = model({**x, name: x[name][::-1]})
        assert np.allclose(changed["kind"], answers["kind"], atol=1e-6) == (name == "numbers")
        assert not np.allclose(changed["answer"], answers["answer"], atol=1e-6)


def test_its_answers_join_nothing():
    body = mk.build(several(), **SMALL).get_layer("body")
    assert not [layer.name for layer in body.layers if layer.name == "kind_token"]
    x = [np.random.default_rng(0).normal(size=(5, 1, 8)).astype("float32") for _ in body.inputs]
    before = body(x)
    body.get_layer("kind").bias.assign([3.0, -3.0])
    for weight in body.get_layer("kind_fusion").weights:
        weight.assign(weight + 1)
    after = body(x)
    np.testing.assert_array_equal(after["answer"], before["answer"])
    assert not np.allclose(after["kind"], before["kind"])


@pytest.mark.parametrize(
    ("fusion", "own", "common"),
    [("weighted", "kind_fusion/weighted_mean", "weighted_mean"), ("late", "kind", "answer")],
)
def test_it_is_saved_and_has_shares_of_its_own(fusion, own, common, tmp_path):
    schema = several()
    towers = {"image": {"kind": "conv", "depth": 1, "width": 6}}  # brought to the common width in both fusions
    model = mk.build(schema, fusion=fusion, width=8, towers=towers)
    contracts.round_trip_is_equal(model, contracts.samples(schema), tmp_path / "model.keras")
    shares = mk.fusion_shares(model)
    assert list(shares[own]) == ["image", "table"]
    assert list(shares[common]) == ["image", "table", "numbers"]


def test_it_is_the_same_in_a_grouped_view():
    schema, index = several(shared=True), np.array([0, 1, 1, 0, 2])
    model = mk.build(schema, **SMALL)
    x = contracts.samples(schema)
    by_picture = {**x, "image": x["image"][:3], "image_index": index}
    seen = mk.deduplicated_model(model, schema, "image")(
        [by_picture[name] for name in schema.deduplicated_inputs("image")]
    )
    plain = model({**x, "image": x["image"][index]})
    for name in schema.targets:
        np.testing.assert_allclose(seen[name], plain[name], atol=1e-6)


def test_a_model_cut_behind_its_towers():
    schema = several()
    model = mk.build(schema, **SMALL)
    x = contracts.samples(schema)
    front, stage = halves(model, schema)
    found = stage([tensor for part in front(x).values() for tensor in part])
    for name, expected in model(x).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


def test_weights_of_its_fusion_are_told_from_those_of_all():
    features = {name: contracts.FEATURES[name] for name in ("image", "table")}
    alone = contracts.small_schema(features, answer=mk.Category(["a", "b"]))
    more = contracts.small_schema(features, kind=mk.Category(["x", "y"], reads=("image", "table")), **alone.targets)
    source, target = mk.build(alone, **SMALL), mk.build(more, **SMALL)
    table = mk.transfer_weights(source, target, towers=[], body=True, schemas=(alone, more))
    moved = dict(zip(table["weight"], table["moved"], strict=True))
    assert (moved["concat_dense0/kernel"], moved["kind_fusion/concat_dense0/kernel"]) == (True, False)
    dense = [model.get_layer("body").get_layer("concat_dense0") for model in (source, target)]
    np.testing.assert_array_equal(*[layer.kernel for layer in dense])


def test_several_inputs_in_a_schema():
    schema = several()
    assert schema.targets["kind"].reads == ("table", "image")
    assert mk.Schema.from_json(schema.to_json()) == schema
    assert mk.Category(reads=["a", "b"]) == mk.Category(reads=("a", "b"))
    assert list(only(schema, ("image", "table")).targets) == ["kind", "answer"]
    assert list(only(schema, ("image", "numbers")).targets) == ["answer"]
    for reads in (("image",), (), ("image", "image"), ("image", 3), 3):
        with pytest.raises(InputError, match="Number: expected reads to be the name of an input, or distinct names of"):
            mk.Number(reads=reads)
    with pytest.raises(InputError, match="'kind': reads: unknown input 'imag'; did you mean 'image'"):
        replace(schema, targets={**schema.targets, "kind": mk.Category(reads=("table", "imag"))})
    with pytest.raises(InputError, match="at least one target that reads the fused vector"):
        replace(schema, targets={"kind": schema.targets["kind"]})
    with pytest.raises(
        InputError, match="'kind', which reads image, table: fusion 'film': unknown modality in by: 'numbers'"
    ):
        mk.build(schema, fusion={"kind": "film", "by": "numbers"}, **SMALL)
