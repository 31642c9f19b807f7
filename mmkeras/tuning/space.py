"""The choices of a search: hyperparameters -> ModelSpec."""

from collections.abc import Callable, Mapping
from typing import Any

from mmkeras.checks import is_number
from mmkeras.errors import InputError, shown, unknown
from mmkeras.fusion import FUSIONS
from mmkeras.model_spec import ModelSpec
from mmkeras.registry import Kinds, own_options
from mmkeras.schema import Audio, Image, Schema, Series, Tabular, Text, Video
from mmkeras.tasks import TASKS, Task, choose_task, options_of
from mmkeras.towers import DEFAULTS, TOWERS

# The default choices of towers for each kind of input; others by name in `space`.
CHOICES = Kinds("list of towers to choose from", list, __name__, 'register({kind})(["mine"])')
register = CHOICES.register
register(Image)(["conv", "residual"])
register(Text)(["lstm", "gru", "conv1d", "bag"])
register(Audio)(["spectrogram", "spectrogram_lstm"])
register(Series)(["conv1d", "lstm", "transformer"])
register(Tabular)(["mlp", "feature_tokens"])
register(Video)(["frames"])

FUSION_KINDS = ["concat", "multiply", "gated", "film", "attention", "low_rank", "late"]
PLAIN = ("width", "modality_dropout", "learning_rate", "batch_size")
DROPOUTS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def domains(schema: Schema, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The default space: dict of hyperparameter -> its choices.

    A list holds the choices, a tuple the lowest and the highest value.
        fusion: kind of the fusion; with one input alone "concat".
        fusion_depth, fusion_dropout: its options, where it has them.
        width: of the fused vector and, unless `<input>_width` is asked for, of the tokens.
        <input>: kind of its tower.
        <input>_filters, <input>_dropout: its options, where it has them.
        <target>: its task; not in the default space, nor are its options.
        modality_dropout: of the spec, where an input is optional.
        learning_rate, batch_size: of the training; the rate is sampled on a logarithmic scale.

    Args:
        schema: `Schema`.
        given: names with choices of their own: the kind of such an input needs no default choices.

    Raises:
        InputError: an input of a kind without default choices of towers.
    """
    found = {
        "fusion": FUSION_KINDS if len(schema.inputs) > 1 else ["concat"],
        "fusion_depth": [1, 2, 3],
        "fusion_dropout": DROPOUTS,
        "width": [32, 64, 128, 256],
    }
    for name, feature in schema.inputs.items():
        towers = given[name] if given and name in given else CHOICES.of(feature)
        found |= {name: towers, f"{name}_filters": [16, 32, 64], f"{name}_dropout": DROPOUTS}
    if any(feature.optional for feature in schema.inputs.values()):
        found["modality_dropout"] = [0.0, 0.1, 0.25, 0.5]
    return found | {"learning_rate": (3e-4, 5e-3), "batch_size": [32, 64, 128]}


def towers_of(schema: Schema, given: Any = None) -> ModelSpec:
    """The `ModelSpec` of the towers for a search on cached features: for each input the first that the space names."""
    chosen = {} if given is None or callable(given) else given
    towers = {name: chosen[name] if name in chosen else DEFAULTS.of(feature) for name, feature in schema.inputs.items()}
    return ModelSpec(towers={name: kind[0] if isinstance(kind, list) else kind for name, kind in towers.items()})


def space_of(schema: Schema, given: Any = None) -> Callable[[Any], ModelSpec]:
    """The function `hp -> ModelSpec` that a search calls.

    Args:
        schema: fitted `Schema`.
        given: such a function; or a dict of hyperparameter -> its choices: a list, a tuple of the lowest and the
            highest value, or one value. The names are those of `domains`, and `<option>` of the fusion,
            `<input>_<option>` of a tower and `<target>_<option>` of a task for each option that such a part has. A
            fusion, a tower or a task may be a dict of "kind" and options, which is then fixed. None: the default space.

    Raises:
        InputError: a name that is no hyperparameter, an invalid domain.
    """
    if callable(given):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"space: expected a function hp -> ModelSpec or a dict, received {shown(given)}")
    default = domains(schema, given)
    if "towers" in (given or {}):
        first = next(iter(schema.inputs))
        raise InputError(f"space: expected the choices of each tower by its input's name, as {{{first!r}: [...]}}")
    chosen = default | dict(given or {})
    tasks = [name for name in schema.targets if name in chosen]
    roles = {"fusion": FUSIONS, **dict.fromkeys(schema.inputs, TOWERS), **dict.fromkeys(tasks, TASKS)}
    for name, domain in chosen.items():
        _check(name, domain, schema)
    for name in given or {}:
        if name not in PLAIN and name not in roles:
            _check_option(name, roles, chosen, default)

    def space(hp: Any) -> ModelSpec:
        parts = {role: _part(hp, role, table, chosen) for role, table in roles.items()}
        values = {name: _ask(hp, name, chosen[name]) for name in PLAIN if name in chosen}
        own = {name: values[name] for name in ("width", "modality_dropout") if name in values}
        towers, own_tasks = ({name: parts[name] for name in names} for names in (schema.inputs, tasks))
        return ModelSpec(fusion=parts["fusion"], towers=towers, tasks=own_tasks, **own)

    return space


def _option(name: str, roles: Mapping[str, Any]) -> tuple[str, str] | None:
    """The role and the option in a hyperparameter's name; None if it has no such form."""
    for role in sorted(roles, key=len, reverse=True):
        if name.startswith(f"{role}_"):
            return role, name.removeprefix(f"{role}_")
    return None


def _check_option(name: str, roles: Mapping[str, Any], chosen: Mapping[str, Any], default: Mapping[str, Any]) -> None:
    """Raise an `InputError` unless this is an option of a part that can be chosen."""
    found = _option(name, roles)
    if found is None:
        raise unknown("hyperparameter", name, default, where="space: ")
    role, option = found
    if isinstance(chosen[role], Mapping):
        raise InputError(f"space: {role!r} is one part with its options, so {name!r} cannot be chosen")
    known = {one for kind in _kinds(chosen[role]) for one in _options(roles[role][kind], role)}
    if option not in known and name not in default:
        raise unknown("hyperparameter", name, {*default, *(f"{role}_{one}" for one in known)}, where="space: ")


def _kinds(domain: Any) -> list:
    return domain if isinstance(domain, list) else [domain]


def _part(hp: Any, role: str, table: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A tower, a fusion or a task: its kind and, of the options that are in the space, those that this kind has."""
    if isinstance(chosen[role], Mapping):
        return dict(chosen[role])
    part = {"kind": _ask(hp, role, chosen[role])}
    for name, domain in chosen.items():
        option = name.removeprefix(f"{role}_")
        having = [kind for kind in _kinds(chosen[role]) if option in _options(table[kind], role)]
        if option == name or not having:
            continue
        with hp.conditional_scope(role, having):
            value = _ask(hp, name, domain)
        if part["kind"] in having:
            part[option] = value
    return part


def _options(part: Any, role: str) -> list[str]:
    """Names of the options that a fusion, a tower or a task has, with a tower's own width and a task's weight."""
    if isinstance(part, Task):
        return [*(option for options in options_of(part) for option in options), "weight"]
    own = own_options(part, ("mask", "feature", "features", "name", "width"))
    return own if role == "fusion" else [*own, "width"]


def _ask(hp: Any, name: str, domain: Any) -> Any:
    """The value of one hyperparameter."""
    if isinstance(domain, list):
        fractions = any(isinstance(value, float) for value in domain)  # KerasTuner wants one type
        return hp.Choice(name, [float(value) for value in domain] if fractions else domain)
    if isinstance(domain, tuple):
        low, high = domain
        scale = {"sampling": "log"} if name == "learning_rate" else {}
        return (hp.Int if isinstance(low, int) and isinstance(high, int) else hp.Float)(name, low, high, **scale)
    return hp.Fixed(name, domain)


def _check(name: str, domain: Any, schema: Schema) -> None:
    """Raise an `InputError` unless the domain is valid."""
    if isinstance(domain, Mapping) and (name == "fusion" or name in schema.parts):
        return
    where = f"space: {name!r}: "
    if isinstance(domain, tuple):
        if len(domain) != 2 or not all(map(is_number, domain)) or not domain[0] < domain[1]:
            raise InputError(f"{where}expected (lowest, highest), received {shown(domain)}")
        return
    values = domain if isinstance(domain, list) else [domain]
    if not values or not all(isinstance(value, (str, int, float, bool)) for value in values):
        raise InputError(f"{where}expected a list of choices, (lowest, highest) or one value, received {shown(domain)}")
    table = FUSIONS if name == "fusion" else TOWERS if name in schema.inputs else None
    for value in values if table else ():
        if value not in table:
            raise unknown("fusion" if name == "fusion" else "tower", value, table, where)
    for value in values if name in schema.targets else ():
        choose_task(schema.targets[name], value, name)
