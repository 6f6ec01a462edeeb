#!/bin/sh
# average.sh RUNS: the mean of the three stages' models, all in the folder RUNS -> RUNS/multi30k-en-de
set -eu
runs=${1:?usage: average.sh RUNS}
"${TANDEM:-tandem}" average --output "$runs/multi30k-en-de" "$runs/multi30k-en-de-transformer" "$runs/multi30k-en-de-transformer-2" \
    "$runs/multi30k-en-de-transformer-3"
