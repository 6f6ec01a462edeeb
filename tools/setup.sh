#!/bin/sh
# Installs what the build needs, where packages are Debian's; elsewhere says what to install. `--check` only looks, `--arm` adds what
# tools/test-arm.sh needs, `--libraries` prints which libraries are linked.
set -eu

libraries="libdnnl-dev libsentencepiece-dev libpcre2-dev libjansson-dev libyaml-dev
zlib1g-dev libicu-dev libsndfile1-dev libsoxr-dev libjpeg-dev libpng-dev libwebp-dev libzip-dev
libcmocka-dev"
packages="build-essential cmake pkg-config $libraries"
case ${1:-} in
--arm) packages="$packages gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" ;;
--libraries) echo "$libraries" && exit 0 ;;
esac

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    # Not Debian: look for the tools and let CMake name a library that is missing.
    if command -v cmake > /dev/null && command -v pkg-config > /dev/null && command -v cc > /dev/null; then
        exit 0
    fi
    cat >&2 <<'LIST'
tandem needs these, which this script can install only on Debian and Ubuntu:
  a C17 and C++17 compiler with OpenMP, make, CMake 3.22 or newer, pkg-config
  oneDNN 2.6 or newer       (with its CMake package: dnnl-config.cmake)
  SentencePiece             (pkg-config: sentencepiece)
  PCRE2, 8 bit              (pkg-config: libpcre2-8)
  jansson, libyaml, zlib    (pkg-config: jansson, yaml-0.1, zlib)
  ICU                       (pkg-config: icu-uc)
  libsndfile, libsoxr       (pkg-config: sndfile, soxr)
  libjpeg-turbo, libpng, libwebp, libzip (pkg-config: libjpeg, libpng, libwebp, libzip)
  cmocka, for the tests     (pkg-config: cmocka)
LIST
    exit 1
fi

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2> /dev/null) || status=""
    case $status in
    *" installed") ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -z "$missing" ]; then
    exit 0
fi

if [ "${1:-}" = --check ]; then
    echo "missing packages:$missing" >&2
    echo "install them with: sh tools/setup.sh" >&2
    exit 1
fi

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo > /dev/null; then
    as_root="sudo"
else
    echo "these packages are missing and this is neither root nor is there sudo; have them installed:" >&2
    echo "  apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
