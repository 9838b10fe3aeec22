"""The handlers of the application, as they were written for the old stdin/stdout bridge. They never change."""

import time

from snakemux.legacy import BaseCommandHandler  # before: from the old bridge's own package


class MyHandler(BaseCommandHandler):
    def _register_commands(self):
        self.register_command("ping", lambda args: {"status": "ok", "echo": args})
        self.register_command("score", self.score)
        self.register_command("fail", self.fail)

    def score(self, args):
        words = args["text"].split()
        if not words:
            return {"status": "error", "error": "There is no text"}
        return {"status": "ok", "score": sum(map(len, words)) / len(words), "at": time.time()}

    def fail(self, args):
        raise ValueError(args["text"])
