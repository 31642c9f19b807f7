"""Pictures and report of a search, from tables that are made up."""

import json
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.training import Training
from mmkeras.tuning import TuningResult, figures
from mmkeras.tuning.places import places, score_limits
from mmkeras.tuning.trial import Outcome, Request

SCHEMA = mk.Schema(inputs={"q": mk.Text(3)}, targets={"a": mk.Category()})
NAN = float("nan")


def result_of(*trials, objective=("val_accuracy", "max"), directory=Path("made/up")):
    """The result of trials that are (status, history of the objective, hyperparameters)."""
    rows = []
    for number, (status, history, values) in enumerate(trials):
        score = (max if objective[1] == "max" else min)(history) if history else NAN
        row = {
            "trial": str(number),
            "status": status,
            "score": score,
            "epoch": history.index(score) if history else NAN,
        }
        row |= {"seconds": 1.5, "cpu": 2.5, "parameters": 10, "reason": "no memory" * (status == "FAILED")}
        rows.append(row | {"history": {objective[0]: history} if history else {}} | values)
    return TuningResult(directory, SCHEMA, objective, pd.DataFrame(rows))


def done(score, **values):
    return "COMPLETED", [score / 2, score], values


SMALL = (
    done(0.5, fusion="concat", width=32, learning_rate=1e-4, fusion_depth=NAN),
    done(0.7, fusion="concat", width=32, learning_rate=1e-3, fusion_depth=NAN),
    ("FAILED", [0.1], {"fusion": "gated", "width": 64, "learning_rate": 2e-3, "fusion_depth": 3}),
    done(0.8, fusion="concat", width=64, learning_rate=1e-2, fusion_depth=NAN),
    done(0.9, fusion="gated", width=32, learning_rate=3.3333e-3, fusion_depth=2),
    ("RUNNING", [], {"fusion": "gated", "width": 64, "learning_rate": 3e-3, "fusion_depth": 1}),
    done(0.6, fusion="gated", width=64, learning_rate=2e-3, fusion_depth=1),
)


def panels(result):
    figure = result.figure()
    figure.canvas.draw()
    return {axes.get_label(): axes for axes in figure.axes}


def lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_score_against_width():
    axes = panels(result_of(*SMALL))["against"]
    points = {one.get_label(): one.get_offsets() for one in axes.collections if not one.get_label().startswith("_")}
    assert sorted(points["concat"][:, 1]) == [0.5, 0.7, 0.8]
    assert sorted(points["gated"][:, 1]) == [0.6, 0.9]
    assert lines(axes)["concat"].get_ydata() == pytest.approx([0.6, 0.8])  # means at widths of 32 and of 64
    assert lines(axes)["gated"].get_ydata() == pytest.approx([0.9, 0.6])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32", "64"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("width", "val_accuracy")
    assert sorted(texts(axes)) == ["concat", "gated"]
    place = dict(zip(["32", "64"], axes.get_xticks(), strict=True))
    for kind, x, width in (("concat", points["concat"][:, 0], "32 32 64"), ("gated", points["gated"][:, 0], "32 64")):
        near = sorted(x) - np.array([place[name] for name in width.split()])
        assert np.ptp(near) < 1e-9, kind
        assert abs(near[0]) < 0.25, kind  # within the band of the width
    ring = [one.get_offsets() for one in axes.collections if one.get_sizes().max() > 100]
    assert len(ring) == 1
    assert ring[0][0][1] == 0.9


def test_progress():
    axes = panels(result_of(*SMALL))["progress"]
    drawn = lines(axes)
    assert dict(zip(*drawn["completed"].get_data(), strict=True)) == {0: 0.5, 1: 0.7, 3: 0.8, 4: 0.9, 6: 0.6}
    assert drawn["best so far"].get_ydata()[:-1] == pytest.approx([0.5, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9])
    assert list(drawn["failed"].get_xdata()) == [2]
    assert drawn["failed"].get_marker() == "x"
    assert list(drawn["not finished"].get_xdata()) == [5]
    assert {"1 failed", "1 not finished", "trial 4: 0.9"} < set(texts(axes))
    low, high = axes.get_ylim()
    marks = low + (high - low) * drawn["not finished"].get_ydata()[0]
    assert marks < 0.5 - 0.01 * (high - low)  # below the worst score


def test_learning_curves():
    axes = panels(result_of(*SMALL))["curves"]
    drawn = lines(axes)
    assert set(drawn) == {"0", "1", "2", "3", "4", "6"}
    assert list(drawn["3"].get_xdata()) == [0, 1]
    assert list(drawn["3"].get_ydata()) == [0.4, 0.8]
    assert drawn["2"].get_marker() == "x"
    assert drawn["3"].get_marker() == "None"
    assert drawn["4"].get_linewidth() > 2 * drawn["3"].get_linewidth()
    assert drawn["4"].get_color() == figures.BEST
    assert texts(axes) == ["trial 4"]


def test_parallel_coordinates():
    axes = panels(result_of(*SMALL))["parallel"]
    drawn = lines(axes)
    assert list(drawn) == ["0", "6", "1", "3", "4"]  # the best on top
    names = [label.get_text().replace("\n", "") for label in axes.get_xticklabels()]
    assert names == ["fusion", "width", "learning_rate", "fusion_depth"]
    assert {"concat", "gated", "32", "64", "0.001", "not used"} <= set(texts(axes))

    def at(trial, name):
        x, y = drawn[trial].get_data()
        return y[list(x).index(names.index(name))]

    assert at("1", "learning_rate") == pytest.approx((at("0", "learning_rate") + at("3", "learning_rate")) / 2)
    assert (
        max(at(trial, "fusion_depth") for trial in "013")
        < -0.05
        < 0
        < at("6", "fusion_depth")
        < at("4", "fusion_depth")
    )
    height = {text.get_text(): text.xy[1] for text in axes.texts}
    assert abs(at("4", "fusion") - height["gated"]) < 0.1 < abs(at("4", "fusion") - height["concat"])
    ends = {trial: line.get_ydata()[-1] for trial, line in drawn.items()}
    assert sorted(ends, key=ends.get) == ["0", "6", "1", "3", "4"]
    assert drawn["4"].get_color() == figures.BEST
    colors = axes.child_axes[0]
    assert colors.get_ylabel() == "val_accuracy"
    assert colors.get_ylim() == pytest.approx((0.5, 0.9))


def test_minimised_objective():
    trials = [done(score, width=2**number) for number, score in enumerate([3.0, 1.0, 2.0])]
    axes = panels(result_of(*trials, objective=("val_loss", "min")))
    assert lines(axes["progress"])["best so far"].get_ydata()[:-1] == pytest.approx([1.5, 0.5, 0.5])
    assert lines(axes["parallel"])["1"].get_ydata()[-1] == pytest.approx(0.04)
    dark, pale = (sum(lines(axes["parallel"])[name].get_color()[:3]) for name in "20")
    assert dark < pale


def test_the_number_that_says_most_where_there_is_no_width():
    trials = [done(0.5 + 0.1 * n, layers=(3, 1, 2, 4)[n], rate=2.0**-n, kind="ab"[n % 2]) for n in range(4)]
    axes = panels(result_of(*trials))["against"]
    assert axes.get_xlabel() == "rate (rank correlation \N{MINUS SIGN}1.00)"
    assert len(axes.collections[0].get_offsets()) == 4
    assert not texts(axes)


def test_without_numbers_the_panel_is_left_out():
    assert set(panels(result_of(done(0.5, kind="a"), done(0.6, kind="b")))) == {"progress", "curves", "parallel"}
    assert set(panels(result_of(done(0.5), done(0.6)))) == {"progress", "curves"}


def test_books_of_hyperband_are_no_hyperparameters():
    books = {"tuner/epochs": 4, "tuner/bracket": 1, "tuner/initial_epoch": 0}
    result = result_of(done(0.5, width=8, **books), done(0.6, width=16, **books | {"tuner/initial_epoch": 2}))
    result.trials["epoch"] = [1, 3]
    assert result.hyperparameters == ["width"]
    axes = panels(result)
    assert [label.get_text() for label in axes["parallel"].get_xticklabels()] == ["width"]
    assert list(lines(axes["curves"])["1"].get_xdata()) == [2, 3]


def test_one_trial():
    axes = panels(result_of(done(0.5, width=8, fusion="concat")))
    assert lines(axes["parallel"])["0"].get_ydata() == pytest.approx(0.5)
    assert [tick for tick in axes["progress"].get_xticks() if -0.6 < tick < 0.6] == [0]


def test_what_is_the_same_in_all_trials_is_said_once():
    axes = panels(result_of(done(0.5, width=8, depth=2), done(0.6, width=16, depth=2)))["parallel"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["width"]
    assert axes.get_xlabel() == "the same in all trials: depth 2"


def test_a_score_that_is_far_off_stays_at_the_edge():
    trials = [done(score, width=2**number) for number, score in enumerate([0.6, 0.7, -400.0, 0.8, 0.75])]
    axes = panels(result_of(*trials))["progress"]
    low, _ = axes.get_ylim()
    assert -3 < low < 0.6
    assert "\N{DOWNWARDS ARROW}-200" in texts(axes)
    assert low < min(lines(axes)["completed"].get_ydata())


def crowd(count=30):
    random, kinds = (
        np.random.default_rng(0),
        ["concat", "multiply", "gated", "film", "attention", "low_rank", "late", "x"],
    )
    for number in range(count):
        score = 0.5 + 0.001 * number
        values = {f"a_rather_long_name_{n}_of_an_option": float(random.random()) for n in range(18)}
        yield done(score, fusion=kinds[number % 8] * 3, width=2 ** (5 + number % 4), **values)


def test_many_trials_kinds_and_hyperparameters():
    axes = panels(result_of(*crowd(), objective=("val_accuracy_of_a_target_with_a_very_long_name", "max")))
    assert len(axes["parallel"].get_xticks()) == 16
    assert "(4 that say less left out)" in axes["parallel"].get_title("left")
    assert len(texts(axes["against"])) == 7
    assert "others" in texts(axes["against"])
    boxes = [text.get_window_extent() for text in axes["against"].texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    names = [label.get_window_extent() for label in axes["parallel"].get_xticklabels()]
    assert all(left.x1 <= right.x0 + 2 for left, right in pairwise(names))


@pytest.mark.parametrize("score", [0.101, 0.899])
def test_names_beside_the_panel_keep_apart(score):
    kinds = [done(score + number * 1e-5, width=8, fusion=f"kind_{number}") for number in range(5)]
    axes = panels(result_of(*kinds, done(0.1, width=8, fusion="low"), done(0.9, width=8, fusion="high")))["against"]
    boxes = [text.get_window_extent() for text in axes.texts if not text.get_text().startswith("\N{DOWNWARDS ARROW}")]
    assert len(boxes) == 7
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert axes.bbox.y0 - 2 < min(box.y0 for box in boxes) < max(box.y1 for box in boxes) < axes.bbox.y1 + 2


def test_no_completed_trial():
    with pytest.raises(InputError, match="expected at least one completed trial, received none of 1"):
        result_of(("FAILED", [], {"width": 8})).figure()


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(InputError, match=r"matplotlib.*pip install \"mmkeras\[notebooks\]\"$"):
        result_of(*SMALL).figure()


# places --------------------------------------------------------------------------------------------------------------


def test_places_of_few_numbers_are_even():
    at, ticks, even = places(pd.Series([64, NAN, 32, 256], name="width"))
    assert even
    assert at[[0, 2, 3]] == pytest.approx([3 / 6, 1 / 6, 5 / 6])
    assert np.isnan(at[1])
    assert list(ticks.values()) == ["32", "64", "256"]


def test_places_of_words_and_truth_values():
    at, ticks, even = places(pd.Series(["b", "a", None]))
    assert even
    assert at[:2] == pytest.approx([0.25, 0.75])
    assert np.isnan(at[2])
    assert dict(zip(ticks.values(), ticks, strict=True)) == {"a": 0.75, "b": 0.25}
    assert set(places(pd.Series([True, False]))[1].values()) == {"True", "False"}


def test_places_of_many_numbers_are_to_scale():
    at, ticks, even = places(pd.Series(np.linspace(0, 1, 11)))
    assert not even
    assert np.diff(at) == pytest.approx(np.full(10, 0.092))
    assert ticks[min(ticks)] == "0"
    assert min(ticks) == pytest.approx(0.04)
    at, _, _ = places(pd.Series(np.geomspace(0.1, 1000, 21)))
    assert np.diff(at) == pytest.approx(np.full(20, 0.046))
    narrow = pd.Series([0.00123456, 0.0012567, 0.00129], name="learning_rate")
    assert len(places(narrow)[1]) > 1


def test_score_limits():
    assert score_limits([0.1, 0.5, 0.9], "max") == (0.1, 0.9, False)
    assert score_limits([0.5, 0.6, 0.6, 0.7, -90], "max")[0] > -1
    assert score_limits([0.5, 0.6, 0.6, 0.7, 1e6], "min")[1] < 2
    assert score_limits([0.01, 0.02, 5, 8, 9], "min") == (0.01, 9, True)


# controls ------------------------------------------------------------------------------------------------------------


def controls():
    rows = [("shuffled", "image", 0.3), ("shuffled", "image", 0.5), ("fused", "", 0.8), ("fused", "", 0.9)]
    rows += [("alone", "image", 0.6), ("alone", "audio", NAN)]
    return pd.DataFrame([(*row, seed) for seed, row in enumerate(rows)], columns=["role", "input", "score", "seed"])


def test_controls():
    figure = figures.controls(controls(), ("val_accuracy", "max"))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "fused",
        "image alone",
        "audio alone",
        "fused, image shuffled",
    ]
    height = {label.get_text(): at for label, at in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the fused model on top
    dots = sorted(tuple(line.get_xdata()) for line in axes.lines if line.get_marker() == "o")
    assert dots == [(0.3, 0.5), (0.6,), (0.8, 0.9)]
    means = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"}
    assert means == pytest.approx(
        {height["fused"]: 0.85, height["image alone"]: 0.6, height["fused, image shuffled"]: 0.4}
    )
    bars = [line for line in axes.lines if line.get_linewidth() == 2.4]
    half = {line.get_ydata()[0]: np.ptp(line.get_xdata()) / 2 for line in bars}
    t = 12.7062  # of one degree of freedom
    assert half == pytest.approx({height["fused"]: t * 0.05, height["fused, image shuffled"]: t * 0.1}, rel=1e-4)
    reference = [line for line in axes.lines if line.is_dashed()]
    assert [line.get_xdata()[0] for line in reference] == pytest.approx([0.85])
    assert texts(axes) == ["0.850 ± 0.635", "0.600", "no run finished", "0.400 ± 1.271"]
    assert "val_accuracy (higher is better)" in axes.get_xlabel()
    assert "lower" in figures.controls(controls(), ("val_loss", "min")).axes[0].get_xlabel()


def test_interval():
    assert figures.interval(pd.Series([1.0, 2.0, 3.0])) == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
    assert figures.interval(pd.Series([2.0, 2.0])) == 0
    assert np.isnan(figures.interval(pd.Series([1.0])))


def test_controls_without_a_fused_score():
    table = controls()
    with pytest.raises(InputError, match="expected a score of the fused model, received none"):
        figures.controls(table[table["role"] != "fused"], ("val_accuracy", "max"))


# the report ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def result(tmp_path):
    spec = mk.ModelSpec(fusion={"kind": "concat"}, towers={"q": {"kind": "bag"}}, width=8)
    request = Request(spec, Training(epochs=2, learning_rate=0.0033333), ("val_accuracy", "max"))
    (tmp_path / "trial_4").mkdir()
    Outcome(request.to_json()).save(tmp_path / "trial_4")
    return result_of(*SMALL, directory=tmp_path)


def test_report(result):
    folder = result.report()
    assert folder == result.directory / "report"
    assert {path.name for path in folder.iterdir()} == {
        "report.md",
        "trials.csv",
        "best.json",
        "training.json",
        "overview.png",
    }
    table = pd.read_csv(folder / "trials.csv", dtype={"trial": str}, keep_default_na=False, na_values={"score": [""]})
    assert list(table) == [name for name in result.trials if name != "history"]
    assert table[["score", "reason"]].equals(result.trials[["score", "reason"]])
    assert mk.ModelSpec.from_json((folder / "best.json").read_text()) == result.best
    assert Training(**json.loads((folder / "training.json").read_text())) == result.training
    assert (folder / "overview.png").read_bytes().startswith(b"\x89PNG")
    text = (folder / "report.md").read_text()
    assert "5 of 7 trials completed, 1 failed, 1 not finished" in text
    assert "The highest val_accuracy is 0.9, of trial 4." in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| trial | score | epoch |")
    assert rows[2].startswith("| 4 | 0.9 | 1 | 1.5 | 10 | gated | 32 |")
    assert [row.split(" | ")[0] for row in rows[2:7]] == ["| 4", "| 3", "| 1", "| 6", "| 0"]
    assert rows[6].endswith("| - |")  # had no part in the trial
    assert "| 1 | no memory |" in rows
    assert result.best.to_json() in text
    assert "](overview.png)" in text


def test_report_without_matplotlib(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    folder = result.report(result.directory / "deep" / "paper")
    assert folder == result.directory / "deep" / "paper"
    assert not (folder / "overview.png").exists()
    assert (folder / "best.json").exists()
    text = (folder / "report.md").read_text()
    assert "No picture" in text
    assert "pip install" in text
    assert "overview.png" not in text


def test_report_of_a_search_without_completed_trials(tmp_path):
    trials = [("FAILED", [], {"width": 8}), ("FAILED", [], {"width": 8}), ("RUNNING", [], {"width": 8})]
    folder = result_of(*trials, directory=tmp_path).report()
    assert {path.name for path in folder.iterdir()} == {"report.md", "trials.csv"}
    text = (folder / "report.md").read_text()
    assert "0 of 3 trials completed, 2 failed, 1 not finished" in text
    assert "| 2 | no memory |" in text


def test_a_bar_in_a_reason_does_not_break_the_table(tmp_path):
    result = result_of(("FAILED", [], {}), directory=tmp_path)
    result.trials["reason"] = "a | b\nc"
    assert "| 1 | a \\| b c |" in (result.report() / "report.md").read_text()
