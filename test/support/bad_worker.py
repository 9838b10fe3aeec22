"""A worker that breaks the rules of HTTP/2, gRPC or protobuf as it is told: the command of a call names the fault.

It speaks through h2, not grpcio, which would not let it. Beside the faults it has good commands, so that a test can see
what else on the same connection suffers. `--health` and `--info` name a fault for those two, `--info-keys N` makes
GetInfo long, `--max-streams N` is HTTP/2's MAX_CONCURRENT_STREAMS, `--mute` accepts connections and never says a word,
`--http1` answers as a web server of the last century, `--no-pings` ends a connection with the first ping,
`--keepalive` announces that it wouldn't. It ends when its stdin does.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import struct
import sys
import time
import zlib
from collections.abc import Awaitable, Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python"))
from snakemux import messages as pb

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
STARTED = time.monotonic()


def framed(message: bytes, flag: int = 0) -> bytes:
    """A gRPC message: flag, length, bytes."""
    return struct.pack(">BI", flag, len(message)) + message


def answer(**values: bytes) -> bytes:
    """A good answer to a unary call."""
    return pb.ExecuteResponse(success=True, result=values).SerializeToString()


def entry(key: bytes, value: bytes) -> bytes:
    """An entry of the map `result`, whatever its bytes are."""
    pair = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x12" + bytes([len(pair)]) + pair


class Call:
    """One stream of HTTP/2, with the means to answer it badly."""

    def __init__(self, peer: Peer, stream: int, path: str) -> None:
        self.peer = peer
        self.stream = stream
        self.method = path.rpartition("/")[2]
        self.body = bytearray()
        self.task: asyncio.Task[None] | None = None

    @property
    def request(self) -> pb.ExecuteRequest:
        session = self.method.startswith("ExecuteInSession")
        body = gzip.decompress(self.body[5:]) if self.body[0] else bytes(self.body[5:])
        return (pb.SessionRequest if session else pb.ExecuteRequest).FromString(body)

    def number(self, name: str, default: int) -> int:
        return int(self.request.args.get(name, b"%d" % default))

    def good(self, **values: bytes) -> bytes:
        """A good message of this method."""
        if self.method.endswith("Stream"):
            return pb.StreamResponse(chunk=values).SerializeToString()
        return answer(**values)

    def headers(self, headers: list[tuple[str, str]], end: bool = False) -> None:
        self.peer.h2.send_headers(self.stream, headers, end_stream=end)
        self.peer.flush()

    def start(self, *more: tuple[str, str]) -> None:
        self.headers([*HEADERS, *more])

    def finish(self, status: str = "0", *more: tuple[str, str]) -> None:
        self.headers([("grpc-status", status), *more], end=True)

    def reset(self, code: int) -> None:
        self.peer.h2.reset_stream(self.stream, code)
        self.peer.flush()

    async def send(self, data: bytes, end: bool = False) -> None:
        await self.peer.send(self.stream, data, end)

    async def reply(self, data: bytes, *more: tuple[str, str]) -> None:
        """A whole unary answer, all in order but for what `data` says."""
        self.start(*more)
        await self.send(data)
        self.finish()


# ---- Good commands ----


async def echo(call: Call) -> None:
    await call.reply(framed(call.good(**dict(call.request.args))))


async def count(call: Call) -> None:
    """A stream of numbers, `count` of them or without end, padded to `size` bytes."""
    pad = b" " * call.number("size", 0)
    call.start()
    for i in range(call.number("count", 1 << 31)):
        await call.send(framed(pb.StreamResponse(chunk={"n": b"%d" % i + pad}).SerializeToString()))
    call.finish()


async def blob(call: Call) -> None:
    await call.reply(blob_of(call.number("size", 1)))


async def zipped(call: Call) -> None:
    body = gzip.compress(call.good(**dict(call.request.args), request_flag=b"%d" % call.body[0]))
    await call.reply(framed(body, 1), ("grpc-encoding", "gzip"))


async def slow(call: Call) -> None:
    await asyncio.sleep(call.number("ms", 1000) / 1000)
    await echo(call)


BLOBS: dict[int, bytes] = {}


def make_bomb() -> bytes:
    """A GiB of zeros, compressed to a MiB: a flushed block stands for itself, so one of 16 MiB is taken 64 times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * 64


BOMB = make_bomb()


def blob_of(size: int) -> bytes:
    """All answers of one size are the same bytes, so that thousands of them cost this process nothing."""
    if size not in BLOBS:
        BLOBS[size] = framed(answer(data=b"x" * size))
    return BLOBS[size]


# ---- Bad messages ----


async def garbage(call: Call) -> None:
    await call.reply(framed(b"\xff\xfe\xfd\xfc" * 10))


async def truncated(call: Call) -> None:
    await call.reply(framed(b"x" * 100)[:20])


async def bad_flag(call: Call) -> None:
    await call.reply(framed(call.good(), 7))


async def unread_encoding(call: Call) -> None:
    await call.reply(framed(call.good(), 1))


async def not_gzip(call: Call) -> None:
    await call.reply(framed(b"this is no gzip", 1), ("grpc-encoding", "gzip"))


async def bomb(call: Call) -> None:
    await call.reply(framed(BOMB, 1), ("grpc-encoding", "gzip"))


async def giant(call: Call) -> None:
    await call.reply(framed(call.good(data=bytes(call.number("size", 1 << 20)))))


async def claims_giant(call: Call) -> None:
    call.start()
    await call.send(struct.pack(">BI", 0, 0xFFFFFFFF))
    await asyncio.Event().wait()


async def bad_key(call: Call) -> None:
    await call.reply(framed(b"\x08\x01" + entry(b"a\xff\xfe", b"1")))


async def nul_key(call: Call) -> None:
    await call.reply(framed(b"\x08\x01" + entry(b"a\0b", b"1") + entry(b"a\0c", b"2")))


async def twice_key(call: Call) -> None:
    await call.reply(framed(b"\x08\x01" + entry(b"a", b"1") + entry(b"a", b"2")))


async def many_entries(call: Call) -> None:
    """A map of empty entries, two bytes each."""
    await call.reply(framed(b"\x08\x01" + b"\x12\0" * call.number("count", 1)))


async def bad_error(call: Call) -> None:
    await call.reply(framed(b"\x1a\x04no\xff\xfe"))


# ---- Bad answers ----


async def html(call: Call) -> None:
    call.headers([(":status", "200"), ("content-type", "text/html")])
    await call.send(b"<html>hello</html>", end=True)


async def http_status(call: Call) -> None:
    call.headers([(":status", call.request.args["status"].decode()), ("content-type", "text/html")])
    await call.send(b"no", end=True)


async def no_message(call: Call) -> None:
    call.start()
    call.finish()


async def two_messages(call: Call) -> None:
    await call.reply(framed(call.good()) + framed(call.good()))


async def no_status(call: Call) -> None:
    call.start()
    await call.send(framed(call.good()), end=True)


async def status(call: Call) -> None:
    args = call.request.args
    message = args.get("message", b"so%20there%FF").decode()
    call.headers([*HEADERS, ("grpc-status", args["status"].decode()), ("grpc-message", message)], end=True)


async def hang_up_politely(call: Call) -> None:
    call.headers([*HEADERS, ("grpc-status", "14"), ("grpc-message", "not now")], end=True)


async def silent(call: Call) -> None:
    await asyncio.Event().wait()


async def early(call: Call) -> None:
    """Headers at once, as some servers send them, then silence."""
    call.start()
    await asyncio.Event().wait()


async def never_closes(call: Call) -> None:
    call.start()
    await call.send(framed(call.good(**dict(call.request.args))))
    await asyncio.Event().wait()


async def error_then_silence(call: Call) -> None:
    call.start()
    reply = pb.StreamResponse if call.method.endswith("Stream") else pb.ExecuteResponse
    await call.send(framed(reply(error="it broke").SerializeToString()))
    await asyncio.Event().wait()


async def final_then_silence(call: Call) -> None:
    call.start()
    for final in (False, True):
        await call.send(framed(pb.StreamResponse(chunk={"x": b"1"}, is_final=final).SerializeToString()))
    await asyncio.Event().wait()


async def talks_after_final(call: Call) -> None:
    call.start()
    for final in (False, True, False, True, False):
        await call.send(framed(pb.StreamResponse(chunk={"x": b"1"}, is_final=final).SerializeToString()))
    call.finish()


async def bad_chunk(call: Call) -> None:
    """One good chunk, one that is no message, and then it goes on for ever."""
    call.start()
    await call.send(framed(pb.StreamResponse(chunk={"x": b"1"}).SerializeToString()))
    await call.send(framed(b"\xff\xfe\xfd"))
    while True:
        await call.send(framed(pb.StreamResponse(chunk={"x": b"1"}).SerializeToString()))


async def bad_base64(call: Call) -> None:
    await call.reply(framed(call.good()), ("x-data-bin", "!!! no base64 !!!"))


async def much_metadata(call: Call) -> None:
    call.start()
    await call.send(framed(call.good()))
    call.finish("0", *[(f"x-{i}", "y" * 1000) for i in range(call.number("kib", 100))])


async def never_end_headers(call: Call, first: bytes, more: bytes) -> None:
    """HEADERS, and then CONTINUATION after CONTINUATION, none of them the last."""
    call.peer.raw(frame(1, 0, call.stream, b"\x88" + first))
    while True:
        call.peer.raw(frame(9, 0, call.stream, more))
        await call.peer.writer.drain()


async def endless_metadata(call: Call) -> None:
    header = b"\x00\x03x-y\x7f\x81\x07" + b"z" * 1024  # a literal, not indexed, of 1,024 bytes
    await never_end_headers(call, header, header * 8)


async def endless_header(call: Call) -> None:
    """One header of 4 GiB."""
    await never_end_headers(call, b"\x00\x03x-y\x7f\x80\xff\xff\xff\x0e", b"z" * 16384)


async def endless_empty_frames(call: Call) -> None:
    await never_end_headers(call, b"", b"")


# ---- Bad HTTP/2 ----


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


async def rst(call: Call) -> None:
    call.reset(call.number("code", 0))


async def rst_after_message(call: Call) -> None:
    call.start()
    await call.send(framed(call.good()))
    call.reset(call.number("code", 0))


async def goaway_unseen(call: Call) -> None:
    """GOAWAY that says: this call was never looked at."""
    call.peer.goaway(call.stream - 2)
    await asyncio.Event().wait()


async def goaway_hang_up(call: Call) -> None:
    """GOAWAY that says that this call was looked at, and the end of the connection in the middle of it."""
    call.peer.goaway(call.stream)
    call.start()
    await asyncio.sleep(0.05)
    call.peer.writer.close()


async def goaway_finish(call: Call) -> None:
    """GOAWAY in the middle of a call that is then answered all the same."""
    call.peer.goaway(call.stream)
    await echo(call)


async def hang_up(call: Call) -> None:
    call.peer.writer.close()


async def overflow(call: Call) -> None:
    """More than the flow-control window allows."""
    call.start()
    for _ in range(1000):
        call.peer.raw(frame(0, 0, call.stream, b"x" * 16384))
    await call.peer.writer.drain()


async def nonsense(call: Call) -> None:
    """Bytes that are no frame: a length of 16 MiB, an unknown kind."""
    call.peer.raw(b"\xff" * 64)


GOOD = [echo, count, blob, zipped, slow]
BAD = [
    garbage, truncated, bad_flag, unread_encoding, not_gzip, bomb, giant, claims_giant, bad_key, nul_key, twice_key,
    many_entries, bad_error, html, http_status, no_message, two_messages, no_status, status, hang_up_politely, silent, early, never_closes,
    error_then_silence, final_then_silence, talks_after_final, bad_chunk, bad_base64, much_metadata, endless_metadata,
    endless_header, endless_empty_frames,
    rst, rst_after_message, goaway_unseen, goaway_hang_up, goaway_finish, hang_up, overflow, nonsense,
]  # fmt: skip
COMMANDS: dict[str, Callable[[Call], Awaitable[None]]] = {command.__name__: command for command in GOOD + BAD}


# ---- The server ----


class Peer:
    """One connection."""

    def __init__(self, options: argparse.Namespace, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.options = options
        self.reader = reader
        self.writer = writer
        self.calls: dict[int, Call] = {}
        self.window = asyncio.Event()
        self.h2 = H2Connection(
            H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        initial = {SettingCodes.MAX_CONCURRENT_STREAMS: options.max_streams, SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20}
        self.h2.local_settings = Settings(client=False, initial_values=initial)

    def flush(self) -> None:
        self.raw(self.h2.data_to_send())

    def raw(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    def goaway(self, last: int) -> None:
        self.raw(frame(7, 0, 0, struct.pack(">II", max(last, 0), 0)))

    async def send(self, stream: int, data: bytes, end: bool = False) -> None:
        at = 0
        while at < len(data):
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data) - at)
            if room <= 0:
                self.window.clear()
                await self.window.wait()
                continue
            self.h2.send_data(stream, data[at : at + room])
            self.flush()
            at += room
            await self.writer.drain()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    async def run(self) -> None:
        self.h2.initiate_connection()
        self.flush()
        try:
            while data := await self.reader.read(1 << 18):
                for event in self.h2.receive_data(data):
                    self.take(event)
                self.flush()
        except (ConnectionError, ProtocolError) as error:
            print(f"connection: {error!r}", file=sys.stderr, flush=True)
        for call in self.calls.values():
            if call.task:
                call.task.cancel()
        self.writer.close()

    def take(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            headers = {bytes(k).decode(): bytes(v).decode("latin-1") for k, v in event.headers}
            self.calls[event.stream_id] = Call(self, event.stream_id, headers[":path"])
        elif isinstance(event, DataReceived):
            self.calls[event.stream_id].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            call = self.calls[event.stream_id]
            call.task = asyncio.get_running_loop().create_task(self.serve(call))
        elif isinstance(event, StreamReset):
            call = self.calls.pop(event.stream_id, None)
            if call and call.task:
                call.task.cancel()
        elif isinstance(event, (WindowUpdated, ConnectionTerminated)):
            self.window.set()
        elif isinstance(event, PingReceived) and self.options.no_pings:
            self.raw(frame(7, 0, 0, struct.pack(">II", 0, 11) + b"too_many_pings"))
            self.writer.close()

    async def serve(self, call: Call) -> None:
        try:
            if call.method == "Health":
                await self.serve_health(call)
            elif call.method == "GetInfo":
                await self.serve_info(call)
            else:
                await COMMANDS[call.request.command](call)
        except (ConnectionError, ProtocolError):
            pass  # the caller has gone, or this worker has broken its own connection: both are what it is for
        self.calls.pop(call.stream, None)

    async def serve_health(self, call: Call) -> None:
        uptime = max(1, int((time.monotonic() - STARTED) * 1000))
        health = pb.HealthResponse(healthy=True, uptime_ms=uptime).SerializeToString()
        if self.options.health:
            call.body += framed(b"")
            await COMMANDS[self.options.health](call)
        else:
            await call.reply(framed(health))

    async def serve_info(self, call: Call) -> None:
        info = pb.InfoResponse(worker_type="bad", supported_commands=list(COMMANDS))
        if self.options.keepalive:
            info.capabilities["keepalive"] = "true"
        info.system_info.update({f"key {i}": "x" for i in range(self.options.info_keys)})
        if self.options.info:
            await COMMANDS[self.options.info](call)
        else:
            await call.reply(framed(info.SerializeToString()))


async def serve(options: argparse.Namespace) -> None:
    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if options.mute:
            await reader.read(-1)
        elif options.http1:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            writer.close()
        else:
            await Peer(options, reader, writer).run()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, limit=1 << 20, backlog=1024)
    print(f"GRPC_SERVER_READY_ON_PORT={server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-streams", type=int, default=1_000_000)
    parser.add_argument("--info-keys", type=int, default=0)
    parser.add_argument("--health", choices=COMMANDS)
    parser.add_argument("--info", choices=COMMANDS)
    parser.add_argument("--mute", action="store_true")
    parser.add_argument("--http1", action="store_true")
    parser.add_argument("--keepalive", action="store_true", help="announces that it allows pings")
    parser.add_argument("--no-pings", action="store_true", help="the first one ends the connection")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
