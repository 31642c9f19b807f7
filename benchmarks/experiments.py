"""The experiments of repertoire.py: which data, which part varies, how it is trained.

One schedule for all: AdamW, a warm-up of two epochs to the peak rate, then a cosine to 0. Epochs, rates and options
were chosen on the validation rows (sets.py says which). Test rows were not looked at until the choices stood, but for
one look at newsgroups20: its bag, trained without the latest tenth, had .799.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import sets

from mmkeras.demo import TOWERS

ALONE = {"kind": "concat", "depth": 1}  # of a single token: one dense layer
DROPPED = 0.25  # modality dropout


@dataclass(frozen=True)
class Experiment:
    """What is trained and measured.

    Args:
        title: heading of its table.
        data: function of the folder of archives -> list of `Splits` with "train", "test" and, but for folds, "val". If
            inputs vary, it also takes `without` (name of an input to leave out) and `optional` (whether all are).
        varies: the input whose tower varies, or "fusion", or "inputs": one model is trained with modality dropout on
            all inputs (part "all"), and one for each input without it ("without_<input>").
        width, fusion, towers: of the model, as `mk.build` takes them; the part that varies is put in its place.
        options: dict of part -> options of its own.
        training: "epochs", "rate" (peak), "batch", "decay" (of the weights), "augment", "group_by".
        training_of: dict of part -> what differs in its training.
        data_of: dict of part -> arguments of `data` that differ.
        figure: figures of other work on it.
        chosen_by: experiments of the same parts: the default and the two best of these, in the mean, take part alone.
        choosing: as data, to choose recipes by; None: data, of which the test rows are then left alone.
    """

    title: str
    data: Callable
    varies: str
    width: int = 128
    fusion: str | dict = "concat"
    towers: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    training_of: dict = field(default_factory=dict)
    data_of: dict = field(default_factory=dict)
    figure: str = ""
    chosen_by: tuple = ()
    choosing: Callable | None = None

    def settings(self, part: str) -> dict:
        """All that decides what a cell's model is and how it is trained, as plain values."""
        training = {"rate": 1e-3, "batch": 64, "decay": 0.01, **self.training, **self.training_of.get(part, {})}
        model = {"width": self.width, "fusion": self.fusion, "towers": dict(self.towers)}
        if self.varies == "inputs":
            return self._of_inputs(part, model, training)
        chosen = {"kind": part, **self.options.get(part, {})}
        if self.varies == "fusion":
            model["fusion"] = chosen
        else:
            model["towers"][self.varies] = chosen
        return {"data": self.data_of.get(part, {}), "model": model, "training": training}

    def _of_inputs(self, part: str, model: dict, training: dict) -> dict:
        if part == "all":
            return {"data": {"optional": True}, "model": {**model, "modality_dropout": DROPPED}, "training": training}
        left = part.removeprefix("without_")
        model["towers"].pop(left)
        training["augment"] = {name: options for name, options in training["augment"].items() if name != left}
        if training.get("group_by") == left:
            training.pop("group_by")
        return {"data": {"without": left}, "model": model, "training": training}


LISTEN = {"shift": 0.04, "gain": 6}
DIGIT_TOWERS = {
    "image": {"kind": "conv", "filters": 16, "dropout": 0.3},
    "audio": {"kind": "spectrogram", "filters": 16, "dropout": 0.4},
}
STEPWISE = ("lstm", "gru", "transformer")
STATES = {"bidirectional": True, "tokens": "all"}  # the mean of the states after every step, not the last state
FUSION_OPTIONS = {"concat": {"depth": 2, "dropout": 0.1}, "attention": {"dropout": 0.1}}
SHARED = {"epochs": 14, "batch": 32, "rate": 2e-3, "augment": {}, "group_by": "image"}
# a token for each place, as a shape is the same everywhere: with one for all of them it takes twice the epochs
SHAPES = {"image": {"kind": "conv", "filters": 16, "depth": 3, "tokens": "all"}, "question": "conv1d"}

EXPERIMENTS = {
    "cifar10_mini": Experiment(
        title="Pictures: cifar10_mini (32 x 32, 10 classes, 9,000 training rows)",
        data=sets.cifar10_mini,
        varies="image",
        fusion=ALONE,
        options={"conv": {"dropout": 0.4}},
        training={"epochs": 8, "augment": {"image": {"flip": True, "crop": 0.2}}},
    ),
    "digits_seen": Experiment(
        title="Pictures: av_digits, clean (28 x 28, 10 classes, 5,400 training rows)",
        data=partial(sets.av_digits, image=sets.DIGIT),
        varies="image",
        fusion=ALONE,
        options={"conv": {"dropout": 0.4}},
        training={"epochs": 12, "rate": 2e-3, "augment": {"image": {"crop": 0.1, "rotate": 10}}},
        figure="SVC on pixels .961",
    ),
    "digits_heard": Experiment(
        title="Recordings: av_digits, clean (0.64 s at 8 kHz, 10 classes, 5,400 training rows)",
        data=partial(sets.av_digits, audio=sets.SPOKEN),
        varies="audio",
        fusion=ALONE,
        options={"spectrogram": {"filters": 16, "dropout": 0.4}},
        training={"epochs": 12, "augment": {"audio": LISTEN}},
        figure="SVC on MFCC .967",
    ),
    "newsgroups20": Experiment(
        title="Sentences: newsgroups20 (20 classes; the first 400 words, by lstm, gru and transformer the first 128)",
        data=sets.newsgroups20,
        choosing=partial(sets.newsgroups20, choosing=True),
        varies="text",
        fusion=ALONE,
        options={
            "bag": {"dropout": 0.3, "word_dropout": 0.3},
            "conv1d": {"dropout": 0.5},
            **{part: {"dropout": 0.3} for part in STEPWISE},
            **{part: {"dropout": 0.3, **STATES} for part in ("lstm", "gru")},
        },
        training={"epochs": 6, "rate": 2e-3, "batch": 128, "augment": {"text": {"drop": 0.2}}},
        # the words are dropped in the tower; those that read step by step see the beginning alone: their cost
        training_of={"bag": {"epochs": 10, "rate": 5e-3, "augment": {}}},
        data_of={part: {"length": 128} for part in STEPWISE},
        figure="TF-IDF and linear SVC .858",
    ),
    "watch_imu": Experiment(
        title="Traces: watch_imu (windows of 4 s, 7 exercises; mean of 5 folds of subjects)",
        data=sets.watch_imu,
        choosing=partial(sets.watch_imu, choosing=True),
        varies="series",
        width=64,
        fusion=ALONE,
        options={"conv1d": {"dropout": 0.3}, "lstm": STATES, "gru": STATES},
        training={"epochs": 12},
        figure="random forest .879; published .873 to .889",
    ),
    "digits_hard": Experiment(
        title="Fusions: av_digits, degraded pictures and recordings",
        data=sets.digits_hard,
        varies="fusion",
        towers=DIGIT_TOWERS,
        training={"epochs": 16, "augment": {"audio": LISTEN}},
        figure="product of two SVC .850",
    ),
    "digits_hard_mixed": Experiment(
        title="Fusions: av_digits, degraded; 3 copies more, the training recordings under each other's noises",
        data=partial(sets.digits_hard, mixed=3),
        varies="fusion",
        towers=DIGIT_TOWERS,
        training={"epochs": 6, "augment": {"audio": LISTEN}},
        chosen_by=("digits_hard",),
        figure="product of two SVC .850, without the copies",
    ),
    "qa": Experiment(
        title="Fusions: av_digits, questions about a written and a spoken digit",
        data=sets.questions,
        varies="fusion",
        towers={**DIGIT_TOWERS, "question": "lstm"},
        options={
            **FUSION_OPTIONS,
            "tensor": {"size": 5},
        },  # five modalities: three inputs, two heads' outputs
        training={"epochs": 8, "rate": 2e-3, "augment": {"audio": LISTEN}},
        figure="without audio at most .477, without the picture .458, without the question .355",
    ),
    "keypad": Experiment(
        title="Fusions: keypad, questions about a written and a dialled digit",
        data=sets.keypad,
        varies="fusion",
        towers=TOWERS,
        options=FUSION_OPTIONS,
        training={"epochs": 10, "batch": 128, "augment": {"image": {"crop": 0.15}}},
        training_of={"concat": {"rate": 2e-3}},
    ),
    "easy_vqa": Experiment(
        title="Fusions: easy-VQA (the default and the two best of the others)",
        data=sets.easy_vqa,
        varies="fusion",
        width=64,
        towers=SHAPES,
        training=SHARED,
        # attention learns little here at 2e-3, and cross_attention needs the 14 epochs: .91 after 10
        training_of={part: {"rate": 1e-3} for part in ("cross_attention", "bottleneck")},
        chosen_by=("digits_hard", "qa", "keypad"),
        figure="published .995",
    ),
    "digits_missing": Experiment(
        title="Missing modalities: av_digits, degraded",
        data=sets.digits_hard,
        varies="inputs",
        towers=DIGIT_TOWERS,
        training={"epochs": 16, "augment": {"audio": LISTEN}},
    ),
    "easy_vqa_missing": Experiment(
        title="Missing modalities: easy-VQA",
        data=sets.easy_vqa,
        varies="inputs",
        width=64,
        towers=SHAPES,
        training=SHARED,
    ),
}
