"""deploy/: the texts parse as what TF-Serving, Compose and Kubernetes read, agree with each other, and the scripts run.

Whether the real server likes them only deploy/smoke_test.sh can say; here it runs against the stand-in.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import serving_stand_in
import small_models
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

from kseg.serving import cpp_session
from kseg.serving import messages as wire

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def described(name, messages):
    """A message class from {message: [(field, number, type)]}; tensorflow-serving-api has no such classes."""
    file = descriptor_pb2.FileDescriptorProto(name=f"tests/{name}.proto", package=f"tests.{name}", syntax="proto3")
    for message, fields in messages.items():
        entry = file.message_type.add(name=message)
        for field, number, kind in fields:
            repeated = kind.startswith("repeated ")
            kind = kind.removeprefix("repeated ")
            added = entry.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in messages:
                added.type, added.type_name = added.TYPE_MESSAGE, f".tests.{name}.{kind}"
            else:
                added.type = getattr(added, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    first = next(iter(messages))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tests.{name}.{first}"))


# monitoring_config.proto and session_bundle_config.proto, as far as they are used. Int64Value is {value = 1}.
MonitoringConfig = described(
    "monitoring",
    {
        "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig")],
        "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    },
)
BatchingParameters = described(
    "batching",
    {
        "BatchingParameters": [
            ("max_batch_size", 1, "Int64Value"),
            ("batch_timeout_micros", 2, "Int64Value"),
            ("max_enqueued_batches", 3, "Int64Value"),
            ("num_batch_threads", 4, "Int64Value"),
            ("thread_pool_name", 5, "StringValue"),
            ("allowed_batch_sizes", 6, "repeated int64"),
            ("pad_variable_length_inputs", 7, "bool"),
        ],
        "Int64Value": [("value", 1, "int64")],
        "StringValue": [("value", 1, "string")],
    },
)


def parse(text, message):
    return text_format.Parse(text, message())


def model_of(text):
    (model,) = parse(text, model_server_config_pb2.ModelServerConfig).model_config_list.config
    return model


def test_models_config_serves_two_versions_under_labels_that_name_them():
    model = model_of((DEPLOY / "models.config").read_text())
    assert (model.name, model.model_platform) == ("kseg", "tensorflow")
    assert model.name == wire.predict_request("", {}).model_spec.name  # the name that clients and warm-up requests use
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_the_single_version_config_serves_the_latest():
    model = model_of((DEPLOY / "models_single.config").read_text())
    assert not model.HasField("model_version_policy") and model.base_path == "/models/kseg"


def test_monitoring_is_on_where_the_manifests_look_for_it():
    config = parse((DEPLOY / "monitoring.config").read_text(), MonitoringConfig)
    assert config.prometheus_config.enable
    deployment = next(d for d in kubernetes() if d["kind"] == "Deployment")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == config.prometheus_config.path


def test_batching_is_off_everywhere_and_its_text_parses():
    config = parse((DEPLOY / "batching.config").read_text(), BatchingParameters)
    assert config.allowed_batch_sizes[-1] == config.max_batch_size.value
    assert not config.pad_variable_length_inputs
    for name in ("docker-compose.yml", "kubernetes.yaml", "smoke_test.sh"):
        text = (DEPLOY / name).read_text()
        assert "--enable_batching=false" in text and "batching_parameters_file" not in text


def test_compose_mounts_what_exists_and_publishes_to_this_machine_alone():
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source, target, mode = re.match(r"(.*?):(/[^:]*):(\w+)$", volume).groups()
            assert mode == "ro"
            assert source.startswith("${KSEG_EXPORT_DIR") or (DEPLOY / source).exists()
    serving = services["serving"]
    targets = " ".join(serving["volumes"])
    for flag in serving["command"]:
        if "/config/" in flag:
            assert flag.split("=")[1] in targets
    assert services["page"]["depends_on"]["serving"]["condition"] == "service_healthy"


def kubernetes():
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def test_kubernetes_has_probes_limits_scaling_and_a_policy_for_port_8500():
    by_kind = {document["kind"]: document for document in kubernetes()}
    assert set(by_kind) == {
        "ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for document in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = by_kind[document]["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        assert selector.get("matchLabels", selector) == labels
    assert (
        by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == by_kind["Deployment"]["metadata"]["name"]
    )
    mounted = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == mounted
    allowed = {
        port["port"]: rule["from"]
        for rule in reversed(by_kind["NetworkPolicy"]["spec"]["ingress"])
        for port in rule["ports"]
    }
    assert allowed[8500] == [{"podSelector": {"matchLabels": {"kseg-client": "true"}}}]
    for name, text in by_kind["ConfigMap"]["data"].items():
        assert f"/config/{name}" in " ".join(container["args"])
        message = MonitoringConfig if "monitoring" in name else model_server_config_pb2.ModelServerConfig
        parse(text, message)


def test_kserve_names_the_tensorflow_runtime():
    document = yaml.safe_load((DEPLOY / "kserve.yaml").read_text())
    assert document["apiVersion"] == "serving.kserve.io/v1beta1" and document["kind"] == "InferenceService"
    model = document["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": "tensorflow"} and model["storageUri"] and model["resources"]["limits"]


def test_one_server_release_is_named_everywhere():
    found = set()
    for path in DEPLOY.glob("*.*"):
        found |= set(re.findall(r"tensorflow/serving:([\d.]+\d)|runtimeVersion: ([\d.]+)", path.read_text()))
    assert {a or b for a, b in found} == {"2.19.1"}


def test_the_readme_names_every_file_and_says_what_was_not_run():
    text = (DEPLOY / "README.md").read_text()
    for path in DEPLOY.iterdir():
        assert path.name in text or path.name == "README.md", path.name
    assert "not been run against TF-Serving" in " ".join(text.split())


@pytest.mark.parametrize("name", ["smoke_test.sh", "check_runtimes.sh"])
def test_scripts_are_executable_bash(name):
    assert os.access(DEPLOY / name, os.X_OK)
    subprocess.run(["bash", "-n", DEPLOY / name], check=True)


def test_the_smoke_test_passes_against_the_stand_in(tmp_path_factory, tmp_path):
    path, *_ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    (tmp_path / "export").mkdir()
    for version in ("1", "2"):
        (tmp_path / "export" / version).symlink_to(path)
    done = smoke_test(tmp_path, tmp_path / "export")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout and done.stdout.count("ok ") == 20
    assert "ok      the label canary reaches it" in done.stdout


def test_the_smoke_test_fails_where_no_server_starts(tmp_path):
    (tmp_path / "export" / "1").mkdir(parents=True)
    done = smoke_test(tmp_path, tmp_path / "export", server="exit 1", seconds="3600")  # far beyond the call's limit
    assert done.returncode != 0 and "the server has ended" in done.stdout


def test_a_server_started_with_a_label_in_its_file_refuses_unless_told_otherwise(tmp_path_factory, tmp_path):
    path, *_ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    model = model_server_config_pb2.ModelConfig(name="kseg", base_path=str(pathlib.Path(path).parent))
    model.version_labels["stable"] = 1
    models = serving_stand_in.Models(model.base_path, versions=None, warm_up=False)
    with pytest.raises(
        cpp_session.SessionError, match="label stable to version 1 of model kseg, which is not"
    ) as error:
        models.configure(model)
    assert error.value.code == cpp_session.FAILED_PRECONDITION and not models.versions
    models.configure(model, labels_for_unavailable=True)
    assert set(models.versions) == {1} and models.labels == {"stable": 1}
    models.close()
    assert "allow_version_labels_for_unavailable_models" in (DEPLOY / "models.config").read_text()


def test_labels_are_added_once_their_version_is_loaded(tmp_path_factory):
    path, *_ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    model = model_server_config_pb2.ModelConfig(name="kseg", base_path=str(pathlib.Path(path).parent))
    models = serving_stand_in.Models(model.base_path, versions=None, warm_up=False)
    models.configure(model)
    model.version_labels["stable"] = 1
    models.configure(model)
    assert models.labels == {"stable": 1}
    model.version_labels["canary"] = 2
    with pytest.raises(cpp_session.SessionError, match="label canary"):
        models.configure(model)
    assert models.labels == {"stable": 1}
    models.close()


def test_nginx_asks_for_the_servers_address_again():
    text = (DEPLOY / "nginx.conf").read_text()
    assert re.search(r"resolver \S+ valid=\d+s", text)
    upstream = re.search(r"set (\$\w+) http://serving:8501;", text)[1]
    assert f"proxy_pass {upstream};" in text


def test_compose_runs_without_root_and_without_a_writable_root():
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    for service in services.values():
        assert not service["user"].startswith("0") and service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"] and service["cap_drop"] == ["ALL"]
    port = services["page"]["ports"][0].rsplit(":", 1)[1]
    assert f"listen {port};" in (DEPLOY / "nginx.conf").read_text()


def test_pods_are_spread_over_nodes_and_grpc_over_pods():
    documents = kubernetes()
    pod = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]
    (spread,) = pod["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"] == pod["metadata"]["labels"]
    headless = next(d for d in documents if d["kind"] == "Service" and d["spec"].get("clusterIP") == "None")
    assert headless["spec"]["selector"] == pod["metadata"]["labels"] and headless["spec"]["ports"][0]["port"] == 8500


def smoke_test(tmp_path, export_dir, server=None, seconds="100"):
    """Runs the script with the stand-in on the PATH under the real server's name."""
    binary = tmp_path / "bin" / "tensorflow_model_server"
    binary.parent.mkdir()
    server = server or f'exec "{sys.executable}" "{ROOT / "tests" / "helpers" / "serving_stand_in.py"}" "$@"'
    binary.write_text(f"#!/bin/sh\n{server}\n")
    binary.chmod(0o755)
    ports = []
    for _ in range(2):
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))
            ports.append(str(opened.getsockname()[1]))
    environment = {
        **os.environ,
        "PATH": f"{binary.parent}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KSEG_REST_PORT": ports[0],
        "KSEG_GRPC_PORT": ports[1],
        "KSEG_START_SECONDS": seconds,
    }
    return subprocess.run(
        ["bash", DEPLOY / "smoke_test.sh", export_dir], env=environment, capture_output=True, text=True, timeout=300
    )


def test_an_export_answers_the_same_in_this_runtime_twice(tmp_path_factory, tmp_path):
    # deploy/check_runtimes.sh does this with other releases; the script's own part runs here.
    path, *_ = small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)
    sys.path.insert(0, str(DEPLOY))
    try:
        import runtime_answers
    finally:
        sys.path.remove(str(DEPLOY))
    runtime_answers.main(path, tmp_path / "here.npz")
    runtime_answers.main(str(pathlib.Path(path).parent), tmp_path / "there.npz", tmp_path / "here.npz")
    with cpp_session.CppSession(path) as session:
        assert session.run("detail", image_bytes=[runtime_answers.png(small_models.picture(5, 7))])
