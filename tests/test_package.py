"""The package as others meet it: light to import, typed, complete when installed, exactly pinned."""

import importlib.metadata
import importlib.resources
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import vaegan

HEAVY = {"torch", "numpy", "PIL", "lightning_fabric", "tyro", "rich", "safetensors"}


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `statement`."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_import_of_the_package_is_light() -> None:
    assert not modules_after("import vaegan") & HEAVY


def test_every_exported_name_can_be_had() -> None:
    assert set(vaegan.__all__) <= set(dir(vaegan))
    for name in vaegan.__all__:
        assert getattr(vaegan, name) is not None


def test_version_is_that_of_the_metadata() -> None:
    assert vaegan.__version__ == importlib.metadata.version("vaegan")


def test_package_is_marked_as_typed() -> None:
    assert (importlib.resources.files("vaegan") / "py.typed").is_file()


def test_wheel_holds_modules_marker_and_presets(repository: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(repository / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    build = "import setuptools.build_meta as backend, sys; print(backend.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("vaegan-*-py3-none-any.whl"))
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("vaegan/")}
    package = source / "src" / "vaegan"
    patterns = ("*.py", "*.toml", "*.css", "*.js", "py.typed", "page/*")
    expected = {path for pattern in patterns for path in package.rglob(pattern)}
    assert packed == {f"vaegan/{path.relative_to(package).as_posix()}" for path in expected}


class TestConstraints:
    @pytest.fixture
    def pins(self, repository: Path) -> dict[str, str]:
        lines = (repository / "constraints.txt").read_text().splitlines()
        requirements = [line.partition("#")[0].strip() for line in lines]
        return dict(line.split("==") for line in requirements if line)

    def test_are_exact_without_local_builds(self, pins: dict[str, str]) -> None:
        assert pins["torch"] == "2.13.0"
        assert all(re.fullmatch(r"[0-9a-z.]+", version) for version in pins.values())

    def test_pull_in_neither_cuda_nor_torchvision(self, pins: dict[str, str]) -> None:
        assert not [name for name in pins if name.startswith(("nvidia", "cuda", "triton", "torchvision"))]

    def test_cover_everything_that_is_declared(self, repository: Path, pins: dict[str, str]) -> None:
        project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
        declared = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
        names = {normalized(re.split(r"[^\w.-]", requirement)[0]) for requirement in declared}
        assert names <= pins.keys()
