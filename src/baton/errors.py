"""The tree of errors.

    BatonError
    ├── UsageError        exit 2   the caller's words are off: unknown flag, version, strategy
    │   └── NothingToDoError       exit 0: it is so already
    ├── ReadError         exit 3   something could not be read: files, AWS, Kubernetes
    │   ├── UnavailableError       ... and trying again later may help (temporary)
    │   └── NotServedError         the API server has no such resource (its CRD or API is not installed)
    ├── RefusedError      exit 1   read and understood, and refused: a gate, a check, an unsafe plan
    └── HaltedError       exit 4   an upgrade under way stopped; the journal says where

Exit code 0 is success; 1 is also "findings". Every message says what and where, and a hint what next.
"""

from __future__ import annotations


class BatonError(Exception):
    """What went wrong, where, and what to do next.

    `where` is a file position, resource address or endpoint; `hint` one sentence in the imperative.
    `temporary` tells whether the same call may succeed later.
    """

    exit_code = 4
    temporary = False

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.hint is None else f"{text}\n\nhint: {self.hint}"


class UsageError(BatonError):
    """The command line or a setting is wrong."""

    exit_code = 2


class NothingToDoError(UsageError):
    """What was asked for is so already. No failure: asking twice is how pipelines work."""

    exit_code = 0


class ReadError(BatonError):
    """A file, AWS or Kubernetes could not be read or understood."""

    exit_code = 3


class UnavailableError(ReadError):
    """A service did not answer; the same call may succeed later."""

    temporary = True


class NotServedError(ReadError):
    """The API server knows no such resource: there can be no objects of it."""


class RefusedError(BatonError):
    """Read and understood, and refused."""

    exit_code = 1


class HaltedError(BatonError):
    """An upgrade under way stopped; nothing more was started."""

    exit_code = 4
