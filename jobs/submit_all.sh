#!/usr/bin/env bash
# Submits the jobs of all parts with qsub or sbatch: preprocessing, then 1a 1b 2a 2b 3a, then 3b and 3c when 3a has ended.
#
#   bash jobs/submit_all.sh --imdb DIR --glove FILE     everything, with the handout's settings
#   bash jobs/submit_all.sh 1a 2a                       these parts; the reviews are preprocessed already
#   bash jobs/submit_all.sh --trials all 1a             all trials of jobs/trials.csv of part 1a
#   bash jobs/submit_all.sh --sample                    everything on the made-up sample
#   bash jobs/submit_all.sh --side-by-side 8 --trials all 2a     eight at a time on the GPU of one job
#   NODES=4 bash jobs/submit_all.sh 3a                  on four nodes
#   SCHEDULER=slurm QUEUE=gpu ACCOUNT=abc bash jobs/submit_all.sh …     jobs/environment.sh has all settings
#
# Prints each job's id, and keeps it in jobs/NAME.id. What is done, or waits or runs already, is not submitted, and a
# training that was cut off goes on. --dry-run prints the commands instead.
set -euo pipefail

# shellcheck source=jobs/functions.sh
. "$(dirname -- "$0")/functions.sh"
parse_arguments "$@"
CDPATH='' cd -- "$(dirname -- "$0")/.."
. jobs/environment.sh
export TABLE DATA TRIALS='' ARGS='' TEST_ARGS=''
[ -z "$SIDE_BY_SIDE" ] || [ "$NODES $GPUS" = '1 1' ] || fail "--side-by-side is for one GPU: set NODES=1 GPUS=1"
case $SCHEDULER in slurm) submits=sbatch ;; *) submits='qsub' ;; esac
[ -n "$DRY_RUN" ] || command -v $submits >/dev/null || fail "there is no $submits here; log in to the cluster, set \
SCHEDULER (jobs/environment.sh), or see with --dry-run what would be submitted"
[ -x "$(command -v "$PYTHON")" ] || fail "there is no $PYTHON: make it with  bash jobs/make_environment.sh requirements.txt"
# shellcheck disable=SC2086 # a list of words
lines=$("$PYTHON" jobs/trials.py "$TABLE" "$names" $parts)
# one call at a time, or two would submit the same jobs; some file systems have no locks
exec 9>jobs/submit.lock
flock 9 || true

declare -A submitted # the ids of the jobs that this call submits, by name
# known_job NAME: prints the id of the job NAME, if this call or an earlier one submitted it and it waits or runs
known_job() {
    local id=${submitted[$1]:-} answer question
    [ -z "$id" ] || { echo "$id"; return; }
    id=$(cat "jobs/$1.id" 2>/dev/null) || return 0
    question=(qstat -f "$id")
    [ "$SCHEDULER" != slurm ] || question=(squeue -h -j "$id" -o 'job_state = %i')
    answer=$(ask "${question[@]}") || return
    ! grep -q 'job_state = [^CEFX]' <<<"$answer" || echo "$id"
}

# check_walltime NAME: refuses a walltime above the partition's limit, with which Slurm would let a job wait for ever. The
# default partition has a star
check_walltime() {
    local limits longest
    limits=$(ask sinfo -h ${QUEUE:+-p "$QUEUE"} -o '%P %l' | awk -v all="$QUEUE" 'all || /\* / { print $2 }')
    longest=$(seconds_of "$limits" | sort -n | tail -n 1)
    [[ -z $longest || $limits = *infinite* ]] || [ "$(seconds_of "$walltime")" -le "$longest" ] || fail "the job $1 asks for \
$walltime, and ${QUEUE:-the default partition} gives $((longest / 60)) minutes at most: set WALLTIME=HH:MM:SS; a longer \
training goes on in further jobs"
}

# submit PART DEPENDENCY [TRIAL...]: submits the part's job, which runs several trials side by side. DEPENDENCY is as in
# afterok:ID; if it is empty, the job waits for the preprocessing
submit() {
    local part=$1 dependency=${2:-${preprocessing:+afterok:$preprocessing}} name id trial setting
    shift 2
    name=$part${1:+-$1}
    [ $# -lt 2 ] || name=$part-trials
    TRIALS=$(IFS=: && echo "$*")
    build_command "$name" "$part" "$dependency"
    if [ -n "$DRY_RUN" ]; then
        id="<$name>"
        for setting in $(given); do printf '%s=%q ' "$setting" "${!setting}"; done
        show "${command[@]}"
    else
        [ "$SCHEDULER" != slurm ] || check_walltime "$name"
        id=$("${command[@]}" 9>&-)
        echo "$name $id$([ $# -lt 2 ] || echo " ($*)")"
    fi
    for trial in "${@-}"; do
        submitted[$part${trial:+-$trial}]=$id
        [ -n "$DRY_RUN" ] || echo "$id" >"jobs/$part${trial:+-$trial}.id"
    done
}

preprocessing=$(known_job "preprocess${sample:+-sample}")
if [ -n "$preprocessing" ]; then
    echo "preprocess${sample:+-sample} waits or runs already: $preprocessing"
elif ! is_preprocessed "$glove$sample"; then
    [ -n "$sample$imdb" ] || fail "there is nothing in $DATA: give --imdb DIR [--glove FILE]"
    ARGS=$(encoded "$(printf '%q ' ${sample:+--sample} ${imdb:+--imdb "$imdb"} ${glove:+--glove "$glove"})")
    submit preprocess '' $sample
    preprocessing=${submitted[preprocess${sample:+-sample}]} ARGS=''
fi

for part in 1a 1b 2a 2b 3a 3b 3c; do
    trials='' wait_for=''
    while IFS=$'\x1f' read -r of trial _ <&3; do
        [ "$of" = "$part" ] || continue
        name=$part-$trial id=$(known_job "$part-$trial") start='' id_of_3a=''
        set_paths "$part" "$trial"
        if [[ $part = 3[bc] ]]; then
            start=$(language_model "$trial") id_of_3a=$(known_job "3a-$(trial_of_3a "$trial")")
        fi
        if is_done "$part"; then
            echo "$name done already"
        elif [ -n "$id" ]; then
            echo "$name waits or runs already: $id"
        elif [[ $part = [12]b && -z $glove$sample && ! -e $DATA/imdb_train_glove.txt ]]; then
            echo "$name not submitted, there is no $DATA/imdb_train_glove.txt: give --glove FILE" >&2
        elif [ -n "$start" ] && [ -z "$id_of_3a" ] && [ ! -e "$start" ]; then
            echo "$name not submitted, there is no $start: submit 3a too" >&2
        else
            # afterany: if one trial of 3a fails, only those that start from it must fail
            [[ -z $id_of_3a || $wait_for: = *":$id_of_3a:"* ]] || wait_for=${wait_for:-afterany}:$id_of_3a
            trials="$trials $trial"
            [ -n "$SIDE_BY_SIDE" ] || { submit "$part" "$wait_for" "$trial"; trials='' wait_for=''; }
        fi
    done 3<<<"$lines"
    # shellcheck disable=SC2086 # a list of words
    [ -z "$trials" ] || submit "$part" "$wait_for" $trials
done
