"""Commands, arguments, context, options, and the helpers for tests: all that needs no server."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from snakemux import Context, Error, Worker
from snakemux.handler import Handler
from snakemux.options import Options, parse
from snakemux.testing import call, started


def sync_function() -> None: ...
async def async_function() -> None: ...
def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("function", "is_async", "is_stream"),
    [
        (sync_function, False, False),
        (async_function, True, False),
        (generator, False, True),
        (async_generator, True, True),
        (partial(async_generator), True, True),
    ],
)
def test_the_kind_of_a_function(function: Callable[..., Any], is_async: bool, is_stream: bool) -> None:
    handler = Handler("x", function)
    assert (handler.is_async, handler.is_stream) == (is_async, is_stream)


def bind(function: Callable[..., Any], **args: Any) -> Any:
    return Handler("f", function).call(args, lambda: Context("f"))


def test_arguments_bind_by_name() -> None:
    assert bind(lambda a, b=2: (a, b), a=1) == (1, 2)
    assert bind(lambda a, *, b: (a, b), b=1, a=2) == (2, 1)
    assert bind(lambda **rest: rest, a=1, b=2) == {"a": 1, "b": 2}
    assert bind(lambda: 7) == 7


def test_a_single_parameter_called_args_takes_all() -> None:
    assert bind(lambda args: args, a=1, args=2) == {"a": 1, "args": 2}
    assert bind(lambda args, ctx: (args, ctx.command), a=1) == ({"a": 1}, "f")
    assert bind(lambda args, more: (args, more), args=1, more=2) == (1, 2)


def test_the_context_is_found_by_name_or_annotation() -> None:
    def annotated(context: Context, a: int) -> Any:
        return context.command, a

    def quoted(context: "Context") -> Any:
        return context.command

    assert bind(annotated, a=1) == ("f", 1)
    assert bind(quoted) == "f"
    assert bind(lambda ctx: ctx.command) == "f"


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (lambda a, b: 0, {}, "f: missing arguments 'a', 'b' (it takes a, b)"),
        (lambda a: 0, {"b": 1}, "f: missing argument 'a' (it takes a)"),
        (lambda: 0, {"a": 1}, "f: unknown argument 'a' (it takes none)"),
        (lambda ctx, **rest: 0, {"ctx": 1}, "f: unknown argument 'ctx' (it takes none)"),
    ],
)
def test_wrong_arguments_are_named(function: Callable[..., Any], args: dict[str, Any], message: str) -> None:
    with pytest.raises(Error) as caught:
        bind(function, **args)
    assert (caught.value.code, caught.value.message) == ("invalid_argument", message)


def test_parameters_without_a_name_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="f: arguments come by name, which a can't take"):
        Handler("f", lambda a, /: 0)
    with pytest.raises(TypeError, match=r"f: arguments come by name, which \*more can't take"):
        Handler("f", lambda *more: 0)


def test_commands_have_names_of_their_own() -> None:
    worker = Worker()

    @worker.command
    def first() -> int:
        return 1

    @worker.command(name="second")
    def other() -> int:
        return 2

    @worker.command
    def ping() -> str:
        return "mine"

    assert (first(), other()) == (1, 2)  # still plain functions
    assert [call(worker, name) for name in ("first", "second", "ping")] == [1, 2, "mine"]
    assert worker.commands == ["first", "second", "ping", "echo", "compute", "info", "ping_stream"]
    with pytest.raises(ValueError, match="there is a command 'first' already"):
        worker.command(first)
    with pytest.raises(ValueError, match=r"the name 'snakemux\.x' is reserved"):
        worker.command(name="snakemux.x")(first)


def test_time_remaining_and_the_end_of_a_call() -> None:
    context = Context("f")
    assert context.time_remaining() is None
    assert not context.cancelled
    context.check()
    context.end()
    assert context.cancelled
    with pytest.raises(Error, match="cancelled: the caller of f gave up"):
        context.check()

    late = Context("f", timeout=0)
    assert (late.time_remaining(), late.cancelled) == (0, True)
    with pytest.raises(Error, match="deadline_exceeded: f ran past its deadline"):
        late.check()


def test_wait_ends_with_the_time_the_deadline_or_the_call() -> None:
    Context("f", timeout=60).wait(0.001)
    with pytest.raises(Error, match="deadline_exceeded"):
        Context("f", timeout=0.01).wait(60)
    context = Context("f")
    threading.Timer(0.01, context.end).start()
    began = time.monotonic()
    with pytest.raises(Error, match="cancelled"):
        context.wait(60)
    assert time.monotonic() - began < 30


def test_options_come_from_the_worker_and_the_command_line() -> None:
    assert parse([], Options()) == (Options(), None)
    options, worker = parse(
        ["mine:w", "--port", "5", "--max-message", "2MiB", "--no-traceback"], Options(threads=1), True
    )
    assert worker == "mine:w"
    assert options == Options("127.0.0.1:5", threads=1, max_message=2 * 1024 * 1024, traceback=False)
    assert parse(["--address", "unix:/x"], Options())[0].is_unix
    with pytest.raises(TypeError, match="thread"):
        Worker(thread=1)


@pytest.mark.parametrize(
    "argv", [["--port", "70000"], ["--port", "1", "--address", "x:1"], ["--max-message", "big"], ["--max-mess", "1"]]
)
def test_wrong_options_end_the_process(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv, Options())
    assert caught.value.code == 2
    assert argv[0] in capsys.readouterr().err


def test_call_gives_what_a_caller_would_receive() -> None:
    worker = Worker()

    @worker.command
    def pair(a: int, b: int) -> tuple[int, int]:
        return (a, b)

    @worker.command
    async def chunks(ctx: Context) -> AsyncIterator[Any]:
        yield ctx.metadata["user"]
        yield {"left": ctx.time_remaining() is not None}

    @worker.command
    def visits(ctx: Context) -> int:
        ctx.session["n"] = ctx.session.get("n", 0) + 1
        number: int = ctx.session["n"]
        return number

    assert call(worker, "pair", a=1, b=2) == [1, 2]
    assert call(worker, "chunks", _metadata={"user": "ada"}, _timeout=5) == ["ada", {"left": True}]
    assert [call(worker, "visits", _session=name) for name in "aab"] == [1, 2, 1]
    assert call(worker, "ping_stream", count=1, interval=0)[0]["index"] == 0
    with pytest.raises(Error, match=r"args\.a: set can't be encoded as msgpack"):
        call(worker, "pair", a=set(), b=1)
    with pytest.raises(Error, match="no command 'nope'"):
        call(worker, "nope")


def test_started_runs_the_hooks_in_order() -> None:
    worker = Worker()
    order = []
    worker.on_start(lambda: order.append("start 1"))
    worker.on_start(lambda: order.append("start 2"))
    worker.on_stop(lambda: order.append("stop 1"))
    worker.on_stop(lambda: order.append("stop 2"))
    with started(worker):
        order.append("work")
    assert order == ["start 1", "start 2", "work", "stop 2", "stop 1"]
