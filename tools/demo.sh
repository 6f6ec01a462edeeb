#!/bin/sh
# Translates a few sentences with the bundled model, in both directions, and writes down spoken digits; says how long it took.
# usage: tools/demo.sh TANDEM PRETRAINED
set -eu
tandem=$1
model=$2/multi30k
digits=$2/digits

for needed in "$model" "$digits"; do
    if [ ! -f "$needed/config.json" ]; then
        echo "there is no bundled model in $needed: this checkout is not complete" >&2
        exit 1
    fi
done

# show FROM TO: translates the lines of standard input and prints each with its source.
show() {
    printf '\n%s -> %s\n' "$1" "$2"
    sources=$(cat)
    printf '%s\n' "$sources" | "$tandem" translate --model "$model" --to "$2" > "$outputs"
    printf '%s\n' "$sources" | paste -d '\n' - "$outputs" | sed -e 's/^/    /' -e 'n' -e 's/^/ => /'
}

# Digits said on the spot by espeak-ng where it is installed, else a recording that came along.
say_digits() {
    printf '\nspeech -> text\n'
    if command -v espeak-ng > /dev/null && espeak-ng -v en-us+f3 -s 140 -w "$sound" 'seven three zero five' 2> /dev/null; then
        printf '    [espeak-ng says: seven three zero five]\n'
    else
        sound=$digits/example.wav
        printf '    [%s, a synthetic voice: seven three zero five]\n' "$sound"
    fi
    printf ' => '
    "$tandem" transcribe --model "$digits" "$sound"
}

outputs=$(mktemp)
sound=$(mktemp)
temporary=$sound
trap 'rm -f "$outputs" "$temporary"' EXIT
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
say_digits
milliseconds=$((($(date +%s%N) - start) / 1000000))
printf '\n6 sentences and a recording in %d ms, three starts of the program included. Try your own:\n' "$milliseconds"
printf '    echo "Ein Hund rennt im Schnee." | %s translate --to en\n' "$tandem"
