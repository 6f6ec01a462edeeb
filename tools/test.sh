#!/bin/sh
# All tests: the release build, then the sanitizers' passes, then the checks of the tree. The last line is "N passed, N failed".
# usage: tools/test.sh BUILD JOBS
set -u
cd "$(dirname "$0")/.." || exit 1
build=$1
jobs=$2
passed=0
failed=0

heading() {
    printf '\n== %s\n' "$1"
}

# count DONE FAILED
count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
}

# compile FOLDER CMAKE-OPTION...
compile() {
    folder=$1
    shift
    if cmake -S . -B "$folder" "$@" && cmake --build "$folder" --parallel "$jobs"; then
        return 0
    fi
    echo "the build in $folder failed"
    count 0 1
    return 1
}

# run_tests FOLDER CTEST-OPTION...: runs them and adds up what ctest's last lines say.
run_tests() {
    folder=$1
    shift
    log=$folder/tests.log
    $unrandomised ctest --test-dir "$folder" --parallel "$jobs" --timeout 600 --output-on-failure --no-tests=error "$@" 2>&1 | tee "$log"
    summary=$(sed -n 's/^.*, \([0-9]*\) tests* failed out of \([0-9]*\).*$/\1 \2/p' "$log")
    if [ -z "$summary" ]; then
        count 0 1
    else
        count $((${summary#* } - ${summary% *})) "${summary% *}"
    fi
}

# Older sanitizers do not start where the kernel spreads addresses widely; without spreading they do. Sets `unrandomised`, or
# fails where nothing helps.
sanitizer_starts() {
    probe=$build/sanitizer_probe
    unrandomised=""
    echo 'int main(void) { return 0; }' > "$probe.c"
    ${CC:-cc} -fsanitize="$1" "$probe.c" -o "$probe" || return 1
    "$probe" > /dev/null 2>&1 && "$probe" > /dev/null 2>&1 && "$probe" > /dev/null 2>&1 && return 0
    unrandomised="setarch $(uname -m) -R"
    $unrandomised "$probe" 2> /dev/null && return 0
    unrandomised=""
    return 1
}

# sanitizer_pass NAME SANITIZERS TESTS
sanitizer_pass() {
    heading "tests under the $2 sanitizer"
    if ! sanitizer_starts "$2"; then
        echo "the $2 sanitizer does not start on this machine: this pass is left out"
        return
    fi
    compile "$build-$1" -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g1" "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1" \
        "-DTANDEM_SANITIZE=$2" && run_tests "$build-$1" -R "$3"
}

unrandomised=""
heading "tests of the release build"
compile "$build" -DCMAKE_BUILD_TYPE=Release && run_tests "$build"

export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
# One OpenMP thread: under load its threads would wait busily for each other, and the thread sanitizer cannot see its barriers.
# The threads under test are our own.
export OMP_NUM_THREADS=1
sanitizer_pass asan address,undefined '^(unit|golden|gradient|fault|fuzz)/'
sanitizer_pass tsan thread '(thread|pool|test_training$)'

heading "64-bit ARM in an emulator"
arm_log=$build/arm.log
sh tools/test-arm.sh "$build" "$jobs" 2>&1 | tee "$arm_log"
summary=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$arm_log")
# shellcheck disable=SC2086
count ${summary:-0 1}

heading "the tree"
if sh tools/check_includes.sh; then
    count 1 0
else
    count 0 1
fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
