"""What is known about one option: one row of the table of options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pytest_fsmredir.config.parsing import Given


class Option(NamedTuple):
    """One option, and how the user gives it.

    Attributes:
        name: Its name on the command line, without ``--fsm-``.
        help: What it does, in one line, without its default.
        parse: The name of its parser; see :data:`parsing.PARSERS`.
        field: The field of :class:`Settings`, or ``kubernetes.`` and the field of
            :class:`KubernetesSettings`; empty for the options file itself.
        default: The default value.
        absent: What applies without a value, in words, if the default is empty.
        metavar: The name of its value in the help.
        choices: The allowed values; empty for any.
        many: Whether it can be repeated, each time with several values separated by commas.
        in_file: Whether the options file can contain it.
        again: Whether the command that re-runs a failed check must repeat it.
        suite: Whether it applies to conformance runs only; other options apply to fixtures too.
        never_empty: Whether it selects what the run tests. An empty value is a mistake then, such
            as an unset variable, and would make the run test something else.
        united: Whether each source adds to the sources of lower precedence. The value of the field
            then maps each source to its value.
    """

    name: str
    help: str
    parse: str
    field: str = ""
    default: str = ""
    absent: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False
    in_file: bool = True
    again: bool = False
    suite: bool = False
    never_empty: bool = False
    united: bool = False

    @property
    def flag(self) -> bool:
        """Whether it takes no value on the command line."""
        return self.parse == "flag"

    @property
    def is_path(self) -> bool:
        """Whether its value is the path of a file or a directory."""
        return self.parse in ("path", "waivers")

    @property
    def switch(self) -> str:
        """Its name on the command line."""
        return f"--fsm-{self.name}"

    @property
    def key(self) -> str:
        """Name of the ini key, and of the attribute on the command line namespace."""
        return "fsm_" + self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return self.key.upper()

    @property
    def value_name(self) -> str:
        """The name of its value in the help; the allowed values if there are few."""
        return self.metavar or "{" + ",".join(self.choices) + "}"

    @property
    def described(self) -> str:
        """The help text with the default."""
        default = self.absent or self.default
        return f"{self.help} (default: {default})" if default and not self.flag else self.help

    def read(self, given: Given) -> Any:  # noqa: ANN401 - the type of the field
        """Return the value of a text.

        Raises:
            SettingsError: The text is invalid, or empty where that is a mistake.
        """
        from pytest_fsmredir.config import parsing  # a foreign run parses nothing

        if self.never_empty:
            parsing.reject_empty(given)
        if self.choices:
            parsing.reject_other(given, self.choices)
        return parsing.PARSERS[self.parse].read(given)
