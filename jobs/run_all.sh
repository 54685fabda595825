#!/usr/bin/env bash
# Carries out the whole handout: preprocesses, trains and tests every part, generates reviews, makes the results sheet.
#
#   bash jobs/run_all.sh                             the made-up sample, small enough for a CPU: some minutes
#   bash jobs/run_all.sh --imdb DIR --glove FILE     the real data, the handout's settings: a day or two on a CPU
#   … --trials all, or --trials default,overfits     the trials of jobs/trials.csv, too
#   … --side-by-side 8                               so many trials of a part at a time, on one GPU
#   … --dry-run                                      only shows the commands that would be run
#
# What is done already is not done again, and a training that was cut off goes on. The sample's models go to
# PART/trials/sample, the real ones to PART, where the test scripts look for them. Without --glove, 1b and 2b are
# left out.
set -euo pipefail

usage() {
    echo "error: $1; usage: bash jobs/run_all.sh [--dry-run] [--side-by-side N] [--imdb DIR [--glove FILE] [--trials all|NAME,…]]" >&2
    exit 2
}

DRY_RUN='' SIDE_BY_SIDE='' sample='' imdb='' glove='' names=''
while [ $# -gt 0 ]; do
    [[ ! $1 =~ ^--(imdb|glove|trials|side-by-side)$ || $# -ge 2 ]] || usage "$1 needs a value"
    [[ ! $1 =~ ^--(imdb|glove)$ || -e $2 ]] || usage "there is no $2"
    case $1 in
        -h | --help) exec sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
        --dry-run) DRY_RUN=1 ;;
        --imdb) imdb=$(realpath -- "$2") && shift ;;
        --glove) glove=$(realpath -- "$2") && shift ;;
        --trials) names=$2 && shift ;;
        --side-by-side)
            [[ $2 =~ ^[1-9][0-9]*$ ]] || usage "--side-by-side $2: expected how many trials run at a time"
            SIDE_BY_SIDE=$2 && shift
            ;;
        *) usage "unknown option $1" ;;
    esac
    shift
done
[ -n "$imdb" ] || [ -z "$glove$names" ] || usage "--glove and --trials go with --imdb"

CDPATH='' cd -- "$(dirname -- "$0")/.."
[ -n "$DRY_RUN" ] || bash jobs/make_environment.sh requirements.txt

. jobs/functions.sh
. jobs/side_by_side.sh
PYTHON=.venv/bin/python LAUNCHER='' TORCHRUN='' DEVICE='' LANGUAGE_MODEL='' STEPS='train test' DEADLINE=''
[ -x $PYTHON ] || usage "there is no $PYTHON yet, make it with  bash jobs/make_environment.sh requirements.txt"
if [ -n "$imdb" ]; then
    TABLE=jobs/trials.csv DATA=preprocessed_data names=${names:-default}
    preprocess=(--imdb "$imdb" ${glove:+--glove "$glove"})
else
    TABLE=jobs/sample.csv DATA=preprocessed_data/sample names=sample sample=1
    preprocess=(--sample) glove=sample
fi
lines=$("$PYTHON" jobs/trials.py "$TABLE" "$names")

if is_preprocessed "$glove"; then
    echo "== preprocessing: done already"
else
    echo "== preprocessing"
    run '' preprocess_data.py "${preprocess[@]}" --output "$DATA"
fi

for part in 1a 1b 2a 2b 3a 3b 3c; do
    trials=$(grep "^$part" <<<"$lines") || continue
    if [[ $part = [12]b && -z $glove ]]; then
        continue
    elif [ -n "$SIDE_BY_SIDE" ] && [ -z "$DRY_RUN" ]; then
        side_by_side "$trials"
    else
        while IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <&3; do run_trial "$part"; done 3<<<"$trials"
    fi
done

[ -z "$DRY_RUN" ] || exit 0
echo "== the results sheet"
status=0
"$PYTHON" jobs/sheet/results_sheet.py ${sample:+--sample} || status=$?
tell_failed
exit $status
