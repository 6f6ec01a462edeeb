#!/bin/sh
# Translates a few sentences with the bundled model, in every direction, and says how long it took.
# usage: tools/demo.sh TANDEM MODEL
set -eu
tandem=$1
model=$2

if [ ! -f "$model/config.json" ]; then
    echo "there is no bundled model in $model: this checkout is not complete" >&2
    exit 1
fi

# show FROM TO: translates the lines of standard input and prints each with its source.
show() {
    printf '\n%s -> %s\n' "$1" "$2"
    sources=$(cat)
    printf '%s\n' "$sources" | "$tandem" translate --model "$model" --to "$2" > "$outputs"
    printf '%s\n' "$sources" | paste -d '\n' - "$outputs" | sed -e 's/^/    /' -e 'n' -e 's/^/ => /'
}

outputs=$(mktemp)
trap 'rm -f "$outputs"' EXIT
start=$(date +%s%N)
for target in en fr; do
    show de $target <<'TEXT'
Ein kleiner Junge wirft seinem Hund im Park einen roten Ball zu.
Zwei Frauen sitzen auf einer Bank und trinken Kaffee.
TEXT
done
for target in de fr; do
    show en $target <<'TEXT'
An old man with a straw hat is playing the guitar on the street.
Three children are building a sandcastle on the beach.
TEXT
done
for target in en de; do
    show fr $target <<'TEXT'
Une femme en manteau bleu traverse la rue avec son vélo.
Un chien noir saute par-dessus une barrière.
TEXT
done
milliseconds=$((($(date +%s%N) - start) / 1000000))
printf '\n12 sentences in %d ms, six starts of the program included. Try your own:\n' "$milliseconds"
printf '    echo "Ein Hund rennt im Schnee." | %s translate --to en\n' "$tandem"
