"""What a table of samples holds: the spread of its classes, sentences, files and columns."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.decode.text import standardize
from mmkeras.errors import InputError
from mmkeras.plotting import GREY, INK, pyplot, shortened, shortened_inside
from mmkeras.records import drawing
from mmkeras.records.drawing import NAME, SHOWN, columns_shown
from mmkeras.records.headers import BROKEN, picture, recording, series, video
from mmkeras.records.manifest import cells
from mmkeras.schema import Number, Schema

CHUNK = 100_000  # texts split into words at a time


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """What the rows of a table hold. Print it, or draw it with `figure`.

    Attributes:
        name: the table's name.
        schema: the `Schema`.
        overview: DataFrame with a row for each input and target: kind, column, rows, missing (empty cells), distinct
            values, and of them how many were looked at.
        tables: dict of input or target -> DataFrame. A category: label, rows, share, most frequent first. Text: a row
            for each text: words and, with a fitted schema, how many of them are outside its vocabulary. Image: a row
            for each file looked at: file, format, height, width, orientation (EXIF). Audio: file, kind, rate,
            channels, seconds. Series: file, kind, steps, channels. Video: file, kind, frames, height, width. Number:
            value. Tabular: a row for each column: column, kind, rows, holes, not_numbers, least, mean, most, distinct,
            frequent (the most frequent word), share (of it), outside (share outside the vocabulary, if fitted).
    """

    name: str
    schema: Schema
    overview: pd.DataFrame
    tables: dict[str, pd.DataFrame]

    def __str__(self):
        rows = int(self.overview["rows"].iloc[0])
        lines = [f"{self.name}: {rows:,} rows", ""]
        lines += _aligned(self.overview.drop(columns=["rows", "looked_at"]))
        width = max(map(len, self.tables))
        for name, table in self.tables.items():
            part, row = self.schema.parts[name], self.overview.loc[name]
            said = _KINDS[row.kind][1](part, table, row)
            if part.optional:
                said.append(f"optional: missing in {row.missing / max(rows, 1):.1%} of the rows")
            lines += ["", *(f"{'' if number else name:{width}}  {line}" for number, line in enumerate(said))]
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    def figure(self):
        """A matplotlib Figure with a panel for each input and target; `savefig` writes it, a notebook shows it."""
        plt = pyplot()
        columns = min(2, len(self.tables))
        lines = -(-len(self.tables) // columns)  # rounded up
        style = {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "text.color": INK}
        style |= {"xtick.color": GREY, "ytick.color": GREY, "axes.labelcolor": GREY, "font.size": 10}
        with plt.rc_context(style):
            size = (5.6 * columns, 3.4 * lines + 0.5)
            figure, grid = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
            figure.suptitle(f"{self.name}: {int(self.overview['rows'].iloc[0]):,} rows", fontsize=14, weight="bold")
            figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
            for axes, (name, table) in zip(grid.flat, self.tables.items(), strict=False):
                axes.set_axisbelow(True)
                row = self.overview.loc[name]
                what = _KINDS[row.kind][2](axes, self.schema.parts[name], table)
                sample = f", {row.looked_at:,} of {row.distinct:,} files" if row.looked_at < row.distinct else ""
                axes.set_title(f"{name}: {what}{sample}", loc="left", fontsize=11, pad=10)
            for axes in list(grid.flat)[len(self.tables) :]:
                axes.remove()
        plt.close(figure)  # else a notebook shows it twice
        return figure


def describe(records, *, limit=1000):
    """What records hold.

    Args:
        records: `Records`.
        limit: most distinct files of a column that are opened; of more, as many at even distances.

    Returns:
        `Description`.
    """
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
        raise InputError(f"describe: expected limit to be a whole number above 0, received {limit!r}")
    overview, tables = {}, {}
    for name, part in records.schema.parts.items():
        columns = list(records.schema.columns(name))
        if not set(columns) <= set(records.frame):
            continue  # a table to predict on
        kind = type(part).__name__
        if kind == "Tabular":
            values = pd.concat([cells(records.frame[column]) for column in columns], axis=1)
            tables[name] = _columns(part, values)
            present = values[(values != "").any(axis=1)]
            distinct = looked_at = len(present.drop_duplicates())
        else:
            values = records.values(name)
            present, distinct = pd.factorize(values[values != ""])
            looked_at = min(len(distinct), limit) if kind in _HEADERS else len(distinct)
            if kind in _HEADERS:
                places = np.linspace(0, len(distinct) - 1, looked_at).round().astype(int)
                tables[name] = _files(kind, distinct[places])
            else:
                tables[name] = _KINDS[kind][0](part, present, distinct)
            distinct = len(distinct)
        column = columns[0] + f", ... ({len(columns)})" * (len(columns) > 1)
        overview[name] = (kind, column, len(values), len(values) - len(present), distinct, looked_at)
    columns = ["kind", "column", "rows", "missing", "distinct", "looked_at"]
    overview = pd.DataFrame.from_dict(overview, orient="index", columns=columns)
    return Description(records.name, records.schema, overview, tables)


def _classes(part, number, distinct):
    counts = dict.fromkeys(part.classes or (), 0)
    for label, rows in zip(distinct, np.bincount(number, minlength=len(distinct)).tolist(), strict=True):
        own = {one.strip() for one in label.split(part.separator)} - {""} if hasattr(part, "separator") else [label]
        for one in own:
            counts[one] = counts.get(one, 0) + rows
    table = pd.DataFrame({"label": list(counts), "rows": list(counts.values())})
    table["share"] = table["rows"] / max(len(number), 1)
    return table.sort_values("rows", ascending=False, kind="stable", ignore_index=True)


def _texts(part, number, distinct):
    known = {word.encode() for word in part.vocabulary} if part.fitted else None
    words, outside = np.zeros(len(distinct), int), np.zeros(len(distinct), int)
    for start in range(0, len(distinct), CHUNK):
        chunk = tf.strings.split(standardize(tf.constant(distinct[start : start + CHUNK], tf.string)))
        words[start : start + CHUNK] = chunk.row_lengths()
        if known is not None:
            new = [word not in known for word in chunk.flat_values.numpy()]
            rows = chunk.value_rowids().numpy()[np.array(new, bool)]
            outside[start : start + CHUNK] = np.bincount(rows, minlength=chunk.nrows().numpy())
    return pd.DataFrame({"words": words[number]} | ({} if known is None else {"outside": outside[number]}))


def _numbers(part, number, distinct):
    return pd.DataFrame({"value": pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").to_numpy()[number]})


def _columns(part, values):
    rows = []
    for place, column in enumerate(part.columns):
        filled = values[column].to_numpy(dtype=object)
        filled = filled[filled != ""]
        row = {"column": column, "kind": "numeric", "rows": len(values), "holes": len(values) - len(filled)}
        if place < len(part.numeric):
            good = Number().encode(filled)[1]
            numbers = filled[good].astype(float) if good.any() else np.array([np.nan])
            row |= {"not_numbers": int((~good).sum()), "least": numbers.min(), "mean": numbers.mean()}
            rows.append(row | {"most": numbers.max(), "distinct": len(set(filled))})
            continue
        counts = pd.Series(filled, dtype=object).value_counts()
        row |= {"kind": "categorical", "not_numbers": 0, "distinct": len(counts)}
        if len(counts):
            row |= {"frequent": counts.index[0], "share": counts.iloc[0] / len(filled)}
        if part.vocabularies is not None:
            known = set(part.vocabularies[place - len(part.numeric)])
            row["outside"] = np.mean([word not in known for word in filled]) if len(filled) else 0.0
        rows.append(row)
    names = ["column", "kind", "rows", "holes", "not_numbers", "least", "mean", "most", "distinct", "frequent"]
    return pd.DataFrame(rows, columns=[*names, "share", "outside"])


def _files(kind, paths):
    read, columns = _HEADERS[kind]
    rows = []
    for path in paths:
        try:
            rows.append((path, *read(path)))
        except BROKEN:
            rows.append((path, "unreadable", *[np.nan] * (len(columns) - 1)))
    return pd.DataFrame(rows, columns=["file", *columns])


def _aligned(table):
    rows = [["", *table.columns], *([name, *cells] for name, *cells in table.itertuples())]
    columns = []
    for column in zip(*rows, strict=True):
        text = [cell if isinstance(cell, str) else f"{cell:,}" for cell in column]
        width, place = max(map(len, text)), ">" if not isinstance(column[-1], str) else "<"
        columns.append([f"{cell:{place}{width}}" for cell in text])
    return ["  ".join(cells) for cells in zip(*columns, strict=True)]


def _say_classes(part, table, row):
    single = table["label"][table["rows"] < 2].tolist()
    most = f"most frequent {table['label'][0]!r}, {table['share'][0]:.1%}" if len(table) else "no rows"
    said = [f"{len(table):,} classes; {most}; fewer than 2 rows: {_some(single)}"]
    if part.classes is not None and (strange := sorted(set(table["label"]) - set(part.classes))):
        said.append(f"outside the schema's classes: {_some(strange)}")
    width, digits = max(map(len, table["label"][:SHOWN]), default=0), len(f"{table['rows'].max():,}")
    for label, rows, share in table[:SHOWN].itertuples(index=False):
        said.append(
            f"{label:{width}}  {rows:{digits},}  {share:6.1%}  {'█' * round(24 * share / max(table['share'][0], 1e-9))}"
        )
    return said + ([f"... and {len(table) - SHOWN:,} more"] if len(table) > SHOWN else [])


def _some(labels):
    return f"{', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''} ({len(labels)})" if labels else "none"


def _say_texts(part, table, row):
    words = table["words"]
    said = [_spread(words, "words in a text", "{:,.0f}", (("95 %", 0.95),))]
    if "outside" in table:
        share = table["outside"].sum() / max(words.sum(), 1)
        said.append(f"outside the vocabulary of {len(part.vocabulary):,}: {share:.1%} of the words")
    longer = np.mean(words > part.length) if len(words) else 0
    return [*said, f"longer than length={part.length}: {longer:.1%} of the texts"]


def _say_numbers(part, table, row):
    return [_spread(table["value"].dropna(), part.unit or "value", "{:,.6g}")]


def _spread(values, what, form, more=()):
    if not len(values):
        return f"{what}: none"
    points = (("least", 0), ("median", 0.5), *more, ("most", 1))
    return f"{what}: " + ", ".join(f"{form.format(values.quantile(at))} {name}" for name, at in points)


def _say_pictures(part, table, row):
    good = table.dropna()
    said = [_say_files(table["format"], row), *_say_sizes(part, good)]
    turned = int((good["orientation"] != 1).sum())
    return [*said, f"EXIF orientation other than 1: {turned:,}" + " (it is not applied)" * (turned > 0)]


def _say_sizes(part, good):
    if not len(good):
        return []
    good = good.iloc[np.argsort(good["height"] * good["width"], kind="stable")]
    sizes = [f"{good['height'].iloc[at]:.0f} x {good['width'].iloc[at]:.0f}" for at in (0, len(good) // 2, -1)]
    said = "height x width: {} smallest, {} median, {} largest".format(*sizes)
    return [f"{said}; the model receives {part.height} x {part.width}"]


def _say_recordings(part, table, row):
    good = table.dropna()
    said = [_say_files(table["kind"], row), _spread(good["seconds"], "seconds", "{:.4g}")]
    if len(good):
        said[1] += f"; longer than {part.seconds:g}: {np.mean(good['seconds'] > part.seconds):.1%}"
        said += [_say_counts(good["rate"], "Hz"), _say_counts(good["channels"], "channels")]
    return said


def _say_series(part, table, row):
    good = table.dropna()
    said = [_say_files(table["kind"], row), _spread(good["steps"], "steps", "{:,.0f}")]
    if len(good):
        said[1] += f"; longer than length={part.length}: {np.mean(good['steps'] > part.length):.1%}"
        said.append(f"{_say_counts(good['channels'], 'channels')}; the model receives {part.channels}")
    return said


def _say_videos(part, table, row):
    good = table.dropna()
    said = [_say_files(table["kind"], row), _spread(good["frames"], "frames", "{:,.0f}")]
    if len(good):
        said[1] += f"; more than frames={part.frames}: {np.mean(good['frames'] > part.frames):.1%}"
    return said + _say_sizes(part, good)


def _say_counts(values, unit):
    counts = values.astype(int).value_counts()
    more = f", ... ({len(counts)})" if len(counts) > 8 else ""
    return f"{unit}: " + ", ".join(f"{value} ({count:,})" for value, count in counts[:8].items()) + more


def _say_columns(part, table, row):
    holes = table["holes"].sum() / max(table["rows"].sum(), 1)
    said = [f"columns: {len(part.numeric):,} of numbers, {len(part.categorical):,} of words; holes: {holes:.1%}"]
    shown = columns_shown(table)
    names = [shortened_inside(column, NAME) for column in shown["column"]]
    for name, one in zip(names, shown.itertuples(), strict=True):
        start = f"{name:{max(map(len, names))}}  {one.holes / max(one.rows, 1):6.1%} holes"
        said.append(f"{start}  {_say_column(one)}")
    return said + ([f"... and {len(table) - SHOWN:,} more, with no more holes"] if len(table) > SHOWN else [])


def _say_column(one):
    if one.kind == "numeric":
        spread = (
            f"{one.least:,.6g} least, {one.mean:,.4g} mean, {one.most:,.6g} most" if one.mean == one.mean else "none"
        )
        return spread + (f"; not numbers: {one.not_numbers:,}" if one.not_numbers else "")
    outside = f"; outside the vocabulary: {one.outside:.1%}" if one.outside == one.outside else ""
    most = f"; most frequent {shortened(one.frequent, NAME)!r}, {one.share:.1%}" if one.distinct else ""
    return f"{one.distinct:,} different words{most}{outside}"


def _say_files(kinds, row):
    counts = ", ".join(f"{kind} {count:,}" for kind, count in kinds.value_counts().items())
    sample = f" of {row.distinct:,}, evenly spaced" if row.looked_at < row.distinct else ""
    return f"{row.looked_at:,} files{sample}: {counts or 'none'}"


# Reader of a file's header; and of each kind of part: its table, what is said of it, and what is drawn of it.
_HEADERS = {
    "Image": (picture, ["format", "height", "width", "orientation"]),
    "Audio": (recording, ["kind", "rate", "channels", "seconds"]),
    "Series": (series, ["kind", "steps", "channels"]),
    "Video": (video, ["kind", "frames", "height", "width"]),
}
_KINDS = {
    "Category": (_classes, _say_classes, drawing.draw_classes),
    "Labels": (_classes, _say_classes, drawing.draw_classes),
    "Number": (_numbers, _say_numbers, drawing.draw_numbers),
    "Text": (_texts, _say_texts, drawing.draw_texts),
    "Tabular": (_columns, _say_columns, drawing.draw_columns),
    "Image": (None, _say_pictures, drawing.draw_pictures),
    "Audio": (None, _say_recordings, drawing.draw_recordings),
    "Series": (None, _say_series, drawing.draw_series),
    "Video": (None, _say_videos, drawing.draw_videos),
}
