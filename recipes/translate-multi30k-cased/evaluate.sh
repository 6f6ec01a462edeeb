#!/bin/sh
# Scores a model on test_2016_flickr in both directions: evaluate.sh TANDEM MODEL MULTI30K
set -eu
tandem=$1
model=$2
data=$3
hypotheses=$(mktemp)
trap 'rm -f "$hypotheses"' EXIT
echo "| direction | BLEU | chrF |"
echo "|---|---|---|"
for pair in de-en en-de; do
    from=${pair%-*}
    to=${pair#*-}
    gzip -dc "$data/test_2016_flickr.$from.gz" | "$tandem" translate -m "$model" --to "$to" > "$hypotheses"
    scores=$("$tandem" evaluate --metric bleu,chrf --json --reference "$data/test_2016_flickr.$to.gz" "$hypotheses")
    bleu=$(printf '%s' "$scores" | sed 's/.*"bleu": *{"score": *\([0-9.]*\).*/\1/')
    chrf=$(printf '%s' "$scores" | sed 's/.*"chrf": *{"score": *\([0-9.]*\).*/\1/')
    printf '| %s | %.2f | %.2f |\n' "$pair" "$bleu" "$chrf"
done
