"""The build steps that pyproject.toml can't say: the messages of snakepit.proto, and the native server."""

import importlib.resources
import os
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
PROTO = Path("proto", "snakepit.proto")


# What the native server has in common with the port program.
C_SOURCES = [Path("c_src", f"{name}.{kind}") for name in ("util", "timer", "table", "wire") for kind in "ch"]


class BuildPy(build_py):
    """Writes the descriptor set that `snakemux.messages` reads: beside the sources when installed editable."""

    def run(self):  # noqa: D102
        super().run()
        package = HERE / "snakemux" if self.editable_mode else Path(self.build_lib, "snakemux")
        write_descriptor_set(package / "snakepit.binpb")


class BuildExt(build_ext):
    """Builds the native server where a compiler and the headers of libnghttp2 and zlib are; else does without."""

    def run(self):  # noqa: D102
        extension = self.extensions[0]
        extension.sources += [os.path.relpath(shared(path), HERE) for path in C_SOURCES if path.suffix == ".c"]
        extension.include_dirs.append(str(shared(Path("c_src"))))
        super().run()


class Sdist(sdist):
    """Takes along what lives outside, so that a source distribution can be built by itself."""

    def make_release_tree(self, base_dir, files):  # noqa: D102
        super().make_release_tree(base_dir, files)
        for name in (PROTO, Path("LICENSE"), *C_SOURCES):
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


setup(
    cmdclass={"build_py": BuildPy, "build_ext": BuildExt, "sdist": Sdist},
    ext_modules=[
        Extension(
            "snakemux._native",
            sorted(str(path.relative_to(HERE)) for path in HERE.glob("native/*.c")),
            depends=[str(path.relative_to(HERE)) for path in HERE.glob("native/*.h")],
            define_macros=[("_GNU_SOURCE", None)],
            extra_compile_args=["-std=c11", "-fvisibility=hidden", "-pthread"],
            libraries=["nghttp2", "z"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
