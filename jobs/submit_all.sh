#!/usr/bin/env bash
# Submits the jobs of all parts with qsub or sbatch: preprocessing, then 1a 1b 2a 2b 3a, then 3a's test, 3b and 3c when
# 3a is trained. Several trials of a part become one job array.
#
#   bash jobs/submit_all.sh --imdb DIR --glove FILE     everything, with the handout's settings
#   bash jobs/submit_all.sh 1a 2a                       these parts; the reviews are preprocessed already
#   bash jobs/submit_all.sh --trials all 1a             all trials of jobs/trials.csv of part 1a
#   bash jobs/submit_all.sh --trials default,long 2a
#   bash jobs/submit_all.sh --sample                    everything on the made-up sample
#   SIDE_BY_SIDE=8 bash jobs/submit_all.sh --trials all 2a     eight at a time on the GPU of one job, in place of an array
#   NODES=4 bash jobs/submit_all.sh 3a                  on four nodes
#   SCHEDULER=slurm QUEUE=gpu ACCOUNT=abc bash jobs/submit_all.sh …     jobs/environment.sh has all settings
#
# Prints each job's id, and keeps it in jobs/NAME.id. What is done, or waits or runs already, is not submitted, and a
# training that was cut off goes on. --dry-run prints the commands instead.
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}
usage() {
    fail "$1; usage: bash jobs/submit_all.sh [--dry-run] [--sample | --imdb DIR [--glove FILE]] [--trials all|NAME,…] [PART…]"
}

dry_run='' sample='' imdb='' glove='' names='' parts=''
while [ $# -gt 0 ]; do
    [[ ! $1 =~ ^--(imdb|glove|trials)$ || $# -ge 2 ]] || usage "$1 needs a value"
    [[ ! $1 =~ ^--(imdb|glove)$ || -e $2 ]] || usage "there is no $2"
    case $1 in
        -h | --help) exec sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
        --dry-run) dry_run=1 ;;
        --sample) sample=1 ;;
        --imdb) imdb=$(realpath -- "$2") && shift ;;
        --glove) glove=$(realpath -- "$2") && shift ;;
        --trials) names=$2 && shift ;;
        1a | 1b | 2a | 2b | 3a | 3b | 3c) parts="$parts $1" ;;
        *) usage "$1 is no option and no part" ;;
    esac
    shift
done
[ -z "$glove" ] || [ -n "$imdb" ] || usage "--glove goes with --imdb"
[ -z "$sample" ] || [ -z "$imdb$names" ] || usage "--sample goes with neither --imdb nor --trials"

CDPATH='' cd -- "$(dirname -- "$0")/.."
unset PBS_JOBID PBS_NODEFILE "${!SLURM_JOB@}" # it may be called in an interactive job
export TABLE=jobs/trials.csv TRIALS='' ARGS='' TEST_ARGS='' STEPS='train test'
names=${names:-default}
[ -z "$sample" ] || export TABLE=jobs/sample.csv DATA=preprocessed_data/sample names=sample
. jobs/environment.sh
. jobs/functions.sh
submits="qsub"
[ "$SCHEDULER" != slurm ] || submits=sbatch
[ -n "$dry_run" ] || command -v $submits >/dev/null || fail "there is no $submits here; log in to the cluster, set \
SCHEDULER (jobs/environment.sh), or see with --dry-run what would be submitted"
[ -x "$(command -v "$PYTHON")" ] || fail "there is no $PYTHON: make it with  bash jobs/make_environment.sh requirements.txt"
# shellcheck disable=SC2086 # a list of words
lines=$("$PYTHON" jobs/trials.py "$TABLE" "$names" $parts)
# one call at a time, or two would submit the same; where the file system knows no locks, so it is
exec 9>jobs/submit.lock
flock 9 || true

submitted='' # what this call submits: " NAME=ID  NAME=ID "
# id_of NAME: the id of the job NAME, if it is submitted, by this call or an earlier one
id_of() {
    local rest=${submitted#* "$1"=}
    if [ "$rest" != "$submitted" ]; then echo "${rest%% *}"; else known_job "$1"; fi
}

# remember NAME ID: for id_of, in this call and later ones
remember() {
    submitted="$submitted $1=$2 "
    [ -n "$dry_run" ] || echo "$2" >"jobs/$1.id"
}

# check_walltime NAME: refuses what Slurm would let wait for ever. Without QUEUE, the partition with a star is meant
check_walltime() {
    local limits longest=''
    limits=$(ask sinfo -h ${QUEUE:+-p "$QUEUE"} -o '%P %l' | awk -v all="$QUEUE" 'all || /\* / { print $2 }')
    [[ $limits = *infinite* ]] || longest=$(seconds_of "$limits" | sort -n | tail -n 1)
    [ -z "$longest" ] || [ "$(seconds_of "$walltime")" -le "$longest" ] || fail "the job $1 asks for $walltime, and \
${QUEUE:-the default partition} gives $((longest / 60)) minutes at most: set WALLTIME=HH:MM:SS; a longer training goes on in \
further jobs"
}

# submit NAME PART DEPENDENCY [TRIAL...]: submits the part's job, for several trials an array with one for each, or one that
# runs them side by side, to run after the DEPENDENCY, as in afterok:ID, or nothing; sets id
submit() {
    local name=$1 part=$2 dependency=$3 count='' setting trial index=0
    shift 3
    TRIALS=$(IFS=: && echo "$*")
    [ $# -gt 1 ] || local SIDE_BY_SIDE=''
    [ $# -lt 2 ] || [ -n "$SIDE_BY_SIDE" ] || count=$#
    build_command "$name" "$part" "$dependency" "$count"
    if [ -n "$dry_run" ]; then
        id="<$name>"
        for setting in ${SETTINGS//,/ }; do printf '%s=%q ' "$setting" "${!setting}"; done
        show "${command[@]}" | sed 's/\\\([,<>]\)/\1/g'
    else
        [ "$SCHEDULER" != slurm ] || check_walltime "$name"
        id=$("${command[@]}" 9>&-)
        echo "$name $id$([ $# -lt 2 ] || echo " ($*)")"
    fi
    [ $# -gt 1 ] || remember "$name" "$id"
    name=${name%-trials}
    [ $# -lt 2 ] || for trial; do
        index=$((index + 1))
        case $count:$id in # an array's 7[].server has 7[1].server, Slurm's 7 has 7_1
            :*) remember "$name-$trial" "$id" ;;
            *\[\]*) remember "$name-$trial" "${id/\[\]/[$index]}" ;;
            *) remember "$name-$trial" "${id}_$index" ;;
        esac
    done
}

name=preprocess${sample:+-sample}
preprocessing=$(id_of "$name")
if [ -n "$preprocessing" ]; then
    echo "$name waits or runs already: $preprocessing"
elif ! is_preprocessed "$glove"; then
    [ -n "$sample$imdb" ] || usage "there is nothing in $DATA: give --imdb DIR [--glove FILE]"
    ARGS=${sample:+--sample}
    for option in imdb glove; do # in quotes, as ARGS may have them
        [ -z "${!option}" ] || ARGS="$ARGS --$option '${!option//\'/\'\\\'\'}'"
    done
    NODES=1 QUEUE=$CPU_QUEUE NODE_KIND=$CPU_NODE_KIND ARGS=$(encoded "$ARGS") submit "$name" preprocess ''
    preprocessing=$id
fi

preprocessing=${preprocessing:+afterok:$preprocessing}

# after_3a TRIAL: what waits for 3a's training, if it waits or runs; a trial that fails beside it must not hold that back
after_3a() {
    id=$(id_of "3a-$1") || return
    [ -z "$id" ] || echo "after$([ -n "$SIDE_BY_SIDE" ] && echo any || echo ok):$id"
}

for part in 1a 1b 2a 2b 3a 3a+test 3b 3c; do
    # 3a's test is a job of its own: what needs only the model does not wait for it
    case $part in 3a) STEPS=train ;; 3a+test) STEPS="test" ;; *) STEPS='train test' ;; esac
    to_submit='' # lines of the job that is waited for, or -, and the trial
    while read -r trial <&3; do
        name=$part-$trial wait_for=$preprocessing
        set_paths "${part%+test}" "$trial"
        if [[ $part = [12]b && -z $glove$sample && ! -e $DATA/imdb_train_glove.txt ]]; then
            echo "$name not submitted, there is no $DATA/imdb_train_glove.txt: give --glove FILE" >&2
            continue
        elif [ "$part" = 3a+test ]; then
            wait_for=$(after_3a "$trial")
        elif [[ $part = 3[bc] ]]; then
            start=$(language_model "$trial") wait_for=$(after_3a "$(trial_of_3a "$trial")")
            if [ -z "$wait_for" ] && [ ! -e "$start" ]; then
                echo "$name not submitted, there is no $start: submit 3a too" >&2
                continue
            fi
            wait_for=${wait_for:-$preprocessing}
        fi
        id=$(id_of "$name")
        if [ -n "$id" ]; then
            echo "$name waits or runs already: $id"
        elif is_done "$part"; then
            echo "$name done already"
        elif [ "$part$SIDE_BY_SIDE" = 3a ]; then # others wait for each
            submit "$name" 3a "$wait_for" "$trial"
        else
            to_submit="$to_submit${wait_for:--} $trial"$'\n'
        fi
    done 3< <(sed -n "s/^${part%+test}\x1f\([^\x1f]*\).*/\1/p" <<<"$lines")
    # those that wait for the same job are one job, or array
    while read -r wait_for trials <&3; do
        name=$part-$trials
        [[ $trials != *\ * ]] || name=$part-trials
        # shellcheck disable=SC2086 # a list of words
        submit "$name" "${part%+test}" "${wait_for#-}" $trials
    done 3< <(awk 'NF { trials[$1] = trials[$1] " " $2 } END { for (i in trials) print i trials[i] }' <<<"$to_submit" | sort)
done
