"""How misspelt keywords are refused, and where warnings point."""

import inspect
import pickle
import warnings
from dataclasses import dataclass, replace

import pytest

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, warn


@checked_keywords
def cut(rows, *, seed: int = 0):
    """Cut rows."""
    return rows, seed


@checked_keywords
@dataclass(frozen=True)
class Size:
    height: int
    width: int = 1


def test_the_nearest_keyword_is_named():
    assert cut([1], seed=2) == ([1], 2)
    with pytest.raises(InputError, match=r"^cut: unknown argument 'sed'; did you mean 'seed'\? Known: rows, seed$"):
        cut([1], sed=2)
    with pytest.raises(InputError, match=r"^Size: unknown argument 'hight'; did you mean 'height'\?"):
        Size(hight=2)
    with pytest.raises(TypeError, match="missing 1 required"):
        cut()


def test_what_is_decorated_stays_what_it_was():
    assert str(inspect.signature(cut)) == "(rows, *, seed: int = 0)"
    assert str(inspect.signature(Size)).startswith("(height: int, width: int = 1)")
    assert cut.__doc__ == "Cut rows."
    assert pickle.loads(pickle.dumps(cut)) is cut
    assert replace(Size(1, 2), width=3) == Size(1, width=3)


def test_a_warning_points_at_the_line_of_the_user():
    inside = {"__name__": "mmkeras.somewhere", "warn": warn}
    exec("def shallow(): warn('look')\ndef deep(): shallow()", inside)
    for call in (inside["shallow"], inside["deep"], lambda: warn("look")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        assert [(str(one.message), one.filename) for one in caught] == [("look", __file__)]
