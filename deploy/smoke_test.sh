#!/usr/bin/env bash
# Holds a real TF-Serving against an export:  deploy/smoke_test.sh EXPORT_DIR [IMAGE]
# Uses tensorflow_model_server where it is on the PATH, otherwise docker with $KSEG_SERVING_IMAGE
# (tensorflow/serving:2.19.1). Python must be one that has kseg and TensorFlow ($PYTHON, python3 by default), since the
# server's answers are compared with TensorFlow's C++ session on the same export. Exits 0 only if every check passed.
set -euo pipefail
export_dir=$(cd "${1:?usage: deploy/smoke_test.sh EXPORT_DIR [IMAGE]}" && pwd)
image=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
rest_port=${KSEG_REST_PORT:-18501}
grpc_port=${KSEG_GRPC_PORT:-18500}
serving_image=${KSEG_SERVING_IMAGE:-tensorflow/serving:2.19.1}

work=$(mktemp -d)
container=
server=
stop() {
  if [ -n "$container" ]; then docker rm -f "$container" >/dev/null 2>&1 || true; fi
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT

# The configuration that the checks change while the server runs: one version, without labels.
base_path=$export_dir
if ! command -v tensorflow_model_server >/dev/null; then base_path=/models/kseg; fi
"$python" "$here/smoke_checks.py" --write_config="$work/models.config" --export_dir="$export_dir" --base_path="$base_path"
cp "$here/monitoring.config" "$work/"
chmod -R a+rX "$work"

flags=(--model_config_file_poll_wait_seconds=1 --rest_api_timeout_in_ms=60000 --rest_api_enable_cors_support=true
       --enable_serialization_as_tensor_content=true --enable_batching=false)
if command -v tensorflow_model_server >/dev/null; then
  echo "server: $(command -v tensorflow_model_server)"
  tensorflow_model_server --port="$grpc_port" --rest_api_port="$rest_port" --model_config_file="$work/models.config" \
    --monitoring_config_file="$work/monitoring.config" "${flags[@]}" >"$work/log.txt" 2>&1 &
  server=$!
  alive="ps -o stat= -p $server | grep -q '^[^Z]'"  # one that has ended stays as a zombie until it is waited for
elif command -v docker >/dev/null; then
  echo "server: $serving_image"
  container=$(docker run -d --entrypoint tensorflow_model_server -p "127.0.0.1:$grpc_port:8500" -p "127.0.0.1:$rest_port:8501" \
    -v "$export_dir:/models/kseg:ro" -v "$work:/config:ro" "$serving_image" --port=8500 --rest_api_port=8501 \
    --model_config_file=/config/models.config --monitoring_config_file=/config/monitoring.config "${flags[@]}")
  alive="[ \"\$(docker inspect -f '{{.State.Running}}' $container)\" = true ]"
else
  echo "error: neither tensorflow_model_server nor docker is on the PATH; nothing was checked." >&2
  exit 2
fi

arguments=(--export_dir="$export_dir" --base_path="$base_path" --config="$work/models.config"
           --rest="http://127.0.0.1:$rest_port" --grpc="grpc://127.0.0.1:$grpc_port" --alive="$alive")
if [ -n "$image" ]; then arguments+=(--image="$image"); fi
status=0
"$python" "$here/smoke_checks.py" "${arguments[@]}" || status=$?
if [ -n "$container" ]; then docker logs "$container" >"$work/log.txt" 2>&1 || true; fi
if [ "$status" = 0 ] && ! grep -qi "warmup" "$work/log.txt"; then
  echo "FAILED  the server's log has a line about the warm-up requests"
  status=1
fi
if [ "$status" != 0 ]; then
  echo "---- last lines of the server's log" >&2
  tail -n 40 "$work/log.txt" >&2
fi
exit "$status"
