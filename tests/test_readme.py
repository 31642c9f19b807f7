"""The README's Python runs as it stands there, on fewer rows and epochs."""

import re
from pathlib import Path

import pytest

import mmkeras as mk

README = Path(__file__).parent.parent / "README.md"


def smaller(code):
    for old, new in (('keypad("data/keypad")', 'keypad("data/keypad", rows=350)'), ("epochs=20", "epochs=1")):
        assert code.count(old) <= 1
        code = code.replace(old, new)
    return code


def test_examples(tmp_path, monkeypatch, capsys):
    road, own_tower = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    monkeypatch.chdir(tmp_path)
    names = {}
    try:
        exec(smaller(road), names)
        exec(own_tower, names)
    finally:
        mk.towers.TOWERS.pop("patches", None)
    assert (tmp_path / "saved_models" / "keypad" / "1" / "saved_model.pb").is_file()
    assert "image + question + audio" in capsys.readouterr().out
    assert names["model"].get_layer("image_tower").output_shape == (None, 16, 128)


@pytest.mark.parametrize("family", ["towers", "fusion", "tasks", "alignment"])
def test_every_part_is_named(family):
    text = README.read_text(encoding="utf-8")
    names = {"towers": "TOWERS", "fusion": "FUSIONS", "tasks": "TASKS", "alignment": "ALIGNMENTS"}
    catalogue = getattr(getattr(mk, family), names[family])
    assert all(f"`{name}`" in text for name in catalogue)
