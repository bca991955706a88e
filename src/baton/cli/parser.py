"""The argument parser in Baton's manner: text set to the terminal's width, mistakes told like every other error."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from baton.errors import UsageError


class Help(argparse.RawDescriptionHelpFormatter):
    """Prose is set to the width at hand; paragraphs with indented lines (examples, tables) stay as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            textwrap.indent(p, indent)
            if any(line.startswith(" ") for line in p.splitlines())
            else textwrap.fill(" ".join(p.split()), width, initial_indent=indent, subsequent_indent=indent)
            for p in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """Subparsers are of this class, too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        more["formatter_class"] = Help
        super().__init__(*args, **more)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError instead of printing a screenful of usage."""
        raise UsageError(plainly(message), where=self.prog)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's. Raises UsageError; for an option that there is not, with the nearest that there is."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = next((p for p in parsers(self) if p.get_default("run") is getattr(found, "run", None)), self)
            raise UsageError(
                f"there is no {_what(unknown[0])} {unknown[0]}", where=command.prog, hint=_nearest(command, unknown[0])
            )
        return found


def plainly(message: str) -> str:
    """argparse's words without its internals."""
    if message.startswith("the following arguments are required: "):
        return "missing: " + message.removeprefix("the following arguments are required: ")
    if message.startswith("argument COMMAND: invalid choice: "):
        wrong, _, choices = message.removeprefix("argument COMMAND: invalid choice: ").partition(" (choose from ")
        names = [c.strip("' ") for c in choices.rstrip(")").split(",")]
        near = difflib.get_close_matches(wrong.strip("'"), names, 1)
        return f"there is no command {wrong.strip(chr(39))}; " + (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        )
    return message


def _what(text: str) -> str:
    return "option" if text.startswith("-") else "argument"


def _nearest(parser: argparse.ArgumentParser, text: str) -> str | None:
    names: Sequence[str] = [o for action in parser._actions for o in action.option_strings]
    near = difflib.get_close_matches(text.partition("=")[0], names, 1)
    return f"did you mean {near[0]}?" if near else None


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser and those of its commands, the innermost first."""
    found: list[argparse.ArgumentParser] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [p for command in action.choices.values() for p in parsers(command)]
    return [*found, parser]
