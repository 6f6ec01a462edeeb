#!/bin/sh
# Fails on an #include that points the wrong way: each room lists what it may look into. docs/design.md shows the picture.
set -eu
cd "$(dirname "$0")/.."

find src cli server bench examples -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) 2> /dev/null | sort | xargs awk '
function allow(room, list,    i, n, names) {
    n = split(list, names, " ")
    known[room] = 1
    for (i = 1; i <= n; i++)
        allowed[room, names[i]] = 1
}
BEGIN {
    public = "tandem"
    allow("base", public)
    allow("platform", "base")
    allow("kernels", "base platform tensor/real.h")
    allow("tensor", "base platform kernels tandem/profile.h")
    allow("ops", "base platform kernels tensor")
    allow("layers", "base platform kernels tensor ops io")
    allow("models", "base platform kernels tensor ops layers io")
    beside = "base platform kernels tensor models/architecture.h models/copying.h "
    allow("io", "base platform tensor/dtype.h")
    allow("text", beside "io")
    allow("audio", beside "io frontend/kind.h")
    allow("vision", beside "io frontend/kind.h")
    allow("frontend", beside "io audio vision")
    allow("decoding", beside "io")
    allow("metrics", beside "io " public)
    allow("training", beside "ops layers io text frontend audio/augment.h decoding/generate.h metrics/cider.h metrics/sentence_score.h " public)
    allow("api", "base platform kernels tensor ops layers models io text audio vision frontend decoding metrics training " public)
    allow("cli", public)
    allow("server", public)
    allow("bench", "base platform kernels io layers models/architecture.h decoding/generate.h api/model.h " public) # measures rooms by themselves too
    allow("examples", public)
}
/^[ \t]*#[ \t]*include[ \t]*["<]/ {
    split(FILENAME, place, "/")
    room = place[1] == "src" ? place[2] : place[1]
    target = $0
    sub(/^[^"<]*["<]/, "", target)
    sub(/[">].*$/, "", target)
    if (!known[room]) {
        printf "%s: the room \"%s\" has no rule in tools/check_includes.sh\n", FILENAME, room
        wrong = 1
        nextfile
    }
    slash = index(target, "/")
    if (!slash)
        next # a system header, or a neighbour in the same folder
    head = substr(target, 1, slash - 1)
    if ($0 ~ /</ && !known[head] && head != public)
        next # <sys/stat.h>
    if (head != room && !allowed[room, head] && !allowed[room, target]) {
        printf "%s:%d: %s may not include %s\n", FILENAME, FNR, room, target
        wrong = 1
    }
    total++
}
END {
    if (!wrong)
        printf "%d includes between rooms, every arrow points down\n", total
    exit wrong
}'
