"""A worker as a process: addresses, readiness, failures at the start, signals, its output."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from client import HERE, LIBRARY, Client, WorkerProcess, wait_until


def worker_module(directory: Path, body: str) -> dict[str, str]:
    """Writes a module `mine` with a worker, and gives the environment that finds it."""
    (directory / "mine.py").write_text(
        f"import asyncio, os, sys\nfrom snakemux import Worker\nworker = Worker()\n{body}\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(LIBRARY), str(directory)])}


def test_port_0_chooses_one_and_tells_it() -> None:
    with WorkerProcess("--port", "0") as process:
        assert process.ready().execute("double", x=1) == 2
        line = next(line for line in process.lines if line.startswith("GRPC_SERVER_READY_ON_PORT="))
        assert int(line.split("=")[1]) > 0


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    with WorkerProcess() as process:
        process.ready()
        tables = [Path(f"/proc/{process.process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        port = int(next(line for line in process.lines if "READY" in line).split("=")[1])
        sockets = [line.split()[1] for table in tables for line in table.splitlines()[1:] if line.split()[3] == "0A"]
        ours = [where for where in sockets if where.endswith(f":{port:04X}")]
        assert [where.removeprefix("0000000000000000FFFF0000") for where in ours] == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
def test_it_listens_where_it_is_told(address: str) -> None:
    with WorkerProcess("--address", address) as process:
        process.ready()
        port = next(line for line in process.lines if line.startswith("GRPC_SERVER_READY_ON_PORT=")).split("=")[1]
        client = Client(address.replace(":0", f":{port.strip()}"))
        assert client.execute("double", x=1) == 2


# A host that is this machine twice, and a machine that is not here; one of them is named again, as glibc may do.
SEVERAL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

typedef int Ask(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
    const char *several[] = {"192.0.2.1", "127.0.0.1", "127.0.0.1", "127.0.0.2"};
    Ask *ask = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!host || strcmp(host, "several") != 0)
        return ask(host, port, hints, found);
    for (int i = 0; i < 4; i++, found = &(*found)->ai_next)
        if (ask(several[i], port, hints, found) != 0)
            return EAI_FAIL;
    return 0;
}
"""


@pytest.fixture
def several(tmp_path: Path) -> dict[str, str]:
    """An environment with a host `several`, which has several addresses."""
    (tmp_path / "several.c").write_text(SEVERAL)
    command = ["cc", "-shared", "-fPIC", "-o", "several.so", "several.c", "-ldl"]
    subprocess.run(command, cwd=tmp_path, check=True)
    return {"LD_PRELOAD": str(tmp_path / "several.so"), "GRPC_DNS_RESOLVER": "native"}


def port_of(process: WorkerProcess) -> int:
    return int(next(line for line in process.lines if "READY_ON_PORT" in line).split("=")[1])


def test_it_listens_on_all_addresses_of_a_host_with_one_port(several: dict[str, str]) -> None:
    with WorkerProcess("--address", "several:0", env=several) as process:
        process.ready()
        for host in ("127.0.0.1", "127.0.0.2"):
            assert Client(f"{host}:{port_of(process)}").execute("double", x=1) == 2
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.3", port_of(process)))
        process.process.terminate()
        assert process.wait() == 0


def test_every_address_has_to_be_asked_for() -> None:
    with WorkerProcess("--address", ":0") as process:
        assert process.wait() == 1
        assert "can't listen on :0" in process.log_text()
    with WorkerProcess("--address", "[::]:0") as process:
        process.ready()
        for host in ("127.0.0.1", "[::1]"):
            assert Client(f"{host}:{port_of(process)}").execute("double", x=1) == 2


@pytest.mark.skipif(os.environ.get("SNAKEMUX_SERVER") == "aio", reason="grpcio serves at the others all the same")
def test_a_host_that_is_half_taken_ends_the_worker_with_a_message(several: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        address = f"several:{taken.getsockname()[1]}"
        with WorkerProcess("--address", address, env=several) as process:
            assert process.wait() == 1
            assert f"can't listen on {address}: Address already in use" in process.log_text()
            assert process.lines == []


def test_commands_that_come_later_are_announced_and_run_like_others(tmp_path: Path) -> None:
    body = """
import threading
def where(): return threading.current_thread().name
async def where_async(): return where()
@worker.command
def learn(name, is_async): worker.command(name=name)(where_async if is_async else where)
"""
    env = worker_module(tmp_path, body)
    with WorkerProcess("--port", "0", "--threads", "2", module="mine", env=env) as process:
        client = process.ready()
        info = client.info()
        assert info.supported_commands == ["learn", "ping", "echo", "compute", "info", "ping_stream"]
        assert info.capabilities["max_concurrent"] == "2"
        client.execute("learn", name="ping", is_async=False)
        client.execute("learn", name="later", is_async=True)
        info = client.info()
        assert info.supported_commands == ["learn", "ping", "later", "echo", "compute", "info", "ping_stream"]
        assert info.capabilities["max_concurrent"] == "100"
        assert client.execute("ping") != "MainThread"
        assert client.execute("later") == "MainThread"


def test_a_unix_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with WorkerProcess("--address", f"unix:{path}") as process:
        client = process.ready()
        assert f"GRPC_SERVER_READY_ON_ADDRESS=unix:{path}\n" in process.lines
        assert client.execute("double", x=1) == 2
        process.process.terminate()
        assert process.wait() == 0
        assert not path.exists()


def test_a_taken_port_ends_the_worker_with_a_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with WorkerProcess("--port", str(port)) as process:
            assert process.wait() == 1
            assert f"can't listen on 127.0.0.1:{port}" in process.log_text()
            assert process.lines == []


def test_two_workers_never_share_a_port() -> None:
    with WorkerProcess("--port", "0") as first:
        first.ready()
        port = next(line for line in first.lines if "READY" in line).split("=")[1].strip()
        with WorkerProcess("--port", port) as second:
            assert second.wait() == 1


def test_a_failing_on_start_ends_the_worker_with_its_traceback(tmp_path: Path) -> None:
    env = worker_module(tmp_path, "@worker.on_start\ndef load():\n    raise OSError('no model file')")
    with WorkerProcess("--port", "0", module="mine", env=env) as process:
        assert process.wait() == 1
        assert "raise OSError('no model file')" in process.log_text()
        assert process.lines == []


def test_readiness_waits_for_on_start(tmp_path: Path) -> None:
    body = (
        "@worker.on_start\nasync def load():\n    await asyncio.sleep(0)\n    worker.state.x = 7\n    print('loaded')\n"
    )
    body += "@worker.command\ndef get():\n    return worker.state.x"
    with WorkerProcess("--port", "0", module="mine:worker", env=worker_module(tmp_path, body)) as process:
        assert process.ready().execute("get") == 7
        assert process.lines[0] == "loaded\n"


def test_the_readiness_line_stays_whole_whatever_threads_print(tmp_path: Path) -> None:
    body = "import threading\ndef chatter():\n    while True:\n        sys.stdout.write('x' * 50 + '\\n')\n"
    body += "@worker.on_start\ndef load():\n    threading.Thread(target=chatter, daemon=True).start()"
    with WorkerProcess("--port", "0", module="mine", env=worker_module(tmp_path, body)) as process:
        assert process.ready().execute("ping")["status"] == "ok"


def test_a_closed_stdout_harms_nothing(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket"
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemux", "mine", "--address", address],
        env={**os.environ, **worker_module(tmp_path, "")},
        stdout=writing,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        client = Client(address)
        grpc.channel_ready_future(client.channel).result(timeout=20)
        assert client.execute("ping")["status"] == "ok"
    finally:
        process.kill()
        process.wait()


def test_sigterm_lets_running_calls_finish(tmp_path: Path) -> None:
    path = tmp_path / "released"
    with WorkerProcess("--port", "0") as process:
        client = process.ready()
        stream = iter(client.stream("hold_for_file", name="h", path=str(path)))
        assert next(stream) == "begun"
        process.process.terminate()
        wait_until(lambda: refuses(client), "the worker to stop taking calls")
        path.touch()
        assert list(stream) == ["done"]
        assert process.wait() == 0
        assert process.lines[-1] == "stopped with loaded\n"


def test_sigterm_cancels_what_outlasts_the_grace() -> None:
    with WorkerProcess("--port", "0", "--stop-grace", "0.2") as process:
        client = process.ready()
        calls = [client.future("hold", name="h"), client.future("hold_async", name="a")]
        flood = iter(client.stream("flood", name="f", size=1024))
        next(flood)
        client.wait_for_mark("h", "running")
        client.wait_for_mark("a", "running")
        process.process.send_signal(signal.SIGINT)
        for call in calls:
            with pytest.raises(grpc.RpcError):
                call()
        with pytest.raises(grpc.RpcError):
            list(flood)
        assert process.wait() == 0
        assert process.lines[-1] == "stopped with loaded\n"


def test_a_second_sigterm_ends_it_at_once() -> None:
    with WorkerProcess("--port", "0", "--stop-grace", "60") as process:
        client = process.ready()
        call = client.future("hold", name="h")
        client.wait_for_mark("h", "running")
        process.process.terminate()
        # It refuses new calls, so it has seen the first signal.
        wait_until(lambda: refuses(client), "the worker to stop taking calls")
        process.process.terminate()
        assert process.wait() == -signal.SIGTERM
        with pytest.raises(grpc.RpcError):
            call()


def refuses(client: Client) -> bool:
    try:
        client.health(timeout=1)
    except grpc.RpcError:
        return True
    return False


def test_a_failing_on_stop_shows_in_log_and_exit_code(tmp_path: Path) -> None:
    env = worker_module(tmp_path, "@worker.on_stop\ndef unload():\n    raise OSError('disk full')")
    with WorkerProcess("--port", "0", module="mine", env=env) as process:
        process.ready()
        process.process.terminate()
        assert process.wait() == 1
        assert "disk full" in process.log_text()


def test_a_worker_module_can_be_run_by_itself() -> None:
    with WorkerProcess("--help") as process:
        assert process.wait() == 0
    command = [sys.executable, str(HERE / "sample_worker.py"), "--threads", "0"]
    answer = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(HERE.parent)}, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "argument --threads: must be at least 1" in answer.stderr


def test_a_module_without_a_worker_says_so() -> None:
    with WorkerProcess(module="json:loads") as process:
        assert process.wait() == 1
        assert "json has no Worker called 'loads'" in process.log_text()


def test_without_tracebacks_callers_see_none() -> None:
    with WorkerProcess("--port", "0", "--no-traceback") as process:
        client = process.ready()
        with pytest.raises(Exception, match="unknown: oh") as caught:
            client.execute("fail", text="oh")
        assert "traceback" not in caught.value.story  # type: ignore[attr-defined]
        wait_until(lambda: "raise ValueError(text)" in process.log_text(), "the traceback in the log")


def test_a_message_over_the_limit_names_both_numbers() -> None:
    with WorkerProcess("--port", "0", "--max-message", "1MiB") as process:
        client = process.ready()
        with pytest.raises(Exception, match=r"result of 2\d{6} bytes exceeds max_message, 1048576 bytes: .* a stream"):
            client.execute("blob", size=2_000_000)
        with pytest.raises(Exception, match=r"chunk of 2\d{6} bytes exceeds max_message, 1048576 bytes: .* smaller"):
            list(client.stream("flood", name="big", size=2_000_000))
        with pytest.raises(grpc.RpcError) as caught:
            client.execute("whole", data=bytes(2_000_000))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(client.execute("blob", size=1_000_000)["blob"]) == 1_000_000


def test_pings_are_welcome() -> None:
    with WorkerProcess("--port", "0") as process:
        process.ready()
        port = next(line for line in process.lines if "READY" in line).split("=")[1].strip()
        options = [
            ("grpc.keepalive_time_ms", 1000),
            ("grpc.keepalive_timeout_ms", 1000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        client = Client(f"127.0.0.1:{port}", options=options)
        # Seven pings go out while nothing is sent; a server that counts them says too_many_pings after two.
        call = client.future("hold", name="h", timeout=7.0)
        with pytest.raises(Exception, match=r"(?i)deadline"):
            call()
        assert client.execute("double", x=1) == 2
