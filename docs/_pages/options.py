"""The page of options, from their rows."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_fsmredir.config.option import Option
from pytest_fsmredir.config.options import GROUPS
from pytest_fsmredir.config.parsing import PARSERS

_HEAD = """\
# Options

Generated from the code by `python -m docs.generate`.

Give an option on the command line (`--fsm-ip 4`), in the options file `fsmredir.yaml` (`ip: 4`), as
an environment variable (`FSM_IP=4`) or in pytest's ini file (`fsm_ip = 4`). The command line
overrides the options file, which overrides the environment, which overrides the ini file. All of
them accept the same values and give the same messages. `--fsm-features` is different: each source
changes what the sources below it claim.

Lists use commas. In the options file they can be YAML lists. On the command line the option can be
repeated. A flag has the value `true` or `false` outside the command line. A relative path starts
from the directory of the options file, from pytest's root directory (ini file), or from the current
directory.

pytest chooses its root directory before it knows the options of plugins, so it takes the value in
`--fsm-rules ../other/my.rules` for a test path. If it would read the settings of that directory
instead of the project's, the run ends with a message. Write `--fsm-rules=../other/my.rules`, with
`=`, or give `--rootdir`.
"""

_LISTING = """\
## Print and exit

| option | effect |
| --- | --- |
| `--fsm-list`, `--fsm-list=json` | list the checks as a table or as JSON, and exit |
| `--fsm-explain ID[,ID]` | print what these checks require and send, and exit |
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(_group(*each) for each in GROUPS.items()), _LISTING])


def _group(heading: str, options: tuple[Option, ...]) -> str:
    rows = "\n".join(_row(option) for option in options)
    return (
        f"## {heading}\n\n"
        "| option | effect | type | default | environment and ini | options file |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
    )


def _row(option: Option) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in _cells(option))} |"


def _cells(option: Option) -> Iterator[str]:
    yield f"`{option.switch}`" if option.flag else f"`{option.switch} {option.value_name}`"
    only = " (conformance runs only)" if option.suite else ""
    yield option.help + only
    yield _type(option)
    unset = "off" if option.flag else "none"
    yield option.absent or (f"`{option.default}`" if option.default else unset)
    yield f"`{option.variable}`, `{option.key}`"
    yield f"`{option.name}`" if option.in_file else "no"


def _type(option: Option) -> str:
    if option.choices:
        return "choice"
    return PARSERS[option.parse].kind


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
