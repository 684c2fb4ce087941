"""The lock files: what an image is built from is what the tests run with."""

import re
import tomllib

from netlab.topology import REPOSITORY

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def pins(path: str) -> dict[str, str]:
    return dict(PIN.findall((REPOSITORY / path).read_text()))


def test_the_image_has_the_versions_that_are_tested() -> None:
    image, tested = pins("deploy/requirements.lock"), pins("requirements.lock")
    assert image
    assert image.items() <= tested.items()


def test_the_image_has_every_dependency_and_no_tool_of_development() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    names = {re.split(r"[<>=;\[ ]", requirement)[0].lower() for requirement in project["project"]["dependencies"]}
    image = pins("deploy/requirements.lock")
    assert names <= image.keys()
    assert not {"pytest", "mypy", "ruff", "hypothesis"} & image.keys()
