#!/bin/sh
# Install trustseg into a new virtual environment, in the versions and with the hashes of requirements.lock.
#
#   container/install.sh cpu|cuda TARGET        in the folder of the source
#
# The lock has the hashes of the default wheels of torch, which are those with CUDA. Without CUDA, torch and torchvision
# come in the same versions from PyTorch's own index, by the hashes in container/torch-cpu.lock (make lock-cpu).
set -eu

variant=$1
target=$2
extras="dicom onnx pretrained review"

python -m venv --without-pip "$target"
pip() { python -m pip --python "$target/bin/python" --disable-pip-version-check "$@"; }

case $variant in
cuda)
    pip install --no-cache-dir --no-compile --require-hashes -r requirements.lock
    ;;
cpu)
    python container/packages.py check requirements.lock container/torch-cpu.lock
    python container/packages.py without-cuda requirements.lock > "$target/cpu.lock"
    pip install --no-cache-dir --no-compile --no-deps --require-hashes -r "$target/cpu.lock"
    "$target/bin/uv" pip install --python "$target/bin/python" --no-cache --no-deps --torch-backend cpu \
        --require-hashes -r container/torch-cpu.lock
    ;;
*)
    echo "variant '$variant': expected cpu or cuda" >&2
    exit 2
    ;;
esac

pip install --no-cache-dir --no-compile --no-deps --no-build-isolation .
# shellcheck disable=SC2046,SC2086 # words
pip uninstall --yes --quiet $("$target/bin/python" container/packages.py unneeded $extras)
"$target/bin/python" -m compileall -q "$target/lib" || true # a file of another Python's syntax does not matter
"$target/bin/trustseg" --version
