"""The build step that pyproject.toml can't say: messages come from snakepit.proto, which lives outside."""

import importlib.resources
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
PROTO = Path("proto", "snakepit.proto")


class BuildPy(build_py):
    """Writes the descriptor set that `snakemux.messages` reads: beside the sources when installed editable."""

    def run(self):  # noqa: D102
        super().run()
        package = HERE / "snakemux" if self.editable_mode else Path(self.build_lib, "snakemux")
        write_descriptor_set(package / "snakepit.binpb")


class Sdist(sdist):
    """Takes along what lives outside, so that a source distribution can be built by itself."""

    def make_release_tree(self, base_dir, files):  # noqa: D102
        super().make_release_tree(base_dir, files)
        for name in (PROTO, Path("LICENSE")):
            target = Path(base_dir, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shared(name), target)


def shared(name: Path) -> Path:
    """Where a file of the repository is: in a source distribution here, else one directory up."""
    return HERE / name if (HERE / name).exists() else HERE.parent / name


def write_descriptor_set(target: Path) -> None:
    """Compiles the proto into `target`. Raises SystemExit if it can't be read."""
    from grpc_tools import protoc

    source = shared(PROTO)
    include = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [f"--proto_path={source.parent}", f"--proto_path={include}", f"--descriptor_set_out={target}"]
    if protoc.main(["protoc", *arguments, source.name]) != 0:
        raise SystemExit(f"protoc can't read {source}")


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
