"""The package as a user gets it: a source distribution, built and installed in a clean environment without msgpack."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import HERE, Client, RemoteError, wait_until

SOURCE = HERE.parent

WORKER = """
from snakemux import Error, Worker
worker = Worker()
@worker.command
def refuse():
    raise Error("not_found", "no such model", {"known": ["m0"]})
if __name__ == "__main__":
    worker.run()
"""


def run(*command: str | Path, **options: object) -> None:
    """Runs a command to its end; its output shows only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", directory, SOURCE)
    return next(directory.glob("snakemux-*.tar.gz"))


@pytest.fixture(scope="module")
def clean_python(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the package and what it requires."""
    environment = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", sdist)
    return python


def bare_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "SNAKEMUX_SERVER")}


@pytest.fixture
def installed(clean_python: Path, tmp_path: Path) -> Iterator[Client]:
    """A client of a worker in that environment."""
    script, address = tmp_path / "worker.py", f"unix:{tmp_path}/socket"
    script.write_text(WORKER)
    environment = bare_environment()
    process = subprocess.Popen(
        [clean_python, script, "--address", address], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"GRPC_SERVER_READY_ON_ADDRESS={address}\n"
        yield Client(address)
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_source_distribution_carries_the_proto(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"proto/snakepit.proto", "snakemux/__init__.py", "snakemux/py.typed", "README.md", "LICENSE"} <= names
    assert {"native/module.c", "native/face.h", "c_src/util.c", "c_src/util.h"} <= names


@pytest.mark.timeout(120)
def test_without_msgpack_a_worker_speaks_json_and_still_explains_errors(installed: Client) -> None:
    assert installed.info().capabilities["codecs"] == "json"
    assert installed.info().capabilities["server"] == "native"
    assert installed.execute("echo", codec="json", n=1)["echoed"] == {"n": 1}
    with pytest.raises(RemoteError) as caught:
        installed.execute("refuse", codec="json")
    assert caught.value.story["details"] == {"known": ["m0"]}
    with pytest.raises(RemoteError, match="no codec 'msgpack': this worker speaks json"):
        installed.execute("echo", codec="msgpack")


@pytest.mark.timeout(120)
def test_an_interpreter_without_grpc_names_the_command_that_helps(clean_python: Path, tmp_path: Path) -> None:
    (tmp_path / "grpc.py").write_text("raise ImportError('No module named grpc')")
    (tmp_path / "mine.py").write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [str(clean_python), "-m", "snakemux", "mine", "--server", "aio"]
    answer = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 1
    assert f"{clean_python} -m pip install grpcio protobuf msgpack" in answer.stderr


@pytest.mark.timeout(120)
def test_the_native_server_needs_no_grpc(clean_python: Path, tmp_path: Path) -> None:
    script = (
        "import sys, asyncio; from snakemux import Worker; from snakemux.native import NativeServer;"
        "from snakemux.options import Options; worker = Worker(); server = NativeServer(worker, Options());"
        "assert server.listen() > 0; print([name for name in sys.modules if name in ('grpc', 'google.protobuf')])"
    )
    answer = subprocess.run(
        [str(clean_python), "-c", script], env=bare_environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.stdout == "[]\n", answer.stderr


@pytest.mark.timeout(120)
def test_without_a_compiler_grpc_aio_serves_and_says_so(sdist: Path, clean_python: Path, tmp_path: Path) -> None:
    target = tmp_path / "without"
    environment = {**bare_environment(), "CC": "/bin/false"}
    install = [str(clean_python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run(*install, "--target", target, sdist, env=environment)
    assert not list(target.glob("snakemux/_native*.so"))

    script, address = tmp_path / "worker.py", f"unix:{tmp_path}/socket"
    script.write_text(WORKER)
    environment["PYTHONPATH"] = str(target)
    process = subprocess.Popen(
        [str(clean_python), script, "--address", address], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "the native server can't be used" in line
        assert "grpc.aio serves" in line
        client = Client(address)
        wait_until(lambda: Path(tmp_path, "socket").exists(), "the socket")
        assert client.info().capabilities["server"] == "aio"
    finally:
        process.terminate()
        process.wait(timeout=20)
    answer = subprocess.run(
        [str(clean_python), script, "--server", "native"], env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert "the native server can't be used" in answer.stderr


def test_the_copy_for_the_otp_package_works_without_being_installed(tmp_path: Path) -> None:
    run("make", "-C", SOURCE, "install-priv", f"PRIV_DIR={tmp_path}")
    script = (
        "import json, snakemux; from snakemux.messages import HealthRequest;"
        "print(json.dumps([snakemux.__file__, HealthRequest(worker_id='x').worker_id]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "python")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert json.loads(answer.stdout) == [str(tmp_path / "python" / "snakemux" / "__init__.py"), "x"]
