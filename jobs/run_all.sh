#!/usr/bin/env bash
# Carries out the whole handout: preprocesses, trains and tests every part, generates reviews, makes the results sheet.
#
#   bash jobs/run_all.sh                             the made-up sample, small enough for a CPU: some minutes
#   bash jobs/run_all.sh --imdb DIR --glove FILE     the real data, the handout's settings: a day or two on a CPU
#   … --trials all, or --trials default,overfits     the trials of jobs/trials.csv, too
#   … --side-by-side 8                               so many trials of a part at a time, on one GPU
#   … 1a 2a                                          these parts alone
#   … --dry-run                                      only shows the commands that would be run
#
# What is done already is not done again, and a training that was cut off goes on. The sample's models go to
# PART/trials/sample, the real ones to PART, where the test scripts look for them. Without --glove, 1b and 2b are
# left out.
set -euo pipefail

# shellcheck source=jobs/functions.sh
. "$(dirname -- "$0")/functions.sh"
[[ " $* " = *' --imdb '* ]] || set -- --sample "$@"
DATA=preprocessed_data
parse_arguments "$@"
CDPATH='' cd -- "$(dirname -- "$0")/.."
[ -n "$DRY_RUN" ] || bash jobs/make_environment.sh requirements.txt

PYTHON=.venv/bin/python LAUNCHER='' TORCHRUN='' DEVICE='' LANGUAGE_MODEL='' DEADLINE='' JOB=''
[ -x $PYTHON ] || fail "there is no $PYTHON yet, make it with  bash jobs/make_environment.sh requirements.txt"
# shellcheck disable=SC2086 # a list of words
lines=$("$PYTHON" jobs/trials.py "$TABLE" "$names" $parts)

if is_preprocessed "$glove$sample"; then
    echo "== preprocessing: done already"
else
    echo "== preprocessing"
    run '' preprocess_data.py ${sample:+--sample} ${imdb:+--imdb "$imdb"} ${glove:+--glove "$glove"} --output "$DATA"
fi

for part in 1a 1b 2a 2b 3a 3b 3c; do
    trials=$(grep "^$part" <<<"$lines") || continue
    if [[ $part = [12]b && -z $glove$sample ]]; then
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
