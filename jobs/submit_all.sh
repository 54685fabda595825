#!/usr/bin/env bash
# Submits the jobs of all parts with qsub: preprocessing, then 1a 1b 2a 2b 3a, then 3b and 3c when 3a is done.
#
#   bash jobs/submit_all.sh --imdb DIR --glove FILE     everything, with the handout's settings
#   bash jobs/submit_all.sh 1a 2a                       these parts; the reviews are preprocessed already
#   bash jobs/submit_all.sh --trials all 1a             all trials of jobs/trials.csv of part 1a
#   bash jobs/submit_all.sh --trials default,long 2a
#   bash jobs/submit_all.sh --sample                    everything on the made-up sample
#   NODES=4 bash jobs/submit_all.sh 3a                  on four nodes
#
# Prints each job's id. What is done already is not submitted, and a training that was cut off goes on. --dry-run
# prints the commands instead. jobs/environment.sh has the cluster's settings.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

usage() {
    echo "error: $1; usage: bash jobs/submit_all.sh [--dry-run] [--sample | --imdb DIR [--glove FILE]]" \
        "[--trials all|NAME,…] [PART…]" >&2
    exit 2
}

dry_run='' sample='' imdb='' glove='' names='' parts=''
while [ $# -gt 0 ]; do
    case $1 in
        --imdb | --glove | --trials) [ $# -ge 2 ] || usage "$1 needs a value" ;;
    esac
    case $1 in
        --dry-run) dry_run=1 ;;
        --sample) sample=1 ;;
        --imdb) imdb=$(cd "$here" && realpath -- "$2") && shift ;;
        --glove) glove=$(cd "$here" && realpath -- "$2") && shift ;;
        --trials) names=$2 && shift ;;
        1a | 1b | 2a | 2b | 3a | 3b | 3c) parts="$parts $1" ;;
        *) usage "$1 is no option and no part" ;;
    esac
    shift
done
[ -z "$glove" ] || [ -n "$imdb" ] || usage "--glove goes with --imdb"
[ -z "$sample" ] || [ -z "$imdb$names" ] || usage "--sample goes with neither --imdb nor --trials"

. jobs/functions.sh
if [ -n "$sample" ]; then
    use_sample
    export DATA LANGUAGE_MODEL
    preprocess=--sample
else
    use_trials "$names"
    preprocess="${imdb:+--imdb $imdb}${glove:+ --glove $glove}"
fi
export TRIAL=default ARGS='' TEST_ARGS=''
. jobs/environment.sh
[ -n "$dry_run" ] || command -v qsub >/dev/null || {
    echo "error: there is no qsub here; log in to the cluster, or see with --dry-run what would be submitted" >&2
    exit 2
}

unknown=$(unknown_trial "$table" "$names")
[ -z "$unknown" ] || usage "$table has no trial $unknown"

# submit PART DEPENDENCY: sets id; DEPENDENCY is the id of a job that has to end well before, or nothing
submit() {
    local name=$1-$TRIAL command
    command=(qsub -N "$(printf %.15s "imdb-$name")" -o "jobs/$name.out" -e "jobs/$name.err"
        -l "nodes=$NODES:$NODE_KIND" ${2:+-W "depend=afterok:$2"} -v "$SETTINGS" "jobs/$1.pbs")
    if [ -n "$dry_run" ]; then
        id="<$name>"
        echo "TRIAL=$TRIAL ARGS='$ARGS' TEST_ARGS='$TEST_ARGS' ${command[*]}"
    else
        id=$("${command[@]}")
        echo "$name $id"
    fi
}

# is_done PART: the trial's model, or what is printed from it, is there, and no older than what it is made from
is_done() {
    local to
    to=$(folder "$1" "$TRIAL")
    if [ "$1" = 3b ]; then
        is_current "$to/reviews.txt" "$source"
    else
        is_current "$to/$model" "$source" && is_current "$to/test.txt" "$to/$model"
    fi
}

preprocessing=''
if ! is_preprocessed "$glove"; then
    [ -n "$preprocess" ] || usage "there is nothing in $DATA: give --imdb DIR [--glove FILE]"
    ARGS=$preprocess
    NODES=1 submit preprocess ''
    preprocessing=$id
fi

language_model=''
while IFS=, read -r part TRIAL ARGS TEST_ARGS _ <&3; do
    case " $parts " in "  " | *" $part "*) ;; *) continue ;; esac
    describe "$part"
    case $part in
        3b | 3c) dependency=$language_model missing='submit 3a too' ;;
        *) dependency=$preprocessing missing='give --glove FILE' ;;
    esac
    if [ ! -e "$source" ] && { [ -z "$dependency" ] || [[ $part = [12]b && -z $glove$sample ]]; }; then
        echo "$part-$TRIAL not submitted, there is no $source: $missing" >&2
        continue
    fi
    if [ -z "$dependency" ] && is_done "$part"; then
        echo "$part-$TRIAL done already"
        continue
    fi
    submit "$part" "$dependency"
    case $part-$TRIAL in 3a-default | 3a-sample) language_model=$id ;; esac
done 3< <(trials "$table" "$names")
