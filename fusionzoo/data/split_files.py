"""Lists of the images of a split as other projects and systems write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from fusionzoo.data.names import ENDINGS, PART_WORDS, normal
from fusionzoo.errors import InputError, closest

__all__ = ["Entry", "parse_lines", "read_text"]

Entry = tuple[str | None, str]
"""(part that the words name, or None; id of that part)."""

_BETWEEN = re.compile(
    rf"(?<={'|'.join(sorted({re.escape(e) for k in ENDINGS.values() for e in k if len(e) == 4}))})[\"']?[\s,;]+"
    rf"|(?<={'|'.join(sorted({re.escape(e) for k in ENDINGS.values() for e in k if len(e) == 5}))})[\"']?[\s,;]+",
    re.IGNORECASE,
)
"""What stands after the ending of an image and before the next column."""


def read_text(path: Path) -> str:
    """A text file in UTF-8 (with a mark or without), UTF-16 or the Western code page of Windows."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        coding = "utf-16"
    elif b"\0" in data[:200]:
        coding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    else:
        coding = "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError:
        if coding != "utf-8-sig":
            raise InputError(f"{path} is no readable text ({coding}); save it as UTF-8") from None
        return data.decode("cp1252", errors="replace")


def parse_lines(
    text: str, find: Callable[[str], Entry | None], known: list[str], where: str
) -> list[dict[str | None, str]]:
    """The images that a list names, in order: for each {part or None: id}.

    A line is one id, which may hold blanks; or a path, absolute, or from the data set or one of its folders, with or
    without ending; or columns with the files of one image (blanks, tabs, commas or semicolons between them); or several
    ids. Empty lines, comments (# and what follows) and a heading that names the parts are skipped.

    Args:
        find: what one id or path names, None where nothing.
        known: the ids, for the closest one in an error.
        where: names the list in errors.

    Raises:
        InputError: a line that names nothing, with its number.
    """
    images: list[dict[str | None, str]] = []
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = normal(raw.replace("\0", "").strip())
        if not line:
            continue
        said = re.sub(r"(^|\s+)#.*", "", line)  # without a comment, but an id may hold that sign
        whole = find(_bare(line)) or find(_bare(said))
        if whole is not None:
            images.append({whole[0]: whole[1]})
            continue
        line = said
        if not line or (not images and _is_heading(line)):
            continue
        images += _columns(line, find, known, f"{where}, line {number}")
    return images


def _columns(
    line: str, find: Callable[[str], Entry | None], known: list[str], where: str
) -> list[dict[str | None, str]]:
    """The images of a line that is no single id."""
    best: list[str] = []
    for pieces in (re.split(r"[\t,;]", line), _BETWEEN.split(line), re.split(r"[\s,;]+", line)):
        words = [word for word in map(_bare, pieces) if word]
        if len(words) < 2:
            continue
        found = [find(word) for word in words]
        files: dict[str | None, str] = {e[0]: e[1] for e in found if e is not None and e[0] is not None}
        strange = [word for word, entry in zip(words, found, strict=True) if entry is None]
        if len(files) > 1 and all(re.fullmatch(r"[\d.]+", word) for word in strange):
            return [files]  # times and class numbers between the files of one image are not needed
        entries = [entry for entry in found if entry is not None]
        if len(entries) == len(words):
            one = len({entry[1] for entry in entries}) == 1 and (len(files) > 0 or "." in line)
            return [{e[0]: e[1]} for e in (entries[:1] if one else entries)]
        best = best or strange
    name = best[0] if best and len(best) < len(re.split(r"[\t,;]|\s+", line)) else _bare(line)
    near = closest(name, known, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"one id a line is wanted, such as {known[0]!r}"
    raise InputError(
        f"{where}: {name!r} is no image of the data set; {advice} (a file's name without folder and ending)"
    )


def _bare(word: str) -> str:
    """Without blanks and quotes around it."""
    word = word.strip()
    return word[1:-1].strip() if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word.strip("\"'")


def _is_heading(line: str) -> bool:
    words = [word for word in re.split(r"[\s,;]+", line.lower()) if word]
    parts = [word for word in words if word in PART_WORDS or word in ("id", "ids", "name", "filename", "file")]
    return len(parts) == len(words)
