#!/bin/sh
# Recompute lock.txt from pyproject.toml, and nvidia.txt, onnx2tf.txt and torch.txt from their .in files. Needs uv.
# Pass --upgrade to take newer versions.
cd "$(dirname "$0")/.." || exit 1
locked() {
    uv pip compile "$@" --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet
}
locked pyproject.toml --extra convert --extra runtimes --extra serving --extra zoo --extra notebooks --extra dev --output-file requirements/lock.txt "$@" || exit 1
# NVIDIA's build of ONNX Runtime is the lock's version, or the newest before it where it came out without one (1.32.0 has none yet);
# what both files name is the lock's.
same=$(mktemp)
trap 'rm -f "$same"' EXIT
sed -n 's/^onnxruntime==\([^ ]*\).*/onnxruntime-gpu<=\1/p; s/^\([a-z0-9.-]*==[^\\]*[^ \\]\) *\\*$/\1/p' requirements/lock.txt >"$same"
locked requirements/nvidia.in --constraint "$same" --output-file requirements/nvidia.txt "$@" || exit 1
# The environment of onnx2tf; onnxsim has no wheel for Python 3.12, and is not used.
locked requirements/onnx2tf.in --no-emit-package onnxsim --output-file requirements/onnx2tf.txt "$@" || exit 1
sed -n 's/^\([a-z0-9.-]*==[^\\]*[^ \\]\) *\\*$/\1/p' requirements/lock.txt >"$same"
locked requirements/torch.in --no-deps --constraint "$same" --output-file requirements/torch.txt "$@"
