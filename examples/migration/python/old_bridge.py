"""The old way to run them: frames on stdin and stdout. Nobody needs this file after step 3."""

import json
import struct
import sys

from my_bridge import MyHandler


def main():
    handler = MyHandler()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while len(header := stdin.read(4)) == 4:
        request = json.loads(stdin.read(struct.unpack(">I", header)[0]))
        reply = {"id": request.get("id"), "timestamp": request.get("timestamp")}
        if request.get("type") == "protocol_negotiation":
            reply = {"type": "protocol_selected", "protocol": "json", "timestamp": request["timestamp"]}
        else:
            try:
                reply |= {"success": True, "result": handler.process_command(request["command"], request["args"])}
            except Exception as error:
                reply |= {"success": False, "error": str(error)}
        frame = json.dumps(reply).encode()
        stdout.write(struct.pack(">I", len(frame)) + frame)
        stdout.flush()


main()
