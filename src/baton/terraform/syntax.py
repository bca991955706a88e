"""Where text stops being HCL: a scan of quotes, heredocs and brackets, made only for a file that does not parse.

A parser that recovers may call the whole file wrong; what a person looks for is the quote, the bracket or the merge
conflict that made it so. Nothing here decides whether a file is valid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLOSES = {")": "(", "]": "[", "}": "{"}
_HEREDOC = re.compile(r"<<-?([^\W\d]\w*)[ \t\r]*\n")
_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |\r?$)", re.M)
_WORD = re.compile(r"[^\W\d][\w-]*(?:\.(?:[^\W\d][\w-]*|\d+|\*))*|\d[\w.]*")
_KEYWORDS = frozenset(("for", "in", "if"))
_NO_COMMA = ("a comma is missing before this", "items of a list and arguments are parted by commas, also across lines")
_BALANCE = "count the braces and brackets from here on"


@dataclass(frozen=True, slots=True)
class Problem:
    """`offset` counts characters of the text, not bytes."""

    offset: int
    message: str
    hint: str


class _Scan:
    """One walk over the text; `open` holds (bracket, offset), `"` and `${` included."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.open: list[tuple[str, int]] = []
        self.value = False  # whether what stands before is a value, so that a further one needs a comma

    def run(self) -> Problem | None:
        while self.at < len(self.text):
            quoted = bool(self.open) and self.open[-1][0] == '"'
            found = self._quoted() if quoted else self._plain()
            if found is not None:
                return found
        return None

    def _quoted(self) -> Problem | None:
        char = self.text[self.at]
        if char == "\n":
            return Problem(self.open[-1][1], "this string is not closed on its line", 'end it with "')
        if char == "\\":
            self.at += 2
        elif self.text.startswith(("$${", "%%{"), self.at):
            self.at += 3
        elif self.text.startswith(("${", "%{"), self.at):
            self.open.append(("{", self.at + 1))
            self.at += 2
        else:
            if char == '"':
                self.open.pop()
                self.value = True
            self.at += 1
        return None

    def _plain(self) -> Problem | None:
        char = self.text[self.at]
        if char == "#" or self.text.startswith("//", self.at):
            self.at = self._after("\n", self.at)
        elif self.text.startswith("/*", self.at):
            self.at = self._after("*/", self.at + 2)
        elif self.text.startswith("<<", self.at):
            return self._heredoc()
        elif (word := _WORD.match(self.text, self.at)) is not None:
            return self._word(word[0])
        else:
            if char in '"([{':
                if char == '"' and self._in_list():
                    return Problem(self.at, *_NO_COMMA)
                self.open.append((char, self.at))
            elif char in _CLOSES:
                return self._close(char)
            self.value = self.value and char.isspace()
            self.at += 1
        return None

    def _in_list(self) -> bool:
        """A value has ended in a list or between parentheses, and no comma or operator came since."""
        return self.value and bool(self.open) and self.open[-1][0] in "[("

    def _word(self, word: str) -> Problem | None:
        if word in _KEYWORDS:
            self.value = False
        elif self._in_list():
            return Problem(self.at, *_NO_COMMA)
        else:
            self.value = True
        self.at += len(word)
        return None

    def _close(self, char: str) -> Problem | None:
        if not self.open:
            return Problem(self.at, f"this {char} closes nothing", "take it out, or look for one too many above it")
        opened, where = self.open[-1]
        if opened != _CLOSES[char]:
            line = self.text.count("\n", 0, where) + 1
            text = f"this {char} does not close the {opened} of line {line}"
            return Problem(self.at, text, f"close the {opened} first")
        self.open.pop()
        self.value = True
        self.at += 1
        return None

    def _heredoc(self) -> Problem | None:
        """What a heredoc's templates hold is left to the parser."""
        start = _HEREDOC.match(self.text, self.at)
        if start is None:
            self.at += 2
            return None
        end = re.compile(rf"^[ \t]*{re.escape(start[1])}[ \t\r]*$", re.M).search(self.text, start.end())
        if end is None:
            return Problem(self.at, "this heredoc is not closed", f"end it with a line that holds {start[1]} alone")
        self.at, self.value = end.end(), True
        return None

    def _after(self, mark: str, start: int) -> int:
        found = self.text.find(mark, start)
        return len(self.text) if found < 0 else found + len(mark)


def first_problem(text: str) -> Problem | None:
    """The first quote, heredoc, bracket or merge conflict that cannot be right; None when these are in order.

    What is still open at the end of the file is not told here: the parser names the block that it belongs to.
    """
    conflict = _CONFLICT.search(text)
    found = _Scan(text).run()
    if conflict is not None and (found is None or conflict.start() <= found.offset):
        return Problem(conflict.start(), "a merge conflict is left here", "resolve it first")
    return found


def last_open(text: str) -> Problem | None:
    """The innermost bracket or quote that is still open at the end of the file."""
    scan = _Scan(text)
    if scan.run() is not None or not scan.open:
        return None
    bracket, where = scan.open[-1]
    return Problem(where, f"this {bracket} is not closed", _BALANCE)
