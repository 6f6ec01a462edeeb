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

# ---- error rates: the table, the alignment, references in jsonl ----
printf 'the cat sat on the soft grey mat\nno change here\ngone entirely\n' >spoken
printf 'the bat sat the soft old grey mat\nno change here\n\n' >heard
check 'table' '        sentences  with errors      correct  substituted      deleted     inserted    reference  error rate
wer             3            2            9            1            3            1           13       38.46
cer             3            2           42            1           16            4           59       35.59' \
    "$("$tandem" evaluate --metric wer,cer --table -r spoken heard)"
check 'alignment' 'wer, line 1
REF the cat sat on the soft *** grey mat
HYP the bat sat ** the soft old grey mat
        S       D           I

wer, line 3
REF gone entirely
HYP **** ********
    D    D

wer 38.46 (1 substitutions, 3 deletions, 1 insertions, 9 hits)' \
    "$("$tandem" evaluate --metric wer --alignment -r spoken heard)"
printf 'caf\303\251s\n' >accents
printf 'Caf\303\250\n' >accented
check 'alignment of characters' 'cer, line 1
REF café''s
HYP cafè''*
       SD

cer 40.00 (1 substitutions, 1 deletions, 0 insertions, 3 hits)' \
    "$("$tandem" evaluate --metric cer --alignment --lowercase -r accents accented)"
printf '{"id": 1, "said": "the cat sat on the soft grey mat"}\n{"said": "no change here"}\n{"said": "gone\\u0020entirely", "id": 3}\n' >spoken.jsonl
check 'jsonl references' 'wer 38.46 (1 substitutions, 3 deletions, 1 insertions, 9 hits)' \
    "$("$tandem" evaluate --metric wer --keys said -r spoken.jsonl heard)"
check 'the second of two keys' 'wer 38.46 (1 substitutions, 3 deletions, 1 insertions, 9 hits)' \
    "$("$tandem" evaluate --metric wer --keys id,said -r spoken.jsonl heard)"
fails 'a key that is absent' 1 'spoken.jsonl:1: the object has no string under the key' "$tandem" evaluate --metric wer --keys text -r spoken.jsonl heard
fails 'not jsonl' 1 'spoken:1: line is not a JSON object' "$tandem" evaluate --metric wer --keys said -r spoken heard
fails 'table of bleu' 2 '--table and --alignment work with --metric wer or cer' "$tandem" evaluate --table -r spoken heard
fails 'alignment in JSON' 2 'does not go with --json' "$tandem" evaluate --metric wer --alignment --json -r spoken heard

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
