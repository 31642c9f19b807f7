"""Pictures of a search: its trials at a glance, and whether fusion is worth it."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmkeras.errors import InputError
from mmkeras.plotting import CHART, GREY, INK, PALE, pyplot, shortened_inside
from mmkeras.tuning.parallel import draw_parallel
from mmkeras.tuning.places import is_number, places, score_limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mmkeras.tuning.result import TuningResult

BEST = "#D55E00"
# The colours of Okabe and Ito (2008), except that of the best trial: colour-blind readers can tell them apart too.
COLORS = ["#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#3d4148", "#6a51a3"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
BESIDE = {"textcoords": "offset points", "va": "center", "annotation_clip": False, "fontsize": 9.5}
ROLES = {"fused": ("fused", "#0072B2"), "alone": ("{} alone", "#009E73"), "shuffled": ("fused, {} shuffled", "#B8860B")}


def overview(result: "TuningResult") -> "Figure":
    """The trials of a search: score against the fusion's width and kind, progress, learning curves, hyperparameters.

    Args:
        result: `TuningResult`.

    Returns:
        matplotlib Figure. Its axes are labelled "against" (score against "width" or, if the search had only one, the
        number with the highest rank correlation; left out if there is none), "progress", "curves" and "parallel".

    Raises:
        InputError: no completed trial, or matplotlib is not installed.
    """
    plt = pyplot()
    done = result.completed
    if not len(done):
        raise InputError(f"figure: expected at least one completed trial, received none of {len(result.trials)}")
    against, why = _against(done, result.hyperparameters)
    panels = ["against"] * (against is not None) + ["progress", "curves"]
    rows = [panels] + [["parallel"] * len(panels)] * bool(result.hyperparameters)
    with plt.rc_context(CHART):
        size, heights = (13, 4 * len(rows) + 0.7), [1, 1.06][: len(rows)]
        figure, axes = plt.subplot_mosaic(rows, figsize=size, height_ratios=heights, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.12)
        failed = (result.trials["status"] == "FAILED").sum()
        figure.suptitle(_headline(result, done, failed), fontsize=14, weight="bold", x=0.012, ha="left")
        if against is not None:
            _draw_against(axes["against"], done, against, why, result.objective)
        _draw_progress(axes["progress"], result, done)
        _draw_curves(axes["curves"], result, done)
        if result.hyperparameters:
            draw_parallel(axes["parallel"], done, result.hyperparameters, result.objective, BEST)
    plt.close(figure)  # else a notebook shows it twice
    return figure


def _headline(result, done, failed):
    best, name = done.iloc[0], shortened_inside(result.objective[0], 44)
    counts = f"{len(done)} of {len(result.trials)} trials completed" + (f", {failed} failed" if failed else "")
    return f"{counts}; best {name} {best['score']:.4g} in trial {best['trial']}"


def _against(done, names):
    """The hyperparameter on the x-axis of the score, and why if it is not "width"; None if there is none."""
    numeric = [name for name in names if is_number(done[name])]
    varied = [name for name in numeric if done[name].nunique() > 1]
    if "width" in varied or ("width" in numeric and not varied):
        return "width", ""
    if not varied:
        return (numeric or [None])[0], ""
    found = {name: _correlation(done[name], done["score"]) for name in varied}
    name = max(varied, key=lambda name: abs(found[name]))
    return name, f"rank correlation {found[name]:.2f}".replace("-", "\N{MINUS SIGN}")


def _correlation(values, score):
    """Spearman's rank correlation; 0 where a hyperparameter had a part in less than half of the trials."""
    known = values.notna()
    if known.mean() < 0.5 or score[known].nunique() < 2 or values.nunique() < 2:
        return 0.0
    return float(values[known].rank().corr(score[known].rank()))


def _draw_against(axes, done, name, why, objective):
    place, ticks, even = places(done[name])
    place, score = pd.Series(place, done.index), _score_axis(axes, done["score"], objective)
    kinds = done["fusion"].map(str) if "fusion" in done else pd.Series("", done.index)
    shown = list(dict.fromkeys(kinds))  # the best first
    if len(shown) > len(COLORS):
        kinds = kinds.where(kinds.isin(shown[: len(COLORS) - 1]), "others")
        shown = list(dict.fromkeys([*shown[: len(COLORS) - 1], "others"]))
    step = 0.7 / len(ticks) / len(shown) * even
    for level in range(0, len(ticks) * (even and len(shown) > 1), 2):  # points in a band have the same value
        axes.axvspan(level / len(ticks), (level + 1) / len(ticks), color="#f4f5f7", linewidth=0, zorder=0)
    labels = []
    for number, kind in enumerate(shown):
        own = kinds.index[kinds == kind]
        x, y = place[own] + step * (number - (len(shown) - 1) / 2), score[own]
        look = {"color": COLORS[number], "marker": MARKERS[number]}
        axes.scatter(x, y, 36, **look, alpha=0.85, edgecolor="white", linewidth=0.6, zorder=3, label=kind)
        means = y.groupby(x).mean() if even else y[:0]
        if len(means) > 1:
            axes.plot(means.index, means, color=COLORS[number], linewidth=1.3, alpha=0.55, label=kind)
        labels.append((means.iloc[-1] if len(means) else y.mean(), kind, look))
        if number == 0:
            axes.scatter(x[:1], y[:1], 130, facecolor="none", edgecolor=BEST, linewidth=2, zorder=4)
        _note_far_off(axes, x, done["score"][own], y, objective)
    if "fusion" in done:
        _labels_beside(axes, labels)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlim(*((0, 1) if even else (-0.03, 1.03)))
    axes.set_xlabel(shortened_inside(name, 40) + (f" ({why})" if why else ""))
    _title(axes, f"Score against {shortened_inside(name, 24)}" + (", by fusion" if "fusion" in done else ""))


def _labels_beside(axes, labels):
    """Names of the series at the right, each near its height, without overlap."""
    frame = axes.transData + axes.transAxes.inverted()
    heights = np.array([frame.transform((0.5, y))[1] for y, _, _ in labels])
    order, gap = np.argsort(heights), 0.062
    spread = heights[order]
    for number in range(1, len(spread)):
        spread[number] = max(spread[number], spread[number - 1] + gap)
    for number in range(len(spread) - 1, -1, -1):  # back below the top
        above = spread[number + 1] - gap if number + 1 < len(spread) else 0.98
        spread[number] = min(spread[number], above)
    for height, place in zip(spread, order, strict=True):
        _, kind, look = labels[place]
        axes.plot(1.035, height, **look, markersize=6, transform=axes.transAxes, clip_on=False, linestyle="none")
        axes.annotate(
            shortened_inside(kind, 16), (1.035, height), (7, 0), "axes fraction", color=look["color"], **BESIDE
        )


def _draw_progress(axes, result, done):
    trials, up = result.trials, 1 if result.objective[1] == "max" else -1
    number = _numbers(trials["trial"])
    low, high = number.min() - 0.6, number.max() + 0.6
    drawn = _score_axis(axes, done["score"], result.objective, below=len(done) < len(trials))
    axes.plot(number[done.index], drawn, "o", color="#9fb4c8", markersize=5.5, label="completed")
    _note_far_off(axes, number, done["score"], drawn, result.objective)
    best = (up * (up * drawn.reindex(trials.index)).cummax()).ffill().dropna()
    x, y = [*number[best.index], high], [*best, best.iloc[-1]]
    axes.plot(x, y, color=COLORS[0], linewidth=2, drawstyle="steps-post", label="best so far")
    axes.annotate("best so far", (x[-1], y[-1]), (5, 0), color=COLORS[0], **BESIDE)
    first = done.iloc[0]
    at, left = number[done.index[0]], number[done.index[0]] < (low + high) / 2
    axes.plot(at, first["score"], "o", color=BEST, markersize=8, zorder=4)
    text, shift = f"trial {first['trial']}: {first['score']:.4g}", (-4 if left else 4, 13 * up)
    axes.annotate(text, (at, first["score"]), shift, color=BEST, ha="left" if left else "right", **BESIDE)
    _mark_unfinished(axes, trials["status"], number)
    axes.set_xlim(low, high)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_xlabel("trial")
    _title(axes, "Progress of the search")


def _numbers(names):
    """Numbers of the trials: their names, or their order if some are no numbers."""
    if names.str.isdecimal().all() and names.astype(int).is_unique:
        return names.astype(int)
    return pd.Series(range(len(names)), names.index)


def _mark_unfinished(axes, status, number):
    """Marks at the bottom for trials without a score."""
    height = 0.035
    for kind, mark, what in (("FAILED", "x", "failed"), ("RUNNING", "o", "not finished")):
        ended = number[status == kind]
        if len(ended):
            look = {"color": GREY, "markerfacecolor": "none", "markersize": 6, "transform": axes.get_xaxis_transform()}
            axes.plot(ended, [height] * len(ended), mark, **look, label=what)
            axes.annotate(f"{len(ended)} {what}", (1, height), (5, 0), "axes fraction", color=GREY, **BESIDE)
            height += 0.065


def _draw_curves(axes, result, done):
    trials, name = result.trials, result.objective[0]
    curves = {row: history[name] for row, history in trials["history"].items() if _is_curve(history, name)}
    started = trials.get("tuner/initial_epoch", trials["score"] * 0).fillna(0)  # where Hyperband goes on with a trial
    _score_axis(axes, np.concatenate(list(curves.values())), result.objective)
    grey = {"color": "#9aa2ac", "linewidth": 1, "alpha": 0.75 if len(curves) < 40 else 0.4}
    for row, values in curves.items():
        best, ends = row == done.index[0], "o" if len(values) == 1 else None
        look = {"color": BEST, "linewidth": 2.4, "zorder": 4} if best else grey
        epochs = int(started[row]) + np.arange(len(values))
        look = look | {"marker": "x" if trials["status"][row] == "FAILED" else ends, "markevery": [-1], "markersize": 5}
        axes.plot(epochs, values, **look, label=trials["trial"][row])
        if best:
            axes.plot(done["epoch"].iloc[0], done["score"].iloc[0], "o", color=BEST, markersize=8, zorder=5)
            axes.annotate(f"trial {trials['trial'][row]}", (epochs[-1], values[-1]), (8, 0), color=BEST, **BESIDE)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_xlabel("epoch, from 0")
    _title(axes, "Learning curves")


def _is_curve(history, name):
    return isinstance(history, dict) and len(history.get(name, ())) > 0


def _score_axis(axes, values, objective, below=False):
    """The axis of the score; `below`: with room for marks. Returns the values, those far off moved to its end."""
    low, high, log = score_limits(values, objective[1])
    if log:
        axes.set_yscale("log")
        share = (high / low) ** 0.1
        axes.set_ylim(low / share ** (2.4 if below else 1), high * share**1.2)
    else:
        span = high - low or abs(high) or 0.1
        axes.set_ylim(low - span * (0.24 if below else 0.1), high + span * 0.12)
    axes.set_ylabel(shortened_inside(objective[0], 40))
    axes.grid(axis="y", color=PALE)
    return np.clip(values, low, high)


def _note_far_off(axes, xs, scores, drawn, objective):
    """An arrow at each score that is far worse than the axis reaches."""
    arrow, up = ("\N{DOWNWARDS ARROW}", -1) if objective[1] == "max" else ("\N{UPWARDS ARROW}", 1)
    for row in scores.index[scores != drawn]:
        where = {"textcoords": "offset points", "ha": "center", "va": "center", "fontsize": 8, "color": GREY}
        axes.annotate(f"{arrow}{scores[row]:.3g}", (xs[row], drawn[row]), (0, 10 * up), **where)


def _title(axes, text):
    axes.set_title(text, loc="left", fontsize=11, weight="bold", pad=10)


def controls(table: pd.DataFrame, objective: tuple[str, str]) -> "Figure":
    """Is fusion worth it? The fused model, each modality alone, and the model with each modality shuffled.

    Args:
        table: DataFrame with "role" ("fused", "alone" or "shuffled"), "input" (name of the input, "" for the fused
            model), "seed" and "score" (NaN of a run that failed).
        objective: `(name, "max" or "min")`.

    Returns:
        matplotlib Figure: dots for the seeds, their mean, and its 95 % interval by Student's t.

    Raises:
        InputError: no score of the fused model, or matplotlib is not installed.
    """
    plt = pyplot()
    found = {key: rows["score"].dropna() for key, rows in table.groupby(["role", "input"], sort=False)}
    groups = {key: found[key] for role in ROLES for key in found if key[0] == role}
    if not len(groups.get(("fused", ""), ())):
        raise InputError("figure: expected a score of the fused model, received none")
    with plt.rc_context(CHART):
        figure, axes = plt.subplots(figsize=(9, 1.7 + 0.5 * len(groups)), layout="constrained")
        roles = [role for role, _ in groups]
        heights = np.arange(len(groups)) + 0.4 * np.array([list(ROLES).index(role) for role in roles])
        for height, (role, scores) in zip(heights, zip(roles, groups.values(), strict=True), strict=True):
            _draw_runs(axes, height, scores, ROLES[role][1])
        fused = groups["fused", ""].mean()
        axes.axvline(fused, color=ROLES["fused"][1], linewidth=1.2, linestyle=(0, (5, 4)), alpha=0.7, zorder=1)
        labels = [ROLES[role][0].format(shortened_inside(name, 30)) for role, name in groups]
        axes.set_yticks(heights, labels, color=INK)
        axes.set_ylim(heights[-1] + 0.6, -0.6)
        every = np.concatenate(list(groups.values()))
        span = np.ptp(every) or 0.1 * abs(every[0]) or 0.1
        axes.set_xlim(every.min() - 0.15 * span, every.max() + 0.15 * span)
        axes.grid(axis="x", color=PALE)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        better = "higher" if objective[1] == "max" else "lower"
        said = f"{shortened_inside(objective[0], 50)} ({better} is better)"
        axes.set_xlabel(f"{said}\ndots: seeds, diamond: their mean, bar: its 95 % interval")
        axes.xaxis.get_major_locator().set_params(nbins=6)
        _title(axes, "Is fusion worth it?")
    plt.close(figure)
    return figure


def interval(scores: pd.Series) -> float:
    """Half of the 95 % interval of a mean, by Student's t; NaN for fewer than two scores."""
    from scipy.special import stdtrit

    return float(stdtrit(len(scores) - 1, 0.975) * scores.std() / len(scores) ** 0.5) if len(scores) > 1 else np.nan


def _draw_runs(axes, height, scores, color):
    text = "no run finished"
    if len(scores):
        mean, half = scores.mean(), interval(scores)
        text = f"{mean:.3f}" + (f" ± {half:.3f}" if half == half else "")
        if half == half:
            axes.plot([mean - half, mean + half], [height] * 2, color=color, linewidth=2.4, solid_capstyle="butt")
        axes.plot(scores, [height + 0.22] * len(scores), "o", color=color, alpha=0.45, markersize=5, markeredgewidth=0)
        axes.plot(
            mean, height, "D", color=color, markersize=6.5, markeredgecolor="white", markeredgewidth=0.7, zorder=3
        )
    where = {"textcoords": "offset points", "va": "center", "color": INK if len(scores) else GREY}
    axes.annotate(text, (1, height), (8, 0), ("axes fraction", "data"), **where)
