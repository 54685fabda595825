#!/usr/bin/env bash
# Carries out the whole handout: preprocesses, trains and tests every part, generates reviews, prints a table.
#
#   bash jobs/run_all.sh                             the made-up sample, small enough for a CPU: some minutes
#   bash jobs/run_all.sh --imdb DIR --glove FILE     the real data, the handout's settings: a day or two on a CPU
#   … --trials all, or --trials default,overfits     the trials of jobs/trials.csv, too
#
# What is done already is not done again, and a training that was cut off goes on. The sample's models go to
# PART/trials/sample, the real ones to PART, where the test scripts look for them. Without --glove, 1b and 2b are
# left out.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

usage() {
    echo "error: $1; usage: bash jobs/run_all.sh [--imdb DIR [--glove FILE] [--trials all|NAME,…]]" >&2
    exit 2
}

imdb='' glove='' names=''
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$1 needs a value"
    case $1 in
        --imdb) imdb=$(cd "$here" && realpath -- "$2") ;;
        --glove) glove=$(cd "$here" && realpath -- "$2") ;;
        --trials) names=$2 ;;
        *) usage "unknown option $1" ;;
    esac
    shift 2
done
[ -n "$imdb" ] || [ -z "$glove$names" ] || usage "--glove and --trials go with --imdb"

bash jobs/make_environment.sh requirements.txt

. jobs/functions.sh
PYTHON=$PWD/.venv/bin/python LAUNCHER='' DEVICE='' DATA=preprocessed_data
if [ -n "$imdb" ]; then
    use_trials "$names"
    preprocess=(--imdb "$imdb" ${glove:+--glove "$glove"})
else
    use_sample
    preprocess=(--sample)
    glove=sample
fi
lines=$("$PYTHON" jobs/trials.py "$TABLE" "$names")

# record NAME SOURCE COMMAND...: does what `keep` does, unless the file NAME is current; then shows it
record() {
    if is_current "$1" "$2"; then
        cat "$1"
    else
        keep "$1" "${@:3}"
    fi
}

if is_preprocessed "$glove"; then
    echo "== preprocessing: done already"
else
    echo "== preprocessing"
    run preprocess_data.py "${preprocess[@]}" --output "$DATA"
fi

while IFS=$'\x1f' read -r part TRIAL ARGS TEST_ARGS <&3; do
    [[ $part != [12]b || -n $glove ]] || continue
    LANGUAGE_MODEL=''
    describe "$part"
    title=$part
    case $TRIAL in default | sample) ;; *) title="$part $TRIAL" ;; esac
    mkdir -p "$to"
    if [ "$part" = 3b ]; then
        echo "== $title: generate_review.py"
        record "$result" "$source" generate
        continue
    elif is_current "$model" "$source"; then
        echo "== $title: trained already"
    else
        echo "== $title: $train_script"
        train "$part"
    fi
    echo "== $title: $test_script"
    record "$result" "$model" test_model "$part"
done 3<<<"$lines"

echo
echo "part  trial             test accuracy"
while IFS=$'\x1f' read -r part trial _; do
    [ -e "$(folder "$part" "$trial")/test.txt" ] || continue
    # a line is [length] accuracy loss seconds, and perplexity for 3a
    awk -v part="$part" -v trial="$trial" '
        { length_of = NF > 3 ? $1 : 0; accuracy = NF > 3 ? $2 : $1 }
        accuracy > best || NR == 1 { best = accuracy; best_length = length_of; perplexity = NF > 4 ? $5 : 0 }
        END {
            printf "%s    %-16s  %s %%", part, trial, best
            if (best_length) printf "   at length %d", best_length
            if (perplexity) printf " (of the words), perplexity %s", perplexity
            print ""
        }' "$(folder "$part" "$trial")/test.txt"
done <<<"$lines"
