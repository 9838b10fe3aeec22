"""The memory of sessions: one dict for each, kept by this process until the session ends."""

from __future__ import annotations

import threading
from typing import Any


class Sessions:
    """All live sessions of a worker; safe to use from any thread."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: str) -> dict[str, Any]:
        """The dict of a session, which begins with its first use."""
        with self._lock:
            return self._sessions.setdefault(session_id, {})

    def end(self, session_id: str) -> dict[str, Any] | None:
        """Forgets a session; returns what it held, or None if it never began. Running calls keep their dict."""
        with self._lock:
            return self._sessions.pop(session_id, None)
