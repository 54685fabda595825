#!/usr/bin/env bash
# Submits the jobs of all parts with qsub or sbatch: preprocessing, then 1a 1b 2a 2b 3a, then 3a's test, 3b and 3c when
# 3a is trained. Several trials of a part become one job array.
#
#   bash jobs/submit_all.sh --imdb DIR --glove FILE     everything, with the handout's settings
#   bash jobs/submit_all.sh 1a 2a                       these parts; the reviews are preprocessed already
#   bash jobs/submit_all.sh --trials all 1a             all trials of jobs/trials.csv of part 1a
#   bash jobs/submit_all.sh --trials default,long 2a
#   bash jobs/submit_all.sh --sample                    everything on the made-up sample
#   NODES=4 bash jobs/submit_all.sh 3a                  on four nodes
#   SCHEDULER=slurm QUEUE=gpu ACCOUNT=abc bash jobs/submit_all.sh …     jobs/environment.sh has all settings
#
# Prints each job's id, and keeps it in jobs/NAME.id. What is done, or waits or runs already, is not submitted, and a
# training that was cut off goes on. --dry-run prints the commands instead.
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
        --imdb) imdb=$(cd "$here" && realpath -m -- "$2") && shift ;;
        --glove) glove=$(cd "$here" && realpath -m -- "$2") && shift ;;
        --trials) names=$2 && shift ;;
        1a | 1b | 2a | 2b | 3a | 3b | 3c) parts="$parts $1" ;;
        *) usage "$1 is no option and no part" ;;
    esac
    shift
done
for path in "$imdb" "$glove"; do
    [ -z "$path" ] || [ -e "$path" ] || usage "there is no $path"
done
[ -z "$glove" ] || [ -n "$imdb" ] || usage "--glove goes with --imdb"
[ -z "$sample" ] || [ -z "$imdb$names" ] || usage "--sample goes with neither --imdb nor --trials"

. jobs/functions.sh
if [ -n "$sample" ]; then
    use_sample
    export DATA
    preprocess=--sample
else
    use_trials "$names"
    # words, in quotes as ARGS may have them
    preprocess=$([ -z "$imdb" ] || printf -- '--imdb %q' "$imdb")$([ -z "$glove" ] || printf -- ' --glove %q' "$glove")
fi
given_model=${LANGUAGE_MODEL:-}
export TABLE TRIALS='' TRIAL=default ARGS='' TEST_ARGS='' LANGUAGE_MODEL='' STEPS='train test'
. jobs/environment.sh
submits="qsub"
[ "$SCHEDULER" != slurm ] || submits=sbatch
[ -n "$dry_run" ] || command -v $submits >/dev/null || {
    echo "error: there is no $submits here; log in to the cluster, set SCHEDULER (jobs/environment.sh), or see with" \
        "--dry-run what would be submitted" >&2
    exit 2
}
[ -x "$(command -v "$PYTHON")" ] || {
    echo "error: there is no $PYTHON: make it with  bash jobs/make_environment.sh requirements.txt" >&2
    exit 2
}
# shellcheck disable=SC2086 # a list of words
lines=$("$PYTHON" jobs/trials.py "$TABLE" "$names" $parts)

submitted=''
# find NAME: the id of the job NAME, if it is submitted, by this call or an earlier one
find() {
    local rest=${submitted#* "$1"=}
    if [ "$rest" != "$submitted" ]; then echo "${rest%% *}"; else job_of "$1"; fi
}

# remember NAME ID: for find, in this call and later ones
remember() {
    submitted="$submitted $1=$2 "
    [ -n "$dry_run" ] || echo "$2" >"jobs/$1.id"
}

# submit NAME PART DEPENDENCY [TRIAL...]: submits the part's job, or an array with one for each trial, to run when the
# job DEPENDENCY, if there is one, has ended well; sets id
submit() {
    local name=$1 part=$2 dependency=${3:+afterok:$3} setting trial index=0
    shift 3
    submission "$name" "$part" "$dependency" ${1:+$#}
    if [ -n "$dry_run" ]; then
        id="<$name>"
        for setting in ${SETTINGS//,/ }; do printf '%s=%q ' "$setting" "${!setting}"; done
        printf '%q ' "${command[@]}" | sed 's/\\\([,<>]\)/\1/g; s/ $//'
        echo
    else
        id=$("${command[@]}")
        echo "$name $id${1:+ ($*)}"
    fi
    [ $# -gt 0 ] || remember "$name" "$id"
    for trial; do
        index=$((index + 1))
        case $id in # 7[].server has 7[1].server, Slurm's 7 has 7_1
            *\[\]*) remember "$part-$trial" "${id/\[\]/[$index]}" ;;
            *) remember "$part-$trial" "${id}_$index" ;;
        esac
    done
}

# release: submits the trials that are held, which can be one array
held='' held_key=''
release() {
    TRIALS=${held#:} held='' held_key=''
    # shellcheck disable=SC2086 # a list of words
    case $TRIALS in
        '') ;;
        *:*) submit "$held_part-trials" "$held_part" "$held_dependency" ${TRIALS//:/ } ;;
        *) submit "$held_part-$TRIALS" "$held_part" "$held_dependency" ;;
    esac
}

name=preprocess${sample:+-sample}
preprocessing=$(find "$name")
if [ -n "$preprocessing" ]; then
    echo "$name waits or runs already: $preprocessing"
elif ! is_preprocessed "$glove"; then
    [ -n "$preprocess" ] || usage "there is nothing in $DATA: give --imdb DIR [--glove FILE]"
    ARGS=$(encoded "$preprocess") NODES=1 submit "$name" preprocess ''
    preprocessing=$id
fi

while IFS=$'\x1f' read -r part trial options test_options <&3; do
    name=$part-$trial dependency=$preprocessing missing='give --glove FILE' start='' steps='train test'
    if [[ $part = 3[bc] ]]; then
        release # the 3a that it waits for
        start=${given_model:-$(language_model "$trial" "$(find "3a-$trial")")}
        missing='submit 3a too' from=${start#3a/trials/} from=${from%/language.model}
        dependency=$(find "3a-${from/#3a/default}")
    fi
    TRIAL=$trial LANGUAGE_MODEL=$start describe "$part"
    if [ ! -e "$source" ] && { [ -z "$dependency" ] || [[ $part = [12]b && -z $glove$sample ]]; }; then
        echo "$name not submitted, there is no $source: $missing" >&2
        continue
    fi
    id=$(find "$name")
    if [ -n "$id" ]; then
        echo "$name waits or runs already: $id"
        [ "$part" = 3a ] || continue
        dependency=$id steps="test"
    elif [ -z "$dependency" ] && is_current "$model" "$source"; then
        steps="test"
        if is_current "$result" "$model"; then
            echo "$name done already"
            continue
        fi
    fi
    key="$part $dependency $start $steps"
    [ "$key" = "$held_key" ] && [ "$part" != 3a ] || release
    if [ -z "$held" ]; then
        TRIAL=$trial ARGS=$(encoded "$options") TEST_ARGS=$(encoded "$test_options") LANGUAGE_MODEL=$start STEPS=$steps
    fi
    if [ "$part" != 3a ]; then
        held_key=$key held_part=$part held_dependency=$dependency held=$held:$trial
        continue
    fi
    # 3a's test is a job of its own: what needs only the model does not wait for it
    if [ "$steps" != test ]; then
        STEPS=train submit "$name" 3a "$dependency"
        dependency=$id
    fi
    id=$(find "$name-test")
    if [ -n "$id" ]; then
        echo "$name-test waits or runs already: $id"
    else
        STEPS="test" submit "$name-test" 3a "$dependency"
    fi
done 3<<<"$lines"
release
