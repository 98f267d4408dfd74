"""Callbacks by name: the documented ones with stand-ins for their packages, and what a wrong name is told."""

import json
import re
import sys
import types

import keras
import pytest
from programs import ROOT

from kseg import config as defaults
from kseg.training import callbacks
from kseg.training.log import TrainingLog


@pytest.fixture
def documented(tmp_path, monkeypatch):
    """The current folder with docs/tracking.md's my_callbacks.py, and what stand-ins of wandb and mlflow were told."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "tracking.md").read_text(), re.DOTALL)[1]
    (tmp_path / "my_callbacks.py").write_text(code)
    (tmp_path / "W").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_callbacks", raising=False)
    told = []

    def note(name):
        return lambda *values, **named: (
            told.append((name, values, named))
            or types.SimpleNamespace(log=note("log"), finish=note("finish"), info=types.SimpleNamespace(run_id="r7"))
        )

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=note("init")))
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(**{name: note(name) for name in names}))
    yield told
    sys.modules.pop("my_callbacks", None)


def run(name):
    """Two logged lines of a run with this callback."""
    config = defaults.default()
    made = callbacks.make(callbacks.find([name]), config, "W")
    heard = keras.callbacks.CallbackList(made, model=None)
    heard.on_train_begin()
    log = TrainingLog("W", 0, True, heard.on_epoch_end)
    log.training(2, [3.0, 1.0], 0.5, 4)
    report = dict.fromkeys(("mean_iou", "mean_iou_forced", "mean_iou_with_background"), 0.25)
    log.evaluation(2, report | {"abstain_rate": None, "confusion_matrix": [[1, 0], [0, 0]]}, [])
    heard.on_train_end()
    log.close()


def test_weights_and_biases_hears_every_line_of_the_log(documented):
    run("my_callbacks.Wandb")
    names = [name for name, *_ in documented]
    assert names == ["init", "log", "log", "finish"]
    assert documented[0][2]["id"] == "W" and documented[0][2]["config"]["train.batch_size"] == 8
    lines = [json.loads(line) for line in open("W/metrics.jsonl")]
    assert [{"step": named["step"], **values[0]} for _, values, named in documented[1:3]] == lines
    assert lines[0] == {"step": 2, "loss": 2.0, "learning_rate": 0.5}


def test_mlflow_hears_numbers_alone_and_a_resumed_run_goes_on(documented):
    run("my_callbacks.MLflow")
    assert [name for name, *_ in documented] == [
        "set_experiment", "start_run", "log_params", "log_metrics", "log_metrics", "end_run",
    ]  # fmt: skip
    assert documented[3][1:] == (({"loss": 2.0, "learning_rate": 0.5},), {"step": 2})
    assert "eval_abstain_rate" not in documented[4][1][0] and documented[4][1][0]["eval_mean_iou"] == 0.25
    del documented[:]
    run("my_callbacks.MLflow")
    assert documented[1][2] == {"run_id": "r7"} and documented[2][0] == "log_metrics"


def test_the_table_has_a_row_a_step(documented):
    run("my_callbacks.Wandb")
    assert open("W/metrics.csv").read().splitlines() == [
        "step,loss,learning_rate,eval_mean_iou,eval_mean_iou_forced,eval_mean_iou_with_background,eval_abstain_rate",
        "2,2.0,0.5,0.25,0.25,0.25,",
    ]


@pytest.mark.parametrize(
    "name, words",
    [
        ("tracker", "'tracker' is no name like my_callbacks.tracker"),
        ("no_such_module.tracker", "no_such_module of 'no_such_module.tracker' cannot be imported"),
        ("my_callbacks.Missing", "my_callbacks has no function 'Missing'"),
    ],
)
def test_a_name_that_is_none_is_one_line(documented, name, words):
    path = list(sys.path)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        callbacks.find([name])
    assert "config.log.callbacks" in str(caught.value) and "\n" not in str(caught.value)
    assert sys.path == path


def test_what_is_no_callback_is_refused():
    def tracker(config, workdir):
        return "text"

    with pytest.raises(ValueError, match=r"tracker\(config, workdir\) returned str; expected a keras"):
        callbacks.make([tracker], None, "W")
