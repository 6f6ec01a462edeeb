#!/bin/sh
# prepare.sh CMUDICT.dict DIRECTORY: words as letters and their phonemes with stress, one pair a line.
# Words of letters, apostrophes, hyphens and full stops are kept. Of the words in order, every tenth is for testing and every hundredth and
# fifth for validation (no word is in two parts); training has all pronunciations of a word. test.ref holds, tab-separated, all that count.
set -eu
dictionary=${1:?usage: prepare.sh CMUDICT.dict DIRECTORY} directory=${2:?usage: prepare.sh CMUDICT.dict DIRECTORY}
mkdir -p "$directory"
sed 's/ *#.*//' "$dictionary" | LC_ALL=C awk -v directory="$directory" '
function flush_word(    part, spaced, i) {
    if (word == "")
        return
    number++
    part = number % 10 == 0 ? "test" : number % 100 == 5 ? "validation" : "train"
    for (i = 1; i <= length(word); i++)
        spaced = spaced (i > 1 ? " " : "") substr(word, i, 1)
    for (i = 1; i <= (part == "train" ? sounds_count : 1); i++) {
        print spaced > (directory "/" part ".letters")
        print sounds[i] > (directory "/" part ".phonemes")
    }
    if (part != "train") {
        for (i = 1; i <= sounds_count; i++)
            printf "%s%s", sounds[i], i < sounds_count ? "\t" : "\n" > (directory "/" part ".ref")
    }
}
{
    name = $1
    sub(/\([0-9]+\)$/, "", name)
    if (name !~ /^[a-z.\x27-]+$/)
        next
    if (name != word) {
        flush_word()
        word = name
        sounds_count = 0
    }
    sound = $0
    sub(/^[^ ]+ +/, "", sound)
    sounds[++sounds_count] = sound
}
END { flush_word() }'
wc -l "$directory"/*.letters
