#!/bin/sh
# prepare.sh AN4 DIRECTORY: lists of AN4's training utterances (train.tsv: name, frames, text; feat/NAME.mfc).
# Held out: all utterances of every ninth speaker in alphabetical order (the middle part of a name, as fash in an251-fash-b).
set -eu
an4=$(cd "${1:?usage: prepare.sh AN4 DIRECTORY}" && pwd) directory=${2:?usage: prepare.sh AN4 DIRECTORY}
mkdir -p "$directory"
cut -f 1 "$an4/train.tsv" | cut -d - -f 2 | sort -u | awk 'NR % 9 == 0' > "$directory/held-out-speakers"
awk -F '\t' -v an4="$an4" -v directory="$directory" '
NR == FNR { held[$1] = 1; next }
{
    split($1, part, "-")
    print an4 "/feat/" $1 ".mfc\t" $3 > (directory "/" (part[2] in held ? "dev" : "train") ".tsv")
}' "$directory/held-out-speakers" "$an4/train.tsv"
wc -l "$directory/train.tsv" "$directory/dev.tsv"
