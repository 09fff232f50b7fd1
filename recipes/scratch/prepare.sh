#!/usr/bin/env bash
# The text of our own models, below OUT: a vocabulary, and three corpora without the evaluation sets' text.
#   LITEBERT_DATA=... bash recipes/scratch/prepare.sh [OUT] [TOKENIZER]
# TOKENIZER: that of a model which is to teach ours later on; where not given, one of 8,192 pieces is made of the text.
set -euo pipefail
out=${1:-runs/scratch}
tokenizer=${2:-$out/tokenizer}
corpus=$LITEBERT_DATA/corpus

kept_out=()
for set in glue squad tydiqa xnli copa dream arc wnut17 imdb tweeteval sms_spam clinc150 crows_pairs stereoset; do
    kept_out+=(--exclude "$LITEBERT_DATA/$set")
done

prepare() { # NAME FILE... : a prepared folder; again, it goes on where it was stopped
    litebert prepare "${@:2}" --tokenizer "$tokenizer" --out "$out/$1" "${kept_out[@]}"
}

[ $# -gt 1 ] || [ -d "$out/tokenizer" ] || litebert tokenizer train "$corpus" --out "$out/tokenizer" --vocab-size 8192
prepare wikipedia "$corpus"/wikipedia-*.xz
prepare prose --held-out 0.02 "$corpus"/{openstax,un_debates,government,documentation,stories,masc,speeches}.jsonl.xz
prepare novels --held-out 0.02 "$corpus"/novels-0*.xz "$corpus/eltec.jsonl.xz"
