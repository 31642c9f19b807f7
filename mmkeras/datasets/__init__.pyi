from ._easy_vqa import easy_vqa
from ._keypad import keypad, keypad_ceilings

__all__ = ["easy_vqa", "keypad", "keypad_ceilings"]
