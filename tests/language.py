"""Count mannerisms: words and phrases that plain English avoids.

List them: ``python -m tests.language [PATH ...]``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
MANNERISMS = (
    r"somebody",
    r"nobody",
    r"whoever",
    r"(?:is|are|was|were|be|been|has|have|had) told|told (?:of|apart|to)",
    r"(?:is|are|was|were|be|been) heard|hears? of",
    r"comes? to(?! an end| (?:the|its) end)\b",
    r"(?:came|come|comes|becomes?|became) of",
    r"of (?:its|their|our|his) own",
    r"(?<!there )(?:is|are) no(?= [a-z])",
    r"beside",
    r"mend(?:s|ed|ing)?",
    r"spelt|spelling",
    r"spoilt|spoils?",
    r"left in peace",
    r"be it",
)
_MANNERISM = re.compile(rf"\b(?:{'|'.join(MANNERISMS)})\b", re.IGNORECASE)
_FOLDERS = ("pytest_fsmredir", "conformance", "fixtures", "docs", "tests", "benchmarks", ".ci")
_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
_TYPES = {".py", ".md", ".sh", ".yaml", ".js", ".toml", ""}


def texts(paths: Iterable[Path] = ()) -> list[Path]:
    """Return every file that holds our prose or code, except this one."""
    roots = list(paths) or [ROOT / name for name in (*_FOLDERS, *_PAGES)]
    files = [file for root in roots for file in ([root] if root.is_file() else root.rglob("*"))]
    return sorted(
        file
        for file in files
        if file.is_file()
        and file.suffix in _TYPES
        and "__pycache__" not in file.parts
        and file not in (Path(__file__), ROOT / "tests" / "test_language.py")
    )


def mannerisms(file: Path) -> tuple[int, list[str]]:
    """Return the number of lines of a file, and its lines with a mannerism."""
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        for _ in _MANNERISM.finditer(line)
    ]
    return len(lines), found


def density(paths: Iterable[Path] = ()) -> tuple[float, list[str]]:
    """Return the number of mannerisms per 1,000 lines, and the lines that hold them."""
    counted = [mannerisms(file) for file in texts(paths)]
    found = [line for _, each in counted for line in each]
    return len(found) / max(1, sum(number for number, _ in counted)) * 1000, found


if __name__ == "__main__":
    per_thousand, lines = density([Path(name).resolve() for name in sys.argv[1:]])
    print(*lines, sep="\n")
    print(f"{len(lines)} mannerisms, {per_thousand:.2f} in 1,000 lines")
