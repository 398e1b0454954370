"""A hook of MkDocs: the site also holds the files outside of ``docs/`` that pages link to.

The pages are written for readers of the repository too, so they link to checks, fixtures and
scripts by relative paths. The hook puts a page below ``source/`` for each of these files.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

SOURCE = "source"
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "conformance/SPEC.md")
"""Pages of the navigation, whether a page links to them or not."""

_LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_LANGUAGES = {".js": "js", ".json": "json", ".py": "python", ".sh": "sh", ".yaml": "yaml"}
_CODE = """\
---
search:
  exclude: true
---

# {name}

````{language} title="{path}"
{text}
````
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside of the site that a page links to."""
    root = Path(config.docs_dir).parent
    todo = [root / name for name in ALWAYS]
    for file in files.documentation_pages():
        written = Path(config.docs_dir, file.src_uri)
        todo += _outside(file.content_string, written, files, config)
    done: set[Path] = set()
    while todo:
        source = todo.pop()
        if source not in done:
            done.add(source)
            text = source.read_text(encoding="utf-8")
            content = _content(source, root)
            files.append(File.generated(config, _uri(source, config), content=content))
            if source.suffix == ".md":
                todo += _outside(text, source, files, config)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave the site to the pages of :func:`on_files`."""
    written = _written(page.file, config)
    here = posixpath.dirname(page.file.src_uri)

    def in_site(link: re.Match[str]) -> str:
        target = _target(link["path"], written)
        if target is None:
            return link[0]
        uri = posixpath.relpath(_uri_in_site(target, files, config), here)
        return f"]({uri}{link['anchor'] or ''})"

    return _LINK.sub(in_site, markdown) if written.suffix == ".md" else markdown


def _written(file: File, config: MkDocsConfig) -> Path:
    """Return the file of the repository that a page is made of."""
    if not file.src_uri.startswith(f"{SOURCE}/"):
        return Path(config.docs_dir, file.src_uri)
    path = Path(config.docs_dir).parent / file.src_uri.removeprefix(f"{SOURCE}/")
    return path if path.is_file() else path.with_suffix("")


def _outside(text: str, written: Path, files: Files, config: MkDocsConfig) -> list[Path]:
    targets = (_target(link["path"], written) for link in _LINK.finditer(text))
    return [each for each in targets if each and _in_docs(each, files, config) is None]


def _target(link: str, written: Path) -> Path | None:
    """Return the file that a link names, or None where there is none."""
    target = Path(os.path.normpath(written.parent / link))
    return target if target.is_file() else None


def _in_docs(target: Path, files: Files, config: MkDocsConfig) -> str | None:
    """Return the path in the site of a file of ``docs/``, or None if it is not part of the site."""
    docs = Path(config.docs_dir)
    if not target.is_relative_to(docs):
        return None
    uri = target.relative_to(docs).as_posix()
    file = files.get_file_from_path(uri)
    return uri if file and file.inclusion is not InclusionLevel.EXCLUDED else None


def _uri_in_site(target: Path, files: Files, config: MkDocsConfig) -> str:
    return _in_docs(target, files, config) or _uri(target, config)


def _uri(source: Path, config: MkDocsConfig) -> str:
    path = source.relative_to(Path(config.docs_dir).parent).as_posix()
    return f"{SOURCE}/{path}" if source.suffix == ".md" else f"{SOURCE}/{path}.md"


def _content(source: Path, root: Path) -> str:
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".md":
        return text
    return _CODE.format(
        name=source.name,
        language=_LANGUAGES.get(source.suffix, "text"),
        path=source.relative_to(root).as_posix(),
        text=text,
    )
