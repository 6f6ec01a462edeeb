#!/bin/sh
# prepare.sh FLICKR8K DIRECTORY [mirrored]: captions (train.tsv, dev.tsv: picture, tab, caption; pictures in images/) in lower case and without
# punctuation, as the published scores count them. dev.references.N holds the N-th caption of each picture of dev.list. With "mirrored",
# each training picture comes once more as its mirror image, made by jpegtran without loss.
set -eu
flickr8k=$(cd "${1:?usage: prepare.sh FLICKR8K DIRECTORY}" && pwd) directory=${2:?usage: prepare.sh FLICKR8K DIRECTORY}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
for part in train dev; do
    LC_ALL=C awk -F '\t' -v images="$flickr8k/images/" 'BEGIN { OFS = "\t" } {
        text = tolower($2)
        gsub(/[^a-z0-9\x27 -]/, " ", text)
        gsub(/(^| )[-\x27]+( |$)/, " ", text)
        gsub(/ +/, " ", text)
        gsub(/^ | $/, "", text)
        if (text != "")
            print images $1, text
    }' "$flickr8k/$part.tsv" > "$directory/$part.tsv"
done
if [ "${3:-}" = mirrored ]; then
    mkdir -p "$directory/mirrored"
    cut -f 1 "$directory/train.tsv" | uniq | while read -r picture; do
        jpegtran -flip horizontal -trim "$picture" > "$directory/mirrored/${picture##*/}"
    done
    sed "s|^[^	]*/|$directory/mirrored/|" "$directory/train.tsv" > "$directory/mirrored.tsv"
    cat "$directory/mirrored.tsv" >> "$directory/train.tsv"
    rm "$directory/mirrored.tsv"
fi
LC_ALL=C awk -F '\t' -v directory="$directory" '
{
    if ($1 != name) {
        name = $1
        number = 0
        print name > (directory "/dev.list")
    }
    if (++number <= 5)
        print $2 > (directory "/dev.references." number)
}' "$directory/dev.tsv"
wc -l "$directory/train.tsv" "$directory/dev.tsv" "$directory"/dev.references.*
