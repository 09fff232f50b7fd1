#!/usr/bin/env bash
# Two models of the paper's block, on one GPU: one from raw text alone, and the same taught by all-mpnet-base-v2. DATA is
# made by `prepare.sh DATA all-mpnet-base-v2`, so that teacher and student read the same ids.
#   bash recipes/scratch/gpu.sh DATA OUT [MINUTES of the trunk]
# Again, with more MINUTES, it goes on with the trunk; remove OUT/cut and OUT/taught for new ones. Steps of the cut and of
# the teaching: $CUT and $TAUGHT, as many as there is time for.
set -euo pipefail
data=$1 out=$2 minutes=${3:-4} here=$(dirname "${BASH_SOURCE[0]}")
texts=(--data "$data/wikipedia=3" "$data/prose=2" "$data/novels=1")

litebert pretrain --config "$here/base.toml" "${texts[@]}" --out "$out/trunk" --minutes "$minutes" --resume
litebert pretrain --config "$here/base.toml" "${texts[@]}" --out "$out/cut" --branch "$out/trunk" --steps "${CUT:-1500}" \
    --set schedule.name=warmup_stable_decay --set schedule.warmup=0 --set schedule.decay=1 --resume
litebert distill --config "$here/taught.toml" "${texts[@]}" --model "$out/cut/model" --out "$out/taught" \
    --steps "${TAUGHT:-1500}" --resume
