#!/usr/bin/env bash
# tandem evaluate: figures, files, and what it says when called wrongly.
. "$(dirname "$0")/common.sh"

fails() { # what, exit code, part of the message, command...
    local what=$1 code=$2 part=$3 output got
    shift 3
    output=$("$@" 2>&1 >/dev/null </dev/null)
    got=$?
    check "$what: exit code" "$code" "$got"
    case $output in *"$part"*) ;; *) check "$what: message" "*$part*" "$output" ;; esac
}

printf 'A small boat leaves the harbour.\nTwo cats sleep, as ever.\n' >reference
printf 'A small boat leaves the port.\nTwo cats sleep as ever.\n' >output
printf 'A small boat leaves the harbour.\r\nTwo cats sleep, as ever.' >same
printf 'Some vessel sails.\nCats.\n' >worse
gzip -k reference

# `sacrebleu reference -i output -m bleu` prints these figures; two words of eleven differ
check bleu 'bleu 52.90 92.3/72.7/55.6/28.6 (brevity penalty 0.926, lengths 13/14) nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0' \
    "$("$tandem" evaluate --metric bleu --reference reference output)"
check 'wer' 'wer 18.18 (2 substitutions, 0 deletions, 0 insertions, 9 hits)' \
    "$("$tandem" evaluate --metric wer -r reference <output)"
check 'gzip, line ends' 'exact 100.00' "$("$tandem" evaluate --metric exact --reference reference.gz same)"
check 'any of two references' 'exact 100.00' \
    "$("$tandem" evaluate --metric exact --reference worse --reference reference reference)"
check 'a metric a line' 'bleu chrf exact rouge wer cer cider ' \
    "$("$tandem" evaluate --metric bleu,chrf,exact,rouge,wer,cer,cider -r reference output | cut -d' ' -f1 | tr '\n' ' ')"
json=$("$tandem" evaluate --json --metric bleu,rouge,wer --reference reference reference)
check 'one object' 1 "$(printf '%s\n' "$json" | wc -l)"
for part in '"bleu": {"score": 100' '"signature": "nrefs:1|' '"rougeL": 100.0' '"wer": {"score": 0.0, "substitutions": 0'; do
    case $json in *"$part"*) ;; *) check json "*$part*" "$json" ;; esac
done
case $("$tandem" evaluate --metric bleu --compare worse --bootstrap 100 -r reference output) in
*'p = '*'|bs:100|seed:12345|'*) ;; *) check compare 'p and signature' 'neither' ;; esac

head -n 1 reference >short
fails 'unequal length' 1 'short has 1 lines and output has 2' "$tandem" evaluate -r short output
fails 'empty' 1 'standard input has no lines' "$tandem" evaluate -r /dev/null
fails 'missing file' 1 'absent: No such file' "$tandem" evaluate -r absent output
printf 'good\nbr\377ken\n' >broken
fails 'not UTF-8' 1 'broken:2: line is not UTF-8 (byte 3)' "$tandem" evaluate -r reference broken
printf 'go\0od\n' >zero
fails 'zero byte' 1 'zero:1: a zero byte' "$tandem" evaluate -r reference zero
head -c 40 reference.gz >cut.gz
fails 'cut short' 1 'cut.gz: ' "$tandem" evaluate -r cut.gz output
fails 'a directory' 1 '.: ' "$tandem" evaluate -r . output
fails 'no reference' 2 '--reference FILE is needed' "$tandem" evaluate output
fails 'unknown metric' 2 'no metric "blue"' "$tandem" evaluate --metric bleu,blue -r reference output
fails 'two references' 2 'wer takes one --reference' "$tandem" evaluate --metric wer -r reference -r same output
fails 'two files' 2 'one file of hypotheses' "$tandem" evaluate -r reference output same
fails 'twice standard input' 2 'standard input can be one file only' "$tandem" evaluate -r - -
fails 'nothing to compare' 2 '--compare works with' "$tandem" evaluate --metric wer --compare worse -r reference output
fails 'tokenizer' 2 '--tokenize is one of' "$tandem" evaluate --tokenize 14 -r reference output
[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
