"""A tracker that imports but cannot log is refused before anything is paid for; MLflow itself where it is installed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rollout_local.domain.run import RunConfig
from rollout_local.errors import InputError
from rollout_local.planning.trackers import HASTE, require_trackers


def config(arguments: dict[str, Any], **more: Any) -> RunConfig:
    return RunConfig(dataset="d", arguments=arguments, **more)


def mlflow(uri: str, **more: str) -> RunConfig:
    return config({"use_mlflow": True, "gepa_kwargs": {"mlflow_tracking_uri": uri, **more}})


def refusal(asked: RunConfig) -> str:
    with pytest.raises(InputError) as refused:
        require_trackers(asked)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], list[dict[str, Any]]]:
    """A package `wandb` with what is asked of it: `login`, `init` and `run`."""

    def install(error: Exception | None) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def login(**options: Any) -> None:
            asked.append(options)
            if error is not None:
                raise error

        def init(project: str | None = None, mode: str | None = None) -> None: ...

        module = ModuleType("wandb")
        vars(module).update(login=login, init=init, run=None)
        monkeypatch.setitem(sys.modules, "wandb", module)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        return asked

    return install


def test_a_run_without_a_tracker_is_not_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    require_trackers(config({}))
    require_trackers(config({"use_mlflow": False, "use_wandb": None}))


def test_wandb_is_asked_whether_its_server_takes_the_key(wandb: Any) -> None:
    asked = wandb(None)
    require_trackers(config({"use_wandb": True}))
    assert asked == [{"verify": True}]


def test_a_wandb_that_is_not_let_in_is_refused_in_its_own_first_sentence(wandb: Any) -> None:
    wandb(RuntimeError("No API key configured. Use `wandb login` to log in.\nMore."))
    assert refusal(config({"use_wandb": True})) == (
        "--arg use_wandb: wandb cannot log (No API key configured); mend that, or leave use_wandb out"
    )


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_a_wandb_that_sends_nothing_needs_no_key(wandb: Any, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = wandb(RuntimeError("No API key configured."))
    if where == "environment":
        monkeypatch.setenv("WANDB_MODE", "offline")
    require_trackers(
        config({"use_wandb": True, "wandb_init_kwargs": {"mode": "offline"} if where == "argument" else {}})
    )
    assert asked == []


def test_what_wandb_would_not_take_at_its_start_is_refused(wandb: Any) -> None:
    wandb(None)
    assert "unexpected keyword argument 'projekt'" in refusal(
        config({"use_wandb": True, "wandb_init_kwargs": {"projekt": "p"}})
    )
    attach = config({"use_wandb": True, "gepa_kwargs": {"wandb_attach_existing": True}})
    assert "this process has no run of it" in refusal(attach)


def test_wandb_is_refused_offline_and_in_a_replay(wandb: Any) -> None:
    wandb(None)
    for more in ({"offline": True}, {"record_mode": "none", "recording": "r.yaml"}):
        assert "refused while offline" in refusal(config({"use_wandb": True}, **more))


def test_mlflow_without_pandas_is_refused_since_every_table_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    said = refusal(config({"use_mlflow": True}))
    assert "needs the package pandas" in said
    assert "pip install 'rollout-local[mlflow]'" in said


@pytest.fixture
def real_mlflow() -> Any:
    pytest.importorskip("pandas")
    return pytest.importorskip("mlflow")


@pytest.mark.usefixtures("real_mlflow")
def test_an_mlflow_whose_server_is_down_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    assert "mlflow cannot log (API request to http" in refusal(mlflow(f"http://127.0.0.1:{port}"))
    assert not set(HASTE) & set(os.environ)


@pytest.mark.usefixtures("real_mlflow")
def test_an_mlflow_of_an_unknown_address_is_refused() -> None:
    assert "mlflow cannot log" in refusal(mlflow("nonsense://here"))


@pytest.mark.usefixtures("real_mlflow")
def test_an_mlflow_file_store_that_is_switched_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    assert "maintenance mode" in refusal(mlflow((tmp_path / "mlruns").as_uri()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_an_mlflow_that_can_log_is_accepted_and_a_deleted_experiment_is_not(tmp_path: Path, real_mlflow: Any) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    require_trackers(mlflow(uri, mlflow_experiment_name="new"))
    client = real_mlflow.MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.create_experiment("old", artifact_location=tmp_path.as_uri()))
    assert "experiment 'old' is deleted" in refusal(mlflow(uri, mlflow_experiment_name="old"))
