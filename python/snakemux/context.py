"""What a handler can ask about the call it serves. Any server can fill it in; it knows none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from .errors import Error
from .session import Sessions

logger = logging.getLogger("snakemux")


class Context:
    """One call, as its handler sees it: `command`, `request_id`, `session_id` (None outside a session), `metadata`.

    `metadata` maps the names that the caller sent, in lower case, to text, or to bytes for names ending in `-bin`.
    """

    def __init__(
        self,
        command: str,
        *,
        request_id: str = "",
        session_id: str | None = None,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: float | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.command = command
        self.request_id = request_id
        self.session_id = session_id
        self.metadata: Mapping[str, str | bytes] = metadata if metadata is not None else {}
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._sessions = sessions if sessions is not None else Sessions()
        self._is_ended = False

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None if the call has none."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    @property
    def cancelled(self) -> bool:
        """True once nobody waits for the answer any more: the caller gave up, or the deadline has passed."""
        return self._is_ended or self.time_remaining() == 0

    def check(self) -> None:
        """Raises Error `deadline_exceeded` or `cancelled` once nobody waits for the answer any more."""
        if self.time_remaining() == 0:
            raise Error("deadline_exceeded", f"{self.command} ran past its deadline")
        if self._is_ended:
            raise Error("cancelled", f"the caller of {self.command} gave up")

    def wait(self, seconds: float) -> None:
        """Waits in a thread for so many seconds, less if the call ends before: then it raises as `check` does."""
        remaining = self.time_remaining()
        # Made here, as few ever wait, and to make one takes longer than many a handler.
        event: threading.Event = self.__dict__.setdefault("_waiting", threading.Event())
        if not self._is_ended:  # `end` says so before it looks for somebody who waits
            event.wait(seconds if remaining is None else min(seconds, remaining))
        self.check()

    @property
    def session(self) -> dict[str, Any]:
        """The dict of this call's session, kept from call to call. Raises Error `failed_precondition` outside one."""
        if self.session_id is None:
            raise Error("failed_precondition", f"{self.command} needs a session: call it in one")
        return self._sessions.get(self.session_id)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines name the command and the request."""
        return _CallLog(logger, {"command": self.command, "request_id": self.request_id})

    def end(self) -> None:
        """Says that nobody waits any more; called by the server, from any thread."""
        self._is_ended = True
        if event := self.__dict__.get("_waiting"):
            event.set()


class _CallLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        extra = self.extra or {}
        return f"{extra['command']} [{extra['request_id']}] {msg}", kwargs
