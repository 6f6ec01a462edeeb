# Sourced by the tests of the command: a folder to work in, and what counts failures.
set -u
tandem=$1
source=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

check() { # what, expected, got
    if [ "$2" != "$3" ]; then
        printf 'FAILED %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
        failures=$((failures + 1))
    fi
}
