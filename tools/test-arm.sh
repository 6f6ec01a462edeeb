#!/bin/sh
# Builds for 64-bit ARM with Debian's cross compiler and runs in an emulator: the kernels of every instruction set, the gradients, and
# the command, which must write what this machine's own writes. The last line is "N passed, N failed".
# usage: tools/test-arm.sh BUILD JOBS
set -u
cd "$(dirname "$0")/.." || exit 1
native=$1
build=$1-arm64
jobs=$2
root=$PWD/$build/sysroot
passed=0
failed=0

leave_out() {
    echo "$1: this pass is left out"
    echo "0 passed, 0 failed"
    exit 0
}

# check NAME COMMAND...
check() {
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        echo "failed on ARM: $name"
        failed=$((failed + 1))
    fi
}

# The libraries as Debian has them for ARM, unpacked into a folder: apt's own lists and this system's packages stay as they are.
fetch_libraries() {
    state=$build/packages
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$root" || return 1
    : > "$state/status"
    cat > "$state/apt.conf" << CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
Dir::State::lists "$PWD/$state/lists";
Dir::State::status "$PWD/$state/status";
Dir::Cache::archives "$PWD/$state/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Debug::NoLocking "true";
CONF
    # shellcheck disable=SC2046
    APT_CONFIG=$state/apt.conf apt-get -q update > "$state/log" 2>&1 &&
        APT_CONFIG=$state/apt.conf apt-get -q -y --download-only install $(sh tools/setup.sh --libraries) >> "$state/log" 2>&1 || return 1
    for package in "$state"/archives/*.deb; do
        dpkg-deb -x "$package" "$root" || return 1
    done
    find "$root" -type l -lname '/*' | while read -r link; do
        ln -sfn "$root$(readlink "$link")" "$link"
    done
    : > "$build/sysroot.complete"
}

# A processor that has everything: each test takes all instruction sets in turn.
run_tests() {
    QEMU_CPU=max ctest --test-dir "$build" --parallel "$jobs" --timeout 1800 --output-on-failure --no-tests=error -R "$1"
}

translate() {
    echo "Zwei Hunde spielen im Schnee, und ein Mann mit Hut sieht ihnen zu." |
        "$@" translate -m pretrained/multi30k --to en --threads 1 --precision "$precision"
}

# same_translation CPU: the emulated processor, from which the command chooses its kernels.
same_translation() {
    expected=$(translate "$native/tandem") || return 1
    result=$(QEMU_CPU=$1 translate qemu-aarch64 -L "$root" "$build/tandem")
    [ "$result" = "$expected" ] || { echo "expected: $expected" && echo "result:   $result" && return 1; }
}

for tool in aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v $tool > /dev/null || leave_out "$tool is not installed (tools/setup.sh --arm installs it)"
done
[ -e "$build/sysroot.complete" ] || fetch_libraries || leave_out "this system's package sources have no ARM libraries ($build/packages/log)"

tests="test_pool test_kernels test_product test_gates test_packed test_operation_gradients test_ctc_gradients test_recurrent"
# shellcheck disable=SC2086
if cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE=tools/arm64.cmake "-DTANDEM_SYSROOT=$root" -DCMAKE_BUILD_TYPE=Release &&
    cmake --build "$build" --parallel "$jobs" --target tandem $tests; then
    export OMP_NUM_THREADS=1 # emulated threads that wait busily for each other take very long
    check "tests" run_tests "/($(echo "$tests" | tr ' ' '|'))\$"
    for precision in float32 bfloat16 int8; do
        check "translation in $precision" same_translation max
        check "translation in $precision on the first of the family" same_translation cortex-a53
    done
else
    check "build" false
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
