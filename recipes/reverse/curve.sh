#!/bin/sh
# curve.sh DATA CURVE.svg RUN...: exact match in percent of each run's model at every length, as a table and as a picture.
set -eu
data=${1:?usage: curve.sh DATA CURVE.svg RUN...} picture=$2
shift 2
tandem=${TANDEM:-tandem}
table=$(mktemp)
trap 'rm -f "$table"' EXIT
for run in "$@"; do
    for length in 2 5 8 10 12 15 18 20 25 30 35 40; do
        score=$("$tandem" generate -m "$run" --beam 1 "$data/length-$length.source" |
            "$tandem" evaluate --metric exact --reference "$data/length-$length.target" | sed 's/[^0-9.]*\([0-9.]*\).*/\1/')
        echo "$(basename "$run") $length $score"
    done
done > "$table"
awk '{ if (!($1 in seen)) { seen[$1] = 1; runs[++n] = $1 } value[$1, $2] = $3; if (n == 1) lengths[++m] = $2 }
END {
    printf "| letters |"; for (j = 1; j <= m; j++) printf " %s |", lengths[j]; printf "\n|---|"
    for (j = 1; j <= m; j++) printf "---|"; print ""
    for (i = 1; i <= n; i++) { printf "| %s |", runs[i]; for (j = 1; j <= m; j++) printf " %s |", value[runs[i], lengths[j]]; print "" }
}' "$table"
awk -v q='"' 'BEGIN { split("#1f77b4 #d62728 #2ca02c #9467bd", color, " ") }
function x(length_) { return 60 + length_ * 12 }
function y(percent) { return 270 - percent * 2.3 }
{ if (!($1 in number)) { number[$1] = ++n; name[n] = $1 } points[number[$1]] = points[number[$1]] " " x($2) "," y($3) }
END {
    print "<svg xmlns=" q "http://www.w3.org/2000/svg" q " viewBox=" q "0 0 600 320" q " font-family=" q "sans-serif" q " font-size=" q "12" q ">"
    print "<rect width=" q "600" q " height=" q "320" q " fill=" q "white" q "/>"
    for (v = 0; v <= 100; v += 25)
        print "<path d=" q "M60 " y(v) "H540" q " stroke=" q "#ddd" q "/><text x=" q "52" q " y=" q y(v) + 4 q " text-anchor=" q "end" q ">" v " %</text>"
    for (v = 0; v <= 40; v += 5)
        print "<text x=" q x(v) q " y=" q "288" q " text-anchor=" q "middle" q ">" v "</text>"
    print "<text x=" q "300" q " y=" q "308" q " text-anchor=" q "middle" q ">letters in the sequence (training: up to 30)</text>"
    for (i = 1; i <= n; i++)
        print "<polyline fill=" q "none" q " stroke-width=" q "2" q " stroke=" q color[i] q " points=" q points[i] q "/>" \
              "<text x=" q "72" q " y=" q 225 - 16 * (i - 1) q " fill=" q color[i] q ">" name[i] "</text>"
    print "</svg>"
}' "$table" > "$picture"
