#!/usr/bin/env bash
# Loads an export in the C++ runtimes of other TensorFlow releases and compares their answers with this one's.
#   deploy/check_runtimes.sh EXPORT_DIR [2.15.1 2.20.0 ...]
# $PYTHON (python3 by default) has kseg and its TensorFlow. Each other release is installed into a virtual environment
# of its own below $KSEG_RUNTIMES (build/runtimes by default), which is kept. Python 3.11: what 2.15 still runs on.
set -euo pipefail
export_dir=${1:?usage: deploy/check_runtimes.sh EXPORT_DIR [RELEASE...]}
shift
releases=("$@")
if [ ${#releases[@]} = 0 ]; then releases=(2.15.1 2.20.0); fi
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
runtimes=${KSEG_RUNTIMES:-$root/build/runtimes}
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
export TF_CPP_MIN_LOG_LEVEL=3
answer() { PYTHONPATH=$root "$1" "$root/deploy/runtime_answers.py" "${@:2}"; }

answer "$python" "$export_dir" "$answers/here.npz"
status=0
for release in "${releases[@]}"; do
  environment=$runtimes/$release
  if [ ! -x "$environment/bin/python" ]; then
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check "tensorflow-cpu==$release"
  fi
  answer "$environment/bin/python" "$export_dir" "$answers/there.npz" "$answers/here.npz" \
    || { echo "FAILED  TensorFlow $release"; status=1; }
done
exit "$status"
