#!/bin/sh
# prepare.sh FLICKR8K DIRECTORY [views]: captions (train.tsv, dev.tsv: picture, tab, caption; pictures in images/) in lower case and without
# punctuation, as the published scores count them. dev.references.N holds the N-th caption of each picture of dev.list. With "views", each
# training picture comes once more as its mirror image in train.tsv, and in views.tsv besides with 192 x 192 of the 224 x 224 pixels of
# both, made by jpegtran without loss.
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
# as DIRECTORY TSV: the captions of TSV for the pictures of the same names in DIRECTORY
as() { sed "s|^[^	]*/|$1/|" "$2"; }
if [ "${3:-}" = views ]; then
    mkdir -p "$directory/mirrored" "$directory/cut" "$directory/mirrored-cut"
    cp "$directory/train.tsv" "$directory/plain.tsv"
    number=0
    cut -f 1 "$directory/plain.tsv" | uniq | while read -r picture; do
        name=${picture##*/} corner=+$((number % 3 * 16))+$((number / 3 % 3 * 16)) other=+$((number / 9 % 3 * 16))+$((number / 27 % 3 * 16))
        jpegtran -flip horizontal -trim "$picture" > "$directory/mirrored/$name"
        jpegtran -crop "192x192$corner" "$picture" > "$directory/cut/$name"
        jpegtran -crop "192x192$other" "$directory/mirrored/$name" > "$directory/mirrored-cut/$name"
        number=$((number + 1))
    done
    as "$directory/mirrored" "$directory/plain.tsv" >> "$directory/train.tsv"
    cp "$directory/train.tsv" "$directory/views.tsv"
    for kind in cut mirrored-cut; do as "$directory/$kind" "$directory/plain.tsv" >> "$directory/views.tsv"; done
    rm "$directory/plain.tsv"
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
