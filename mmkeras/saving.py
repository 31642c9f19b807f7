"""A model, its schema and its spec in one file, which runs no code when it is read.

The file is a zip of `model.keras`, `schema.json`, `format.json` and, if the model has them, `spec.json` and
`weight_history.json`. Nothing in it is compressed, so no part of it can be larger than the file.
"""

import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import keras

from mmkeras import __version__
from mmkeras.checks import checked_keywords
from mmkeras.disk import check_path, parse_json, regular, writing
from mmkeras.errors import InputError, shown
from mmkeras.files import private_folder, write_whole
from mmkeras.model_spec import ModelSpec
from mmkeras.schema import Schema
from mmkeras.tasks import learn_loss_weights, shape_of, tasks_of
from mmkeras.transfer import HISTORY, weight_history

FORMAT = 1
MODEL, SCHEMA, ABOUT, SPEC, PAST = "model.keras", "schema.json", "format.json", "spec.json", "weight_history.json"
NEEDED, ALLOWED = {MODEL, SCHEMA, ABOUT}, {MODEL, SCHEMA, ABOUT, SPEC, PAST}
LONGEST = 2**28  # bytes of a JSON; a vocabulary of a million words has some 20 million
CODE = ("__lambda__", "TorchModuleWrapper")  # Keras may read code or pickles from these if its safe mode is off


@checked_keywords
def save(path: str | os.PathLike[str], model: keras.Model, schema: Schema, spec: ModelSpec | None = None) -> Path:
    """Write a model, and everything needed to use it, into one file, whole or not at all.

    The arguments of `compile` and the optimizer's state are saved, so training goes on after `mk.load`. Your own
    function as loss or metric is saved by name: register it by `keras.saving.register_keras_serializable`.

    Args:
        path: of the file, "keypad.mmkeras" or any other name; a file of this name is replaced.
        model: `keras.Model` of `mk.build`.
        schema: the fitted `Schema` that it was built for.
        spec: the `ModelSpec` that it was built from, if you want to save it.

    Returns:
        `path`.

    Raises:
        InputError: something of another kind, a schema that is not fitted or not the model's, a spec whose parts are
            functions, a model with a Lambda layer, a file that cannot be written.
    """
    path = check_path(path, "save: ")
    if str(path).endswith(".keras"):
        raise InputError(
            f"save: expected another ending than that of Keras' own files, as 'model.mmkeras', received {shown(path)}"
        )
    schema.require_fitted("save")
    _check_belongs(model, schema)
    about = {"format": FORMAT, "mmkeras": __version__, "keras": keras.__version__, "backend": keras.backend.backend()}
    texts = {ABOUT: json.dumps(about), SCHEMA: schema.to_json()}
    if spec is not None:
        texts[SPEC] = spec.to_json()
    if weight_history(model):
        texts[PAST] = json.dumps(weight_history(model))
    with writing(path, "save: "), private_folder(path.parent, ".mmkeras-") as folder:
        part = folder / MODEL
        model.save(part)
        _check_model_file(part, "save: ")
        # what cannot be loaded again must not take the place of what can
        _check_belongs(_model(part, "save: "), schema)
        return write_whole(path, lambda file: _write(file, texts, part))


@checked_keywords
def load(path: str | os.PathLike[str]) -> tuple[keras.Model, Schema, ModelSpec | None]:
    """Read a file of `mk.save`: `model, schema, spec = mk.load("keypad.mmkeras")`.

    No code is run from the file. Register your own layers with Keras, and your own kinds with mmkeras, before you read
    it.

    If the model was compiled when it was saved, it is compiled again, with the optimizer's state and the learned loss
    weights. It may have been saved on another backend of Keras; then it gets the `jit_compile` of the backend here.

    Args:
        path: of the file.

    Returns:
        `(model, schema, spec)`; spec is None if none was saved.

    Raises:
        InputError: a file that cannot be read or is no whole file of `mk.save`, one of a newer mmkeras, a class or a
            kind that is not registered here.
    """
    path = check_path(path, "load: ")
    where = f"load: {str(path)!r}: "
    try:
        with open(path, "rb", opener=regular) as file, private_folder(prefix="mmkeras-load-") as folder:
            archive = _opened(file, where)
            about = _json(archive, ABOUT, where)
            _check_format(about, where)
            schema = _schema(_text(archive, SCHEMA, where), where)
            part = folder / MODEL
            with archive.open(MODEL) as packed, open(part, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            _check_model_file(part, where)
            model = _model(part, where)
            spec = ModelSpec.from_json(_text(archive, SPEC, where)) if SPEC in archive.namelist() else None
            past = _json(archive, PAST, where) if PAST in archive.namelist() else []
    except OSError as error:
        raise InputError(f"{where}cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(f"{where}expected a whole file of mk.save, received a damaged one ({error})") from error
    _check_belongs(model, schema, where)
    if model.compiled:
        learn_loss_weights(model)
        if about.get("backend") != keras.backend.backend() and not model.run_eagerly:
            model.jit_compile = keras.backend.backend() == "jax"
    if past:
        HISTORY[model] = past
    return model, schema, spec


def _check_belongs(model: keras.Model, schema: Schema, where: str = "save: ") -> None:
    """Refuse a model without the schema's inputs and targets."""
    expected = {name: shape for name, (shape, _) in schema.model_inputs.items()}
    received = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    if list(expected.items()) != list(received.items()):
        raise InputError(f"{where}expected a model with the schema's inputs {expected}, received {received}")
    if schema.targets:
        _check_outputs(model, schema, where)


def _check_outputs(model: keras.Model, schema: Schema, where: str) -> None:
    """Refuse a model whose outputs are not those of the schema's targets."""
    several = isinstance(model.output, dict)
    if several != (len(schema.targets) > 1) or (several and set(model.output) != set(schema.targets)):
        received = ", ".join(model.output) if several else "one output"
        raise InputError(f"{where}expected a model with outputs for {', '.join(schema.targets)}, received {received}")
    for name, output in schema.by_target(model.output).items():
        shape = tasks_of(model, schema)[name].output_shape(schema.targets[name])
        if tuple(output.shape[1:]) != shape:
            raise InputError(
                f"{where}expected the output {shape_of(shape)} for {name!r}, as the schema has it, received "
                f"{tuple(output.shape)}"
            )


def _write(file: BinaryIO, texts: dict[str, str], model: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        archive.write(model, MODEL)


def _opened(file: BinaryIO, where: str) -> zipfile.ZipFile:
    """The zip, if it holds the files of `save` and nothing else."""
    if not zipfile.is_zipfile(file):
        raise InputError(f"{where}expected a file of mk.save, received none, or one that was cut short")
    archive = zipfile.ZipFile(file)
    names = set(archive.namelist())
    if {"config.json", "metadata.json"} <= names:
        raise InputError(
            f"{where}expected a file of mk.save, received a model of Keras: keras.models.load_model reads it"
        )
    if not NEEDED <= names <= ALLOWED:
        found = ", ".join(sorted(map(shown, names))[:8]) or "nothing"
        raise InputError(f"{where}expected a file of mk.save, received another zip, of {found}")
    _check_members(archive, os.fstat(file.fileno()).st_size, where)
    for name in names - {MODEL}:
        if archive.getinfo(name).file_size > LONGEST:
            raise InputError(f"{where}{name}: expected at most {LONGEST} bytes")
    return archive


def _check_members(archive: zipfile.ZipFile, size: int, where: str) -> None:
    """Refuse parts that `save` and Keras do not write: compressed, too large, double, links, paths out of the file."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise InputError(f"{where}expected each part once, received {shown(max(names, key=names.count))} twice")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or member.flag_bits & 1:
            raise InputError(f"{where}{shown(member.filename)}: expected a plain file, received a link or a locked one")
        if member.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{where}{shown(member.filename)}: expected it as it is, received it compressed")
        if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename.replace("\\", "/")).parts:
            raise InputError(f"{where}expected parts inside the file, received {shown(member.filename)}")
    if sum(member.file_size for member in members) > size:
        raise InputError(f"{where}expected parts no larger than the file, which has {size} bytes")


def _check_model_file(path: Path, where: str) -> None:
    """Refuse a `.keras` file that holds code, or parts that Keras does not write."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{where}{MODEL}: expected a model of Keras, received something else")
    with zipfile.ZipFile(path) as archive:
        _check_members(archive, path.stat().st_size, f"{where}{MODEL}: ")
        if "config.json" not in archive.namelist():
            raise InputError(f"{where}{MODEL}: expected a model of Keras, received another zip")
        config = _json(archive, "config.json", f"{where}{MODEL}: ")
        for member in archive.namelist():
            if member.endswith(".h5"):
                with archive.open(member) as weights:
                    _check_weights(weights, archive.getinfo(member).file_size, f"{where}{MODEL}: {member}: ")
        for name in CODE:
            if name in _strings(config):
                raise InputError(f"{where}expected a model without code in it, received one with {name!r}")


def _check_weights(file: IO[bytes], size: int, where: str) -> None:
    """Refuse weights that would take more memory than their file has bytes, or that are in another file."""
    import h5py

    try:
        with h5py.File(file, "r") as content:
            waiting, seen, announced = [content], set(), 0
            while waiting:
                group = waiting.pop()
                for name in group:
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise InputError(f"{where}expected weights, received a link to another place: {shown(name)}")
                    part = group[name]
                    place = h5py.h5o.get_info(part.id).addr
                    if isinstance(part, h5py.Group) and place not in seen:
                        waiting.append(part)
                    elif isinstance(part, h5py.Dataset):
                        announced += _announced(part, where)
                    seen.add(place)
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}expected weights in HDF5, received a damaged file ({error})") from error
    if announced > size:
        raise InputError(f"{where}expected weights no larger than their file of {size:,} bytes, found {announced:,}")


def _announced(part: Any, where: str) -> int:
    """The bytes that an array in an HDF5 file takes in memory: as many as in the file, as Keras writes it."""
    bytes_there = 0 if part.external or part.is_virtual or part.dtype.hasobject else part.id.get_storage_size()
    if part.nbytes > bytes_there:
        raise InputError(
            f"{where}{shown(part.name)}: expected an array as it is, received one of {part.nbytes:,} bytes of which "
            f"{bytes_there:,} are in the file"
        )
    return part.nbytes


def _strings(content: Any) -> Iterator[str]:
    """All strings in what was JSON, keys among them."""
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part


def _check_format(about: Any, where: str) -> None:
    found = about.get("format") if isinstance(about, dict) else None
    if not isinstance(found, int) or found < 1:
        raise InputError(f"{where}{ABOUT}: expected the format of a file of mk.save, received {shown(about)}")
    if found > FORMAT:
        raise InputError(
            f"{where}expected format {FORMAT}, received {found}, of mmkeras {about.get('mmkeras')}: this is mmkeras "
            f"{__version__}, which does not know it"
        )


def _schema(text: str, where: str) -> Schema:
    try:
        return Schema.from_json(text)
    except InputError as error:
        raise InputError(
            f"{where}{error} (a kind of your own is registered, as by @mk.inputs.register, before the file is read)"
        ) from error


def _model(path: Path, where: str) -> keras.Model:
    try:
        return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # whatever Keras raises for a config that it does not understand
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{where}Keras cannot load the model: {reason[0][:200]} (a layer of your own is registered, by "
            "@keras.saving.register_keras_serializable, before the file is read)"
        ) from error


def _text(archive: zipfile.ZipFile, name: str, where: str) -> str:
    try:
        return archive.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}{name}: expected UTF-8 ({error})") from error


def _json(archive: zipfile.ZipFile, name: str, where: str) -> Any:
    return parse_json(_text(archive, name, where), f"{where}{name}: ")
