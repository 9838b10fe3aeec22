"""Serves a worker over gRPC with grpc.aio: messages to calls, outcomes to messages. The only file that imports grpc."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio

from . import codec, lifecycle, messages
from .call import Call, Outcome, Request
from .errors import Error, Failure
from .options import Options
from .runner import Runner, Send
from .version import __version__
from .worker import Worker

SERVICE = "snakepit.SnakepitBridge"
ERROR_KEY = "snakemux-error-bin"
STATUS = {status.name.lower(): status for status in grpc.StatusCode}


class AioServer:
    """The server of `snakemux.lifecycle`."""

    name = "aio"

    def __init__(self, worker: Worker, options: Options) -> None:
        self._options = options
        self._runner = Runner(options.threads, options.max_concurrent, options.stuck_grace)
        self._server = grpc.aio.server(options=_server_options(options.max_message))
        self._server.add_generic_rpc_handlers((Bridge(worker, self._runner, options).methods(),))

    def listen(self) -> int:
        """Takes the address: the port. Raises OSError."""
        try:
            port: int = self._server.add_insecure_port(self._options.address)
        except RuntimeError as error:
            raise OSError(str(error)) from None
        return port

    async def start(self) -> None:
        """Begins to serve."""
        await self._server.start()

    async def stop(self, grace: float) -> bool:
        """Lets running calls go on for `grace` seconds. False if a handler still runs that can't be ended."""
        await self._server.stop(grace)
        return await self._runner.close()


def _server_options(max_message: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message),
        ("grpc.max_send_message_length", max_message),
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.so_reuseport", 0),  # else two workers could share a port without noticing
        # Clients may ping as often as they like: `keepalive` is announced.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


class Bridge:
    """The methods of the service. Health and GetInfo answer at once, whatever the handlers do."""

    def __init__(self, worker: Worker, runner: Runner, options: Options) -> None:
        self._worker = worker
        self._runner = runner
        self._options = options

    def methods(self) -> grpc.GenericRpcHandler:
        """The service as grpc wants it, without generated code."""

        def unary(method: Any, request: Any, response: Any) -> grpc.RpcMethodHandler[Any, Any]:
            return grpc.unary_unary_rpc_method_handler(method, request.FromString, response.SerializeToString)

        def stream(method: Any, request: Any) -> grpc.RpcMethodHandler[Any, Any]:
            response = messages.StreamResponse.SerializeToString
            return grpc.unary_stream_rpc_method_handler(method, request.FromString, response)

        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Execute": unary(self._execute, messages.ExecuteRequest, messages.ExecuteResponse),
                "ExecuteStream": stream(self._execute_stream, messages.ExecuteRequest),
                "ExecuteInSession": unary(self._execute, messages.SessionRequest, messages.ExecuteResponse),
                "ExecuteInSessionStream": stream(self._execute_stream, messages.SessionRequest),
                "Health": unary(self._health, messages.HealthRequest, messages.HealthResponse),
                "GetInfo": unary(self._get_info, messages.InfoRequest, messages.InfoResponse),
            },
        )

    async def _execute(self, request: Any, context: Any) -> Any:
        outcome = await self._run(request, context)
        answer = messages.ExecuteResponse(timestamp=time.time_ns(), request_id=request.request_id)
        if isinstance(outcome, Failure):
            # The status stays OK: clients of the first generation read `success`, others the metadata.
            answer.error = outcome.message
            context.set_trailing_metadata(((ERROR_KEY, outcome.metadata()),))
        else:
            answer.success = True
            answer.result.update(codec.join(outcome))
        return answer

    async def _execute_stream(self, request: Any, context: Any) -> None:
        begun = written = 0

        async def send(chunk: Mapping[str, codec.Encoded]) -> None:
            nonlocal begun, written
            begun += 1
            await context.write(self._chunk(request, written, chunk=codec.join(chunk)))
            written += 1

        outcome = await self._run(request, context, send)
        error = ""
        if isinstance(outcome, Failure):
            error = outcome.message
            context.set_trailing_metadata(((ERROR_KEY, outcome.metadata()),))
            if begun > written:
                # The consumer doesn't read: behind the chunk under way only a status can go out.
                # Or not even that, if the consumer's deadline was the faster one.
                with contextlib.suppress(grpc.aio.InternalError):
                    await context.abort(STATUS[outcome.code], error)
                return
        await context.write(self._chunk(request, written, is_final=True, error=error))

    @staticmethod
    def _chunk(request: Any, index: int, **fields: Any) -> Any:
        return messages.StreamResponse(
            timestamp=time.time_ns(), request_id=request.request_id, chunk_index=index, **fields
        )

    async def _run(self, request: Any, context: Any, send: Send | None = None) -> Outcome:
        stats = self._worker.stats
        stats.begin()
        outcome: Outcome
        try:
            call = Call(self._worker, _request(request, context), self._options)
        except Error as error:
            outcome = Failure.of(error)
        else:
            outcome = await self._runner.run(call, send)
        if isinstance(outcome, Failure):
            stats.fail()
        return outcome

    async def _health(self, request: Any, _context: Any) -> Any:
        stats = self._worker.stats
        return messages.HealthResponse(
            healthy=self._runner.healthy,
            worker_id=request.worker_id,
            uptime_ms=int(stats.uptime * 1000),
            total_requests=stats.requests,
            total_errors=stats.errors,
            version=__version__,
        )

    async def _get_info(self, request: Any, _context: Any) -> Any:
        worker, stats = self._worker, self._worker.stats
        info = messages.InfoResponse(
            worker_type="python",
            version=worker.version or __version__,
            supported_commands=worker.commands,
            system_info=lifecycle.system_info(),
        )
        if request.include_capabilities:
            info.capabilities.update(lifecycle.capabilities(worker, self._options, AioServer.name))
        if request.include_stats:
            uptime = stats.uptime
            info.stats.requests_handled = stats.requests
            info.stats.requests_failed = stats.errors
            info.stats.uptime_ms = int(uptime * 1000)
            info.stats.memory_usage_bytes = _memory_usage()
            info.stats.cpu_usage_percent = 100 * time.process_time() / uptime
            info.stats.active_sessions = len(worker.sessions)
        return info


def _request(request: Any, context: Any) -> Request:
    timeouts = [context.time_remaining(), request.timeout_ms / 1000 if request.timeout_ms > 0 else None]
    return Request(
        command=request.command,
        args=request.args,
        request_id=request.request_id,
        session_id=getattr(request, "session_id", None) or None,
        metadata=dict(context.invocation_metadata() or ()),
        timeout=min((timeout for timeout in timeouts if timeout is not None), default=None),
    )


def _memory_usage() -> int:
    """The resident memory of this process in bytes; 0 where that can't be read."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
