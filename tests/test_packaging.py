"""The wheel is complete: a checkout on the path would hide what is missing from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*PIP, "wheel", *offline, "--no-build-isolation", "--wheel-dir", wheels, ROOT], check=True)
    subprocess.run([*PIP, "install", *offline, "--target", target, *wheels.glob("*.whl")], check=True)
    return target


def run_elsewhere(installed, folder, *command):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("program", ["siltstoned", "siltstone"])
def test_installed_program_runs_from_any_folder(installed, tmp_path, program):
    assert run_elsewhere(installed, tmp_path, installed / "bin" / program, "--help").startswith("Usage: ")


@pytest.mark.parametrize("package", ["daemon", "segments", "query"])
def test_packages_come_from_the_wheel(installed, tmp_path, package):
    """Otherwise the programs above would have been those of the checkout."""
    shown = run_elsewhere(installed, tmp_path, sys.executable, "-c", f"import {package}; print({package}.__file__)")

    assert shown.strip() == str(installed / package / "__init__.py")
