"""A worker of the old kind, as small as it can be: frames on stdin and stdout, JSON or MessagePack by negotiation.

    legacy_worker.py [--protocol auto|json|msgpack] [--mode X] [--quiet] [--old]

`--old` is the first version, which knows no negotiation: it answers that frame as if it were a command.
"""

from __future__ import annotations

import json
import os
import platform
import struct
import sys
import time
from datetime import datetime
from typing import Any

import msgpack

STARTED = time.time()
COMMANDS = ["ping", "echo", "compute", "info", "fail", "sleep", "leave", "value", "bytes"]


class Bridge:
    """The commands, and how many there were."""

    def __init__(self) -> None:
        self.requests = 0

    def run(self, command: str | None, args: Any) -> Any:
        self.requests += 1
        if command == "ping":
            return {
                "status": "ok",
                "bridge_type": "generic",
                "uptime": time.time() - STARTED,
                "requests_handled": self.requests,
                "timestamp": time.time(),
                "python_version": sys.version,
                "worker_id": args.get("worker_id", "unknown"),
                "echo": args,
            }
        if command == "echo":
            return {"status": "ok", "echoed": args, "timestamp": time.time()}
        if command == "compute":
            return self.compute(args.get("operation", "add"), args.get("a", 0), args.get("b", 0))
        if command == "info":
            return {
                "status": "ok",
                "bridge_info": {
                    "name": "Generic Bridge",
                    "version": "1.0.0",
                    "supported_commands": COMMANDS,
                    "uptime": time.time() - STARTED,
                    "total_requests": self.requests,
                },
                "system_info": {"python_version": sys.version, "platform": platform.system().lower()},
                "timestamp": time.time(),
            }
        if command == "fail":
            raise ValueError(args["text"])
        if command == "sleep":
            time.sleep(args["seconds"])
            return {"status": "ok", "pid": os.getpid()}
        if command == "leave":
            os._exit(3)
        if command == "value":
            return args["value"]
        if command == "bytes":
            return {"data": b"x" * args["size"]} if args.get("binary") else {"data": "x" * args["size"]}
        known = {"supported_commands": COMMANDS, "timestamp": time.time()}
        return {"status": "error", "error": f"Unknown command: {command}", **known}

    def compute(self, operation: str, a: Any, b: Any) -> Any:
        operations = {
            "add": lambda: a + b,
            "subtract": lambda: a - b,
            "multiply": lambda: a * b,
            "divide": lambda: a / b,
        }
        if operation == "divide" and b == 0:
            return {"status": "error", "error": "Division by zero", "timestamp": time.time()}
        if operation not in operations:
            return {"status": "error", "error": f"Unsupported operation: {operation}", "timestamp": time.time()}
        return {
            "status": "ok",
            "operation": operation,
            "inputs": {"a": a, "b": b},
            "result": operations[operation](),
            "timestamp": time.time(),
        }


def main() -> None:
    bridge = Bridge()
    old = "--old" in sys.argv
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while len(header := stdin.read(4)) == 4:
        frame = stdin.read(struct.unpack(">I", header)[0])
        is_json = frame[:1] == b"{"
        request = json.loads(frame) if is_json else msgpack.unpackb(frame, strict_map_key=False)
        now = datetime.now().isoformat()
        if request.get("type") == "protocol_negotiation" and not old:
            wanted = sys.argv[sys.argv.index("--protocol") + 1] if "--protocol" in sys.argv else request["preferred"]
            reply = {
                "type": "protocol_selected",
                "protocol": "json" if wanted == "json" else "msgpack",
                "timestamp": now,
            }
        else:
            reply = {"id": request.get("id")}
            try:
                reply |= {"success": True, "result": bridge.run(request.get("command"), request.get("args"))}
            except Exception as error:
                reply |= {"success": False, "error": str(error)}
            reply["timestamp"] = now
        answer = json.dumps(reply).encode() if is_json else msgpack.packb(reply)
        stdout.write(struct.pack(">I", len(answer)) + answer)
        stdout.flush()


if __name__ == "__main__":
    main()
