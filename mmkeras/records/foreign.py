"""Files that are no tables, told by their first bytes or their names."""

import os

SPREADSHEET = 'save it as "CSV UTF-8", or give mk.read(pd.read_excel(path), schema)'
ARRAYS = "give a DataFrame of it: mk.read(pd.DataFrame(...), schema)"
LISTED = "expected a table that names such files in a column"
# The first bytes of a file, what it then is, and what to do
MAGIC = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls) or another Office document", SPREADSHEET),
    (b"\x93NUMPY", "a NumPy array", ARRAYS),
    (b"\x89HDF", "an HDF5 file", "give mk.read(pd.read_hdf(path), schema)"),
    (b"ARROW1", "an Arrow or Feather file", "give mk.read(pd.read_feather(path), schema)"),
    (b"ORC", "an ORC file", "give mk.read(pd.read_orc(path), schema)"),
    (b"SQLite format 3", "an SQLite database", "give mk.read(pd.read_sql(query, connection), schema)"),
    (b"%PDF", "a PDF document", "save the table as CSV"),
    (b"\x89PNG", "a picture (PNG)", LISTED),
    (b"\xff\xd8\xff", "a picture (JPEG)", LISTED),
    (b"GIF8", "a picture (GIF)", LISTED),
    (b"II*\0", "a picture (TIFF)", LISTED),
    (b"MM\0*", "a picture (TIFF)", LISTED),
    (b"RIFF", "a recording, picture or video (RIFF)", LISTED),
    (b"fLaC", "a recording (FLAC)", LISTED),
    (b"OggS", "a recording (OGG)", LISTED),
    (b"ID3", "a recording (MP3)", LISTED),
    (b"7z\xbc\xaf", "an archive (7z)", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it"),
)
PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
# By the end of a name, where the first bytes do not tell
NAMES = {
    ".xlsx": ("an Excel workbook", SPREADSHEET),
    ".xlsm": ("an Excel workbook", SPREADSHEET),
    ".ods": ("an OpenDocument spreadsheet", SPREADSHEET),
    ".pkl": ("a pickle, which can run code", "give mk.read(pd.read_pickle(path), schema) if you trust it"),
    ".pickle": ("a pickle, which can run code", "give mk.read(pd.read_pickle(path), schema) if you trust it"),
    ".npz": ("an archive of NumPy arrays", ARRAYS),
    ".zip": ("an archive (zip)", "unpack it"),
    ".tar": ("an archive (tar)", "unpack it"),
    ".html": ("a page (HTML)", "give mk.read(pd.read_html(path)[0], schema)"),
    ".xml": ("an XML file", "give mk.read(pd.read_xml(path), schema)"),
    ".dta": ("a Stata file", "give mk.read(pd.read_stata(path), schema)"),
    ".sav": ("an SPSS file", "give mk.read(pd.read_spss(path), schema)"),
    ".yaml": ("a YAML file", "give a table; `mmkeras tune` takes an experiment in YAML"),
    ".py": ("a Python program", "give the table that it makes"),
    ".ipynb": ("a notebook", "give the table that it makes"),
}


def foreign(start: bytes, name: str) -> str | None:
    """What a file is that is no table, and what to do instead; None: it may be one.

    Args:
        start: its first 512 bytes, decompressed.
        name: of the file, in lower case.

    >>> foreign(b"PK\\x03\\x04", "sales.xlsx")
    'an Excel workbook: save it as "CSV UTF-8", or give mk.read(pd.read_excel(path), schema)'
    >>> foreign(b"age,label", "sales.csv")
    """
    suffix = os.path.splitext(name)[1]
    found = next(((what, do) for magic, what, do in MAGIC if start.startswith(magic)), None)
    if found is None and start.startswith(PICKLES):
        found = NAMES[".pkl"]
    if found is None and start.startswith(b"PK\3\4"):
        found = NAMES.get(".xlsx" if b"[Content_Types].xml" in start else suffix, NAMES[".zip"])
    if found is None and start[257:262] == b"ustar":
        found = NAMES[".tar"]
    found = found or NAMES.get(suffix)
    return found and ": ".join(found)
