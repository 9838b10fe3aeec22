"""What a handler says when it fails, and how that travels: owns the error codes, knows no server."""

from __future__ import annotations

import os
import traceback as tracebacks
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .pack import pack

CODES = (
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
)

# A gRPC client refuses a call whose metadata exceeds 8 KiB, in base64 and with the rest of it: stay well below.
MAX_METADATA_BYTES = 5 * 1024
MAX_METADATA_TEXT_BYTES = 1024
MAX_MESSAGE_BYTES = 64 * 1024


class Error(Exception):
    """An error that a handler chooses to answer with.

    `code` is the name of a gRPC status in lower case, such as `"not_found"`; `message` is for people; `details` is
    data for programs: None, booleans, numbers, text, bytes, lists and maps of these, a few KiB at most.
    Raises ValueError if there is no such code.
    """

    def __init__(self, code: str, message: str = "", details: Any = None) -> None:
        if code not in CODES:
            raise ValueError(f"no error code {code!r}: choose one of {', '.join(CODES)}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


@dataclass(frozen=True)
class Failure:
    """One failed call, ready to be sent: the text is for every client, `metadata` for those that want to know more."""

    code: str
    message: str
    type: str = ""
    traceback: str = ""
    details: Any = None

    @classmethod
    def of(cls, exception: BaseException, with_traceback: bool = True) -> Failure:
        """The failure that `exception` stands for: any but `Error` is `unknown`, with its type, text and traceback."""
        name = type(exception).__name__
        if isinstance(exception, Error):
            type_name = "" if type(exception) is Error else name
            message = clip(exception.message or exception.code, MAX_MESSAGE_BYTES)
            return cls(exception.code, message, type_name, details=exception.details)
        lines = tracebacks.format_exception(type(exception), exception, own_frames(exception)) if with_traceback else []
        return cls("unknown", clip(str(exception) or name, MAX_MESSAGE_BYTES), name, "".join(lines))

    def metadata(self) -> bytes:
        """The whole story as one MessagePack map of at most `MAX_METADATA_BYTES`.

        What doesn't fit is cut: of a traceback the end stays, which names the line that failed.
        """
        story: dict[str, Any] = {"code": self.code, "message": clip(self.message, MAX_METADATA_TEXT_BYTES)}
        if self.type:
            story["type"] = clip(self.type, MAX_METADATA_TEXT_BYTES)
        if self.details is not None:
            story["details"] = self.details
            if len(pack(story)) > MAX_METADATA_BYTES:
                story["details"] = "(too large to be sent)"
        if self.traceback:
            room = MAX_METADATA_BYTES - len(pack(story)) - len(pack("traceback")) - 3
            story["traceback"] = clip(self.traceback, room, keep_end=True)
        return pack(story)


def own_frames(exception: BaseException) -> TracebackType | None:
    """The traceback from where this library called the handler: how it got there is of no use to its author."""
    trace = exception.__traceback__
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == os.path.dirname(__file__):
        trace = trace.tb_next
    return trace or exception.__traceback__


def clip(text: str, size: int, keep_end: bool = False) -> str:
    """`text` in at most `size` bytes of valid UTF-8, with an ellipsis where something was cut off."""
    data = text.encode("utf-8", "replace")
    if len(data) <= size:
        return data.decode()
    room = max(size - len("…".encode()), 0)
    if keep_end:
        return "…" + data[len(data) - room :].decode("utf-8", "ignore")
    return data[:room].decode("utf-8", "ignore") + "…"
