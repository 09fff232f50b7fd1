#!/usr/bin/env bash
# The text of litebert-mini-scratch, below OUT: a vocabulary, and three corpora without the evaluation sets' text.
#   LITEBERT_DATA=... bash recipes/scratch/prepare.sh [OUT]
set -euo pipefail
out=${1:-runs/scratch}
corpus=$LITEBERT_DATA/corpus

kept_out=()
for set in glue squad tydiqa xnli copa dream arc wnut17 imdb tweeteval sms_spam clinc150 crows_pairs stereoset; do
    kept_out+=(--exclude "$LITEBERT_DATA/$set")
done

prepare() { # NAME FILE... : a prepared folder; again, it goes on where it was stopped
    litebert prepare "${@:2}" --tokenizer "$out/tokenizer" --out "$out/$1" "${kept_out[@]}"
}

[ -d "$out/tokenizer" ] || litebert tokenizer train "$corpus" --out "$out/tokenizer" --vocab-size 8192
prepare wikipedia "$corpus"/wikipedia-*.xz
prepare prose --held-out 0.02 "$corpus"/{openstax,un_debates,government,documentation,stories,masc,speeches}.jsonl.xz
prepare novels --held-out 0.02 "$corpus"/novels-0*.xz "$corpus/eltec.jsonl.xz"
