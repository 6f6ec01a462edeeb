#!/bin/sh
# Translates a few sentences with the bundled model, in both directions, and says how long it took.
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
show de en <<'TEXT'
Ein kleiner Junge wirft seinem Hund im Park einen roten Ball zu.
Zwei Frauen sitzen auf einer Bank und trinken Kaffee.
Ein Mann mit einem Hut spielt auf der Straße Gitarre.
TEXT
show en de <<'TEXT'
An old man with a straw hat is playing the guitar on the street.
Three children are building a sandcastle on the beach.
A black dog is jumping over a fence.
TEXT
milliseconds=$((($(date +%s%N) - start) / 1000000))
printf '\n6 sentences in %d ms, two starts of the program included. Try your own:\n' "$milliseconds"
printf '    echo "Ein Hund rennt im Schnee." | %s translate --to en\n' "$tandem"
