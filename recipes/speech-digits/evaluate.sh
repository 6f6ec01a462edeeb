#!/bin/sh
# evaluate.sh TANDEM MODEL DIRECTORY: whole recordings right and word error rate on the three held-out lists that prepare.sh made.
set -eu
tandem=$1 model=$2 directory=$3
names=$(mktemp) words=$(mktemp)
trap 'rm -f "$names" "$words"' EXIT
for part in dev dev-synthetic dev-strings; do
    cut -f 1 "$directory/$part.tsv" > "$names"
    cut -f 2 "$directory/$part.tsv" > "$words"
    printf '%s ' "$part"
    "$tandem" generate -m "$model" "$names" | "$tandem" evaluate --metric exact,wer --reference "$words" | tr '\n' ' '
    echo
done
