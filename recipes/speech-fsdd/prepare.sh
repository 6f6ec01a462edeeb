#!/bin/sh
# prepare.sh RECORDINGS DIRECTORY: lists of the Free Spoken Digit Dataset's files (DIGIT_speaker_INDEX.wav) and the word each says.
# Held out: indexes 5 to 9 of every digit and speaker, the lowest of the training part (0 to 4 are the published test part).
set -eu
recordings=${1:?usage: prepare.sh RECORDINGS DIRECTORY} directory=${2:?usage: prepare.sh RECORDINGS DIRECTORY}
mkdir -p "$directory"
find "$recordings" -name '[0-9]_*_*.wav' | sort | awk -v directory="$directory" '
BEGIN { split("zero one two three four five six seven eight nine", word, " ") }
{
    name = $0
    sub(/.*\//, "", name)
    split(name, part, /[_.]/)
    if (part[3] < 5)
        next
    print $0 "\t" word[part[1] + 1] > (directory "/" (part[3] < 10 ? "dev" : "train") ".tsv")
}'
wc -l "$directory/train.tsv" "$directory/dev.tsv"
