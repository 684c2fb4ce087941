"""Where the control plane's programs come from: KUBEBUILDER_ASSETS with what it usually holds, or with too little."""

import subprocess
from pathlib import Path

import pytest
from netlab.control_plane import BUILD, ControlPlane, find_programs
from netlab.kube import ProgramsMissing, lab_programs

pytestmark = pytest.mark.apiserver

USUAL = ("etcd", "kube-apiserver", "kubectl")


def assets(source: Path, directory: Path, *names: str) -> Path:
    """A directory of links to these programs."""
    directory.mkdir()
    for name in names:
        (directory / name).symlink_to((source / name).resolve())
    return directory


@pytest.fixture
def usual(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """KUBEBUILDER_ASSETS as its tool fills it."""
    made = assets(control_plane.programs, tmp_path / "assets", *USUAL)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(made))
    return made


def test_assets_are_all_that_a_control_plane_needs(usual: Path, tmp_path: Path) -> None:
    assert find_programs() == usual
    with ControlPlane(usual, tmp_path / "plane") as plane:
        assert plane.kubectl("get", "namespaces", "-o", "name").stdout.split()[0].startswith("namespace/")


def test_lab_names_what_assets_lack(usual: Path) -> None:
    with pytest.raises(
        ProgramsMissing, match=f"KUBEBUILDER_ASSETS={usual} lacks kube-controller-manager, kube-proxy: .*unset it to have all"
    ):
        lab_programs()


@pytest.mark.parametrize("flags", [(), ("--forecast",)])
def test_assets_without_an_api_server_are_refused(usual: Path, flags: tuple[str, ...]) -> None:
    (usual / "etcd").unlink()
    (usual / "kube-apiserver").unlink()
    refused = subprocess.run((str(BUILD), *flags), check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"control plane: KUBEBUILDER_ASSETS={usual} lacks etcd kube-apiserver; unset it to have all built\n"


def test_unknown_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("KUBERNETES", "1.2")
    refused = subprocess.run((str(BUILD),), check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (2, "control plane: KUBERNETES=1.2: there are 1.37 and 1.36\n")


def test_nothing_is_forecast_where_nothing_is_to_do(control_plane: ControlPlane) -> None:
    """The control plane of this run is there."""
    told = subprocess.run((str(BUILD), "--forecast"), check=True, capture_output=True, text=True)
    assert (told.stdout, told.stderr) == ("", "")


def test_what_would_be_built_is_forecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("CACHE", str(tmp_path))
    told = subprocess.run((str(BUILD), "--forecast"), check=True, capture_output=True, text=True)
    assert "will be built for the tests on an API server: five to ten minutes" in told.stderr
    assert list(tmp_path.iterdir()) == []
