#!/bin/sh
# make-data.sh DIRECTORY: sequences of random letters and the same sequences backwards.
# train: 40,000 of 1 to 30 letters; validation: 500 more; length-N: 200 each of exactly N letters, for the curve.
set -eu
directory=${1:?usage: make-data.sh DIRECTORY}
mkdir -p "$directory"
# write NAME COUNT SHORTEST LONGEST SEED
write() {
    awk -v count="$2" -v low="$3" -v high="$4" -v seed="$5" -v source="$directory/$1.source" -v target="$directory/$1.target" '
    # A generator of its own: every awk draws other numbers from rand().
    function draw(limit) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * limit) }
    BEGIN {
        state = seed
        for (i = 0; i < 20; i++)
            draw(2)
        for (line = 0; line < count; line++) {
            forwards = backwards = ""
            length_ = low + draw(high - low + 1)
            for (i = 0; i < length_; i++) {
                letter = sprintf("%c", 97 + draw(26))
                forwards = forwards (i ? " " : "") letter
                backwards = letter (i ? " " : "") backwards
            }
            print forwards > source
            print backwards > target
        }
    }'
}
write train 40000 1 30 1
write validation 500 1 30 2
for length in 2 5 8 10 12 15 18 20 25 30 35 40; do
    write "length-$length" 200 "$length" "$length" "$((1000 + length))"
done
