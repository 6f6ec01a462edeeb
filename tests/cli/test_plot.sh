# tandem plot: writes the picture where it should, and says what is wrong otherwise.
set -eu
tandem=$1
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

printf '{"step":1,"loss":3}\n{"step":2,"loss":2}\n' > "$directory/log.jsonl"
"$tandem" plot "$directory"
grep -q '<polyline' "$directory/log.svg" || fail "no curve in RUN/log.svg"
"$tandem" plot "$directory" -o "$directory/other.svg"
cmp "$directory/log.svg" "$directory/other.svg" || fail "-o writes another picture"

code=0; "$tandem" plot 2> "$directory/message" || code=$?
[ $code = 2 ] || fail "no RUN: exit status $code, not 2"
code=0; "$tandem" plot "$directory/none" 2> "$directory/message" || code=$?
[ $code = 1 ] || fail "absent RUN: exit status $code, not 1"
[ "$(cat "$directory/message")" = "tandem plot: $directory/none/log.jsonl: cannot open: No such file or directory" ] ||
    fail "absent RUN: $(cat "$directory/message")"
