"""The model card: inputs, outputs, quality and training of a served model (Mitchell et al., 2019)."""

from collections.abc import Mapping

from mmkeras.bundle.answers import prefix
from mmkeras.decode import codec_of
from mmkeras.markdown import table
from mmkeras.model_spec import ModelSpec
from mmkeras.schema import Schema
from mmkeras.tasks import Task


def model_card(
    name: str, schema: Schema, tasks: Mapping[str, Task], about: dict, spec: ModelSpec | None = None, notes: str = ""
) -> str:
    """Markdown.

    Args:
        name: of the model.
        schema: fitted `Schema`.
        tasks: of the model, dict of target -> `Task`.
        about: dict, as in about.json.
        spec: `ModelSpec`, or None.
        notes: the user's Markdown.
    """
    parts = [
        f"# {name}",
        _summary(about),
        notes.strip(),
        "## Inputs\n\n"
        + table(["input", "what is sent", "missing"], [_input(*item) for item in schema.inputs.items()]),
        "## Answers\n\n" + table(["target", "answers"], [_answers(schema, *item) for item in tasks.items()]),
        _statuses(about),
        _metrics(about),
        _training(about, spec),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(schema, tasks)),
    ]
    return "\n\n".join(filter(None, parts))


def _summary(about):
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    return f"Exported {about['created']}; {about['parameters']:,} parameters; {versions}."


def _input(name, feature):
    return f"`{name}`", codec_of(feature).card(feature), "may be" if feature.optional else "no"


def _answers(schema, name, task):
    target, before = schema.targets[name], prefix(schema, name)
    told = task.card(target)
    said = [f"`{before}{part}`" + (f": {what}" if what else "") for part, what in told.items()]
    more = ["..."] if task.parts(target).keys() > told.keys() else []
    return f"`{name}`", ", ".join(said + more)


def _statuses(about):
    lines = [f"- {code}: {meaning}" for code, meaning in about["statuses"].items()]
    return "A row has a prediction if its `status` is 0. `<input>_status` of each input:\n\n" + "\n".join(lines)


def _metrics(about):
    if "metrics" not in about:
        return ""
    metrics = table(["metric", "value"], [(name, _figure(value, 4)) for name, value in about["metrics"].items()])
    heads = ["modalities", "target", "metric", "score"]
    rows = [
        (" + ".join(row["modalities"]) or "none", row["target"], row["metric"], _figure(row["score"], 3))
        for row in about["subsets"]
    ]
    return (
        f"## Metrics\n\n{metrics}\n\nWith some of the modalities alone; the others were missing where they may be, "
        f"otherwise shuffled among the rows:\n\n{table(heads, rows)}"
    )


def _figure(value, digits):
    return "not a number" if value is None else f"{value:.{digits}f}"


def _training(about, spec):
    moved = [line for entry in about["weight_history"] for line in _origin(entry)]
    lines = ["Weights it began with:\n\n" + "\n".join(moved)] if moved else []
    if spec is not None:
        lines.append(f"The specification (`mmkeras.ModelSpec`):\n\n```json\n{spec.to_json()}\n```")
    if about.get("history"):
        epochs = len(next(iter(about["history"].values())))
        last = [(name, _figure(values[-1], 4)) for name, values in about["history"].items() if values]
        lines.append(f"{epochs} epochs; after the last:\n\n" + table(["", "value"], last))
    return "## Training\n\n" + "\n\n".join(lines) if lines else ""


def _origin(entry, depth=0):
    """Lines of a list: the sources of transferred weights, and the sources of those."""
    parts = ", ".join(f"{part} ({count} weights)" for part, count in entry["weights"].items())
    yield f"{'  ' * depth}- from {entry['from']}: {parts}"
    for earlier in entry["before"]:
        yield from _origin(earlier, depth + 1)


def _limits(schema, tasks):
    """The limits of the model, by its schema."""
    lines = {name: codec_of(feature).limits(feature) for name, feature in schema.inputs.items()}
    lines |= {name: task.limits(schema.targets[name]) for name, task in tasks.items()}
    yield from (f"`{name}`: {line}" for name, own in lines.items() for line in own)
    yield "Scores are the model's own confidence; whether they are calibrated was not looked at."
