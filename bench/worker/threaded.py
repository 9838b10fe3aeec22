"""The commands as grpcio's tutorial would serve them: a threaded server with default arguments, no library of ours.

Values are MessagePack, as on the other Python workers, so that the handlers are the same.
"""

import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import msgpack

from snakemux.messages import ExecuteRequest, ExecuteResponse, StreamResponse  # what protoc would have generated


def echo(args: dict[str, Any]) -> dict[str, Any]:
    """Answer the arguments."""
    return args


def chunks(count: int, size: int) -> Iterator[dict[str, Any]]:
    """Stream `count` chunks of `size` bytes."""
    data = "x" * (size - 2)
    for _ in range(count):
        yield {"data": data}


def decode(values: Any) -> dict[str, Any]:
    """Values from their bytes."""
    return {key: msgpack.unpackb(value) for key, value in values.items()}


def encode(values: dict[str, Any]) -> dict[str, bytes]:
    """Values as bytes."""
    return {key: msgpack.packb(value) for key, value in values.items()}


def execute(request: Any, _context: Any) -> Any:
    """The unary method."""
    return ExecuteResponse(success=True, result=encode(echo(decode(request.args))), request_id=request.request_id)


def execute_stream(request: Any, _context: Any) -> Iterator[Any]:
    """The method with a stream of answers."""
    for index, chunk in enumerate(chunks(**decode(request.args))):
        yield StreamResponse(chunk=encode(chunk), chunk_index=index, request_id=request.request_id)


def main(address: str) -> None:
    """Serves until it is killed."""
    request, answer, chunk = (
        ExecuteRequest.FromString,
        ExecuteResponse.SerializeToString,
        StreamResponse.SerializeToString,
    )
    methods = {
        "Execute": grpc.unary_unary_rpc_method_handler(execute, request, answer),
        "ExecuteStream": grpc.unary_stream_rpc_method_handler(execute_stream, request, chunk),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("snakepit.SnakepitBridge", methods),))
    port = server.add_insecure_port(address)
    server.start()
    print(f"GRPC_SERVER_READY_ON_PORT={port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("--address") + 1])
