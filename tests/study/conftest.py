"""Studies that several tests look at."""

import pytest
import simulated_study
from studies import ROOT, load_config, make_records

from kseg.study import grid, identity, worker
from kseg.study import summary as findings


@pytest.fixture
def smoke(tmp_path):
    configuration = load_config("study_smoke")
    configuration.base.data.records_dir = str(tmp_path / "records")
    return configuration


@pytest.fixture(scope="module")
def camvid():
    configuration = load_config("study_camvid")
    configuration.draws = 400
    return configuration


@pytest.fixture(scope="module")
def summary(camvid, tmp_path_factory):
    """study.json's content of a made-up core stage."""
    folder = tmp_path_factory.mktemp("made_up")
    simulated_study.write(camvid, folder, only=lambda run: run.stage in ("primary", "core") and run.seed < 4)
    runs = grid.expand(camvid)
    found = findings.read(folder, {run.id: grid.settings(run.config) for run in runs})
    return findings.summarise(camvid, found, runs, folder)


STAND_IN = """
import json, os, shutil, sys, threading, time
sys.path.insert(0, {root!r})
from kseg.study import folder as study_folder, worker
folder = sys.argv[1]
with worker.hold(folder) as held:
    if not held:
        sys.exit(worker.HELD)
    threading.Thread(target=worker.end_with_parent, daemon=True).start()
    request = json.load(open(os.path.join(folder, "run.json")))
    {body}
    shutil.copy(os.path.join({made!r}, "runs", request["id"], "result.json"), folder)
"""


@pytest.fixture
def stand_in(smoke, tmp_path, monkeypatch):
    """f(body): runs of the smoke study execute `body`, then leave a made-up result."""
    import tfrecords

    digest = tfrecords.info(make_records(tmp_path, {"train": 4, "val": 1})).digest
    # The fingerprint of made-up results; the true one would change under whoever edits while this runs.
    monkeypatch.setattr(identity, "code_fingerprint", lambda: simulated_study.IDENTITY["code"])
    monkeypatch.setattr(identity, "versions", lambda: simulated_study.IDENTITY["versions"])
    monkeypatch.setitem(simulated_study.IDENTITY, "records", digest)
    simulated_study.write(smoke, tmp_path / "made", frames=simulated_study.FRAMES[:30])

    def use(body):
        program = STAND_IN.format(root=str(ROOT), body=body, made=str(tmp_path / "made"))
        monkeypatch.setattr(worker, "_PROGRAM", program)

    use("pass")
    return use
