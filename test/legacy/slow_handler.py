"""A handler of the old kind, with an old base class of its own: what is asked of it is two methods."""

import time


class Slow:
    """Runs in one thread, pings too."""

    def get_supported_commands(self) -> list[str]:
        return ["ping", "sleep"]

    def process_command(self, command: str, args: dict) -> object:
        if command == "ping":
            return {"status": "ok", "echo": args}
        time.sleep(args["seconds"])
        return "slept"
