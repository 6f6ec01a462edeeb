#!/bin/sh
# prepare.sh RECORDINGS DIRECTORY: the lists of ../speech-fsdd, and synthetic voices beside them (espeak-ng must be installed): digits alone
# and strings of two to five, by 7 dialects x 12 voices at changing speed and pitch. Held out: the Scottish dialect and the voices f3 and m4
# (dev-synthetic.tsv; strings in dev-strings.tsv), and what ../speech-fsdd holds out (dev.tsv).
set -eu
recordings=${1:?usage: prepare.sh RECORDINGS DIRECTORY} directory=${2:?usage: prepare.sh RECORDINGS DIRECTORY}
here=$(dirname "$0")
command -v espeak-ng > /dev/null || { echo "espeak-ng is missing: apt-get install espeak-ng" >&2; exit 1; }
sh "$here/../speech-fsdd/prepare.sh" "$recordings" "$directory"
mkdir -p "$directory/synthetic"
folder=$(cd "$directory/synthetic" && pwd)
awk -v folder="$folder" '
function draw(limit) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * limit) }
function say(dialect, voice, text,    name) {
    name = folder "/" ++number ".wav"
    printf "%s+%s\t%d\t%d\t%s\t%s\n", dialect, voice, 110 + draw(90), 25 + draw(55), name, text
}
BEGIN {
    state = 7
    dialects = split("en-us en-gb en-029 en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd", dialect, " ")
    voices = split("m1 m2 m3 m4 m5 m6 m7 f1 f2 f3 f4 f5", voice, " ")
    split("zero one two three four five six seven eight nine", word, " ")
    for (d = 1; d <= dialects; d++)
        for (v = 1; v <= voices; v++) {
            for (digit = 0; digit < 10; digit++)
                say(dialect[d], voice[v], word[digit + 1])
            for (i = 0; i < 10; i++) {
                count = 2 + draw(4)
                text = word[1 + draw(10)]
                while (--count)
                    text = text " " word[1 + draw(10)]
                say(dialect[d], voice[v], text)
            }
        }
}' > "$directory/synthetic/list"
while IFS='	' read -r voice speed pitch file text; do
    espeak-ng -v "$voice" -s "$speed" -p "$pitch" -w "$file" "$text"
done < "$directory/synthetic/list"
awk -F '\t' -v directory="$directory" '
{
    held = $1 ~ /scotland|[+]f3$|[+]m4$/
    file = !held ? "train-synthetic" : $5 ~ / / ? "dev-strings" : "dev-synthetic"
    print $4 "\t" $5 > (directory "/" file ".tsv")
}' "$directory/synthetic/list"
wc -l "$directory"/*.tsv
