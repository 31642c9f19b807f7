"""easy-VQA: questions about one coloured shape in a small picture."""

import os
from pathlib import Path
from types import ModuleType

import numpy as np

from mmkeras.checks import check_whole, checked_keywords
from mmkeras.datasets._files import write_once, write_table
from mmkeras.errors import InputError


@checked_keywords
def easy_vqa(directory: str | os.PathLike[str], seed: int = 0) -> Path:
    """Write a manifest.csv of the easy-VQA set into `directory` and return its path.

    The set is Victor Zhou's, from the package `easy-vqa` on PyPI: 5000 pictures of 64x64 pixels with 48,248 questions
    and 13 answers. The columns are image, question, answer, split. The package's test set stays "test"; a tenth of its
    training pictures, drawn by `seed`, become "val" with all their questions, so the splits share no picture. Pictures
    are not copied: `image` is the absolute path into the installed package, so the manifest serves this machine alone.

    A directory that already holds this very manifest is left as it is, one with another easy-VQA manifest is written
    anew, and one with a manifest of other origin is refused.
    """
    try:
        import easy_vqa as package
    except ImportError as error:
        raise InputError(
            'easy_vqa: expected the package easy-vqa, which is not installed; pip install "mmkeras[easy-vqa]"'
        ) from error
    seed = check_whole(seed, "seed", "easy_vqa: ", least=0)
    folder = os.path.dirname(os.path.abspath(package.__file__))
    settings = {"set": "easy_vqa", "format": 1, "seed": seed, "package": folder}
    return write_once(directory, settings, ("manifest.csv",), lambda path: _write(path, package, seed))


def _write(directory: Path, package: ModuleType, seed: int) -> None:
    pictures, rows = package.get_train_image_paths(), []
    held = set(np.random.default_rng(seed).permutation(sorted(pictures))[: len(pictures) // 10].tolist())
    for question, answer, number in zip(*package.get_train_questions(), strict=True):
        rows.append((os.path.abspath(pictures[number]), question, answer, "val" if number in held else "train"))
    pictures = package.get_test_image_paths()
    for question, answer, number in zip(*package.get_test_questions(), strict=True):
        rows.append((os.path.abspath(pictures[number]), question, answer, "test"))
    write_table(directory / "manifest.csv", ("image", "question", "answer", "split"), rows)
