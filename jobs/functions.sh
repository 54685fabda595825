# What run_all.sh, submit_all.sh and the job files share; they run in the top directory. In capitals: the settings that
# environment.sh describes. In small letters: what set_paths tells of a trial.
# shellcheck shell=bash

# set_paths PART TRIAL: sets the trial's `folder`, its files `model`, `state` and `result`, and the part's scripts
set_paths() {
    folder=$1
    [ "$2" = default ] || folder=$1/trials/$2
    case $1 in
        1?) model=$folder/BOW.model train_script=$1/BOW_sentiment_analysis.py test_script=$1/BOW_test.py ;;
        3a) model=$folder/language.model train_script=3a/train_language_model.py test_script=3a/RNN_language_test.py ;;
        *) model=$folder/rnn.model train_script=$1/RNN_sentiment_analysis.py test_script=$1/RNN_test.py ;;
    esac
    state=${model%.model}.state result=$folder/test.txt
    [ "$1" != 3b ] || result=$folder/reviews.txt test_script=3b/generate_review.py
}

# is_trained: the training has come to its end, whatever the times of its files
is_trained() {
    [ -e "$model" ] && grep -q '^ *"finished": true' "$folder/run.json" 2>/dev/null
}

# is_done PART: nothing of the STEPS is left to do
is_done() {
    { [ "$1" = 3b ] || is_trained; } && { [[ $STEPS != *test* ]] || [ -e "$result" ]; }
}

# is_preprocessed GLOVE: the reviews are in DATA whole, and, for a GLOVE that is not empty, in GloVe's ids too
is_preprocessed() {
    local name
    for name in imdb_dictionary.npy imdb_train.txt imdb_test.txt \
        ${1:+glove_dictionary.npy glove_embeddings.npy imdb_train_glove.txt imdb_test_glove.txt}; do
        [ -e "$DATA/$name" ] || return 1
    done
}

# trial_of_3a TRIAL: what a trial of 3b or 3c, of any seed, starts from: 3a's trial of the same name, if there is one in the
# table or in 3a/trials, be it trained or not, else 3a's default
trial_of_3a() {
    local own=${1%-seed[0-9]*}
    [ -d "3a/trials/$own" ] || cut -d , -f 1,2 "$TABLE" | tr -d '" \r' | grep -xF "3a,$own" >/dev/null || own=default
    echo "$own"
}

# language_model TRIAL: its model file
language_model() (
    set_paths 3a "$(trial_of_3a "$1")"
    echo "${LANGUAGE_MODEL:-$model}"
)

# show COMMAND...: shows it, to be pasted
show() {
    printf '%q ' "$@" && echo
}

# run OPTIONS SCRIPT ARGUMENT...: runs the script, in as many processes as LAUNCHER and TORCHRUN start; with DRY_RUN, shows
# the command. OPTIONS is a text, in which quotes hold together what has spaces: --prime 'i love this movie .'
run() {
    local text word words=()
    text=$(xargs printf '%s\n' <<<"$1") || {
        echo "error: a quote is not closed in: $1" >&2
        exit 2
    }
    while IFS= read -r word; do [ -z "$word" ] || words+=("$word"); done <<<"$text"
    # shellcheck disable=SC2086 # lists of words
    ${DRY_RUN:+show} $LAUNCHER "$PYTHON" $TORCHRUN "${@:2}" ${words[@]+"${words[@]}"}
}

# keep NAME COMMAND...: shows what the command prints, and keeps it in the file NAME
keep() {
    [ -z "${DRY_RUN:-}" ] || { "${@:2}"; return; }
    "${@:2}" | tee "$1.part"
    mv "$1.part" "$1"
}

# train PART TRIAL [OPTION...], test_model, generate TRIAL: run the scripts of a trial whose paths are set; a training that
# was cut off goes on, until DEADLINE, if there is one, in seconds since 1970
train() {
    [ -z "$DEADLINE" ] || set -- "$1" "$2" --max-time "$(((DEADLINE - $(date +%s) + 30) / 60))"
    [ "$1" != 3c ] || set -- "$@" --language-model "$(language_model "$2")"
    [ ! -e "$state" ] || set -- "$@" --resume
    run "$ARGS" "$train_script" --data "$DATA" ${DEVICE:+--device "$DEVICE"} --trial "${@:2}"
}
test_model() {
    run "$TEST_ARGS" "$test_script" --data "$DATA" ${DEVICE:+--device "$DEVICE"} --model "$model"
}
generate() {
    run "$ARGS" 3b/generate_review.py --data "$DATA" ${DEVICE:+--device "$DEVICE"} --model "$(language_model "$1")"
}

# run_trial PART: trains and tests the TRIAL, but for what is done; the status is 75 where the training has to go on later
run_trial() {
    local title=$1 step=(test_model) start
    set_paths "$1" "$TRIAL"
    start=$model
    case $TRIAL in default | sample) ;; *) title="$1 $TRIAL" ;; esac
    [ -n "${DRY_RUN:-}" ] || mkdir -p "$folder"
    [[ $1 != 3[bc] ]] || start=$(language_model "$TRIAL")
    if [[ -z ${DRY_RUN:-} && ($1 = 3[bc] || $STEPS = test) ]] && grep -qs '^ *"finished": false' "${start%/*}/run.json"; then
        echo "error: the training of $start has not come to its end" >&2
        return 1
    elif [ "$1" = 3b ]; then
        step=(generate "$TRIAL")
    elif is_trained; then
        echo "== $title: trained already"
    elif [[ $STEPS = *train* ]]; then
        [ -z "$DEADLINE" ] || [ $((DEADLINE - $(date +%s))) -ge 30 ] || return 75
        echo "== $title: ${train_script##*/}"
        [ -n "${DRY_RUN:-}" ] || rm -f "$result" # of what was trained before
        train "$1" "$TRIAL"
        [ -n "${DRY_RUN:-}" ] || is_trained || return 75
    fi
    [[ $STEPS = *test* ]] || return 0
    echo "== $title: ${test_script##*/}"
    if [ -e "$result" ]; then cat "$result"; else keep "$result" "${step[@]}"; fi
}

# ---- with a batch system

# ask COMMAND...: what the batch system answers; nothing if it knows no such job, or there is none here. No answer is not a
# no: it is asked again
ask() {
    local seconds answer
    command -v "$1" >/dev/null || return 0
    for seconds in 5 10 20 40 80 ''; do
        if answer=$("$@" 2>&1); then
            echo "$answer"
            return
        fi
        case $answer in
            *'Unknown Job'* | *'Job has finished'* | *'Invalid job id'*) return ;;
        esac
        [ -z "$seconds" ] || sleep "$seconds"
    done
    echo "error: the batch system does not answer: $*: $answer" >&2
    return 1
}

# known_job NAME: the id of the job that was submitted as NAME, if it waits or runs
known_job() {
    local id answer
    id=$(cat "jobs/$1.id" 2>/dev/null) || return 0
    local question=(qstat -f "$id")
    [ "$SCHEDULER" != slurm ] || question=(squeue -h -j "$id" -o 'job_state = %i')
    answer=$(ask "${question[@]}") || return
    ! grep -q 'job_state = [^CEFX]' <<<"$answer" || echo "$id"
}

# attributes [ID]: what qstat -f, which breaks long lines, says of the job, or of all, a line each
attributes() {
    ask qstat -f "$@" | awk '/^\t/ { sub(/^\t/, ""); printf "%s", $0; next } { printf "\n%s", $0 } END { print "" }'
}

# seconds_of TIMES: each line's, of [days-][[hours:]minutes:]seconds; nothing for another text
seconds_of() {
    awk -F '[-:]' '/^[0-9:-]+$/ {
        split("1 60 3600 86400", unit, " ")
        sum = 0
        for (i = NF; i > 0; i--) sum += $i * unit[NF - i + 1]
        print sum
    }' <<<"$1"
}

# encoded TEXT: without what qsub -v drops or cuts a text at, quotes, backslashes and commas
encoded() {
    sed "s/%/%25/g; s/'/%27/g; s/\"/%22/g; s/\\\\/%5C/g; s/,/%2C/g" <<<"$1"
}

# build_command NAME PART DEPENDENCY [COUNT]: sets `command`, which submits the job of a part as NAME, or an array of COUNT
# jobs, to run after the DEPENDENCY, as in afterok:ID, or nothing, and its `walltime`. RESOURCES: for PBS, in the settings' place
build_command() {
    walltime=${WALLTIME:-$(sed -n 's/^#PBS -l walltime=//p' "jobs/$2.pbs")}
    [ "$2" != 3b ] || local NODES=1 # it is one process
    local range=${4:+1-$4${AT_ONCE:+%$AT_ONCE}} resources
    # shellcheck disable=SC2153,SC2206 # NODE_KIND and SUBMIT_OPTIONS are lists of words
    if [ "$SCHEDULER" = slurm ]; then
        # what the file asks for in #PBS lines is Blue Waters'
        command=(sbatch --parsable --ignore-pbs --requeue --kill-on-invalid-dep=yes --mail-type="END,FAIL"
            --job-name="imdb-$1" --output="jobs/$1.out" --error="jobs/$1.err" --open-mode=append
            --nodes="$NODES" $NODE_KIND --time="$walltime" ${3:+--dependency="$3"} ${range:+--array="$range"}
            ${QUEUE:+--partition="$QUEUE"} ${QOS:+--qos="$QOS"} ${ACCOUNT:+--account="$ACCOUNT"}
            ${MEMORY:+--mem="$MEMORY"} $SUBMIT_OPTIONS "jobs/$2.pbs")
        return
    fi
    command=(qsub -N "$(printf %.15s "imdb-$1")" -o "jobs/$1.out" -e "jobs/$1.err" -W "umask=$(umask)")
    if [ "$SCHEDULER" = torque ]; then
        resources="nodes=$NODES:$NODE_KIND ${MEMORY:+mem=$MEMORY} ${QOS:+qos=$QOS}"
        command+=(${range:+-t "$range"})
    else
        # -k doe: what a job prints is in its files at once; scatter: two chunks are two nodes
        resources="select=$NODES:$NODE_KIND${MEMORY:+:mem=$MEMORY} place=scatter"
        command+=(-C '#NONE' -S /bin/bash -m ae -k doe ${range:+-J "$range"})
    fi
    for resources in ${RESOURCES:-$resources walltime=$walltime}; do command+=(-l "$resources"); done
    # shellcheck disable=SC2206
    command+=(${3:+-W "depend=$3"} ${QUEUE:+-q "$QUEUE"} ${ACCOUNT:+-A "$ACCOUNT"} $SUBMIT_OPTIONS
        -v "$SETTINGS$(compgen -e | awk -v names="^($PASS)\$" '$0 ~ names { printf ",%s", $0 }')" "jobs/$2.pbs")
}

# ---- in a job

# run_job PART: what the job of a part does
run_job() {
    local part=$1 index=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${SLURM_ARRAY_TASK_ID:-}}} line DEADLINE=''
    trap end_job EXIT
    [ "$part" != preprocess ] || { run "$ARGS" preprocess_data.py --output "$DATA"; return; }
    [ -z "$SIDE_BY_SIDE" ] || [ -z "$TRIALS" ] || { run_trials "$part"; return; }
    if [ -n "$TRIALS" ]; then # one of them, as it stands in the table
        line=$("$PYTHON" jobs/trials.py "$TABLE" "$(cut -d : -f "${index:-1}" <<<"$TRIALS")" "$part")
        IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <<<"$line"
        [ -z "$index" ] || exec >>"jobs/$part-$TRIAL.out" 2>>"jobs/$part-$TRIAL.err"
    fi
    set_paths "$part" "$TRIAL"
    mkdir -p "$folder"
    [ "$part" != 3b ] || { keep "$result" generate "$TRIAL"; return; }
    if [[ $STEPS = *train* ]] && is_trained; then
        echo "$model is trained already: remove $folder/run.json and $state to have it trained anew" >&2
    elif [[ $STEPS = *train* ]]; then
        set_deadline
        train "$part" "$TRIAL"
        TRIALS=''
        is_trained || go_on "$part"
    fi
    [[ $STEPS != *test* ]] || keep "$result" test_model
}

# run_trials PART: runs the TRIALS side by side, on the node, where LAUNCHER starts what runs there
run_trials() {
    local lines status=0
    # a name chooses its seeds, too
    lines=$("$PYTHON" jobs/trials.py "$TABLE" "${TRIALS//:/,}" "$1" |
        awk -F $'\x1f' -v trials=":$TRIALS:" 'index(trials, ":" $2 ":")')
    [[ $1 = 3b || $STEPS != *train* ]] || set_deadline
    export PYTHON DEVICE DATA TABLE LANGUAGE_MODEL STEPS SIDE_BY_SIDE DEADLINE
    # shellcheck disable=SC2016 # that shell's
    $LAUNCHER env LAUNCHER='' TORCHRUN='' bash -c 'set -euo pipefail
        . jobs/functions.sh
        . jobs/side_by_side.sh
        side_by_side "$1"
        tell_failed' bash "$lines" || status=$?
    TRIAL='trials'
    [ $status -ne 75 ] || go_on "$1"
    return $status
}

# end_job: a job that Slurm is about to preempt, and that has ended meanwhile, would count as one that failed; and PBS does
# not end what a torchrun that was killed has left, since it is in sessions of its own
end_job() {
    local status=$? own process
    if [ $status -ne 0 ] && [ "$SCHEDULER" = slurm ] && squeue -h -j "$JOB" -O PreemptTime | grep '^[0-9]' >/dev/null; then
        echo "preempted: job $JOB goes on when it is started again" >&2
        scontrol requeue "$JOB"
        exit 0
    elif [ -n "${PBS_JOBCOOKIE:-}" ]; then
        own=$(ps -o sid= -p $$)
        grep -lszxF "PBS_JOBCOOKIE=$PBS_JOBCOOKIE" /proc/[0-9]*/environ | cut -d / -f 3 | while read -r process; do
            [ "$(ps -o sid= -p "$process")" = "$own" ] || kill "$process" 2>/dev/null
        done || true
    fi
}

# set_deadline: DEADLINE is STOP_BEFORE seconds before the walltime ends, or empty
set_deadline() {
    local left seconds
    if [ "$SCHEDULER" = slurm ]; then
        left=$(ask squeue -h -j "$JOB" -o %L) || left=''
    else
        left=$(attributes "$JOB" | sed -n 's/^ *Resource_List.walltime = //p') || left='' # it has just begun
    fi
    seconds=$(seconds_of "$left")
    if [ -z "$seconds" ]; then
        echo "there is no telling here when the walltime ends: submit this job once more if it is too short" >&2
    elif [ $((seconds - STOP_BEFORE)) -lt 60 ]; then
        echo "error: the walltime $left leaves not a minute before the last STOP_BEFORE=$STOP_BEFORE seconds" >&2
        exit 2
    else
        DEADLINE=$(($(date +%s) + seconds - STOP_BEFORE))
    fi
}

# go_on PART: the job is submitted once more, for what has not come to its end, and what waits for it waits for the new one
go_on() {
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$MORE_JOBS" ]; then
        echo "error: the training is not done, and MORE_JOBS is used up; submitted once more it goes on" >&2
        exit 1
    elif [ "$SCHEDULER" = slurm ]; then
        echo "not done yet: it goes on when job $JOB is started again"
        ask scontrol requeue "$JOB"
    else
        submit_successor "$1"
    fi
    exit 0 # else what waits for this job would be deleted
}

# submit_successor PART: of this PBS job, with what it was given, by whomever it was submitted
submit_successor() {
    local name=$1-$TRIAL told next command job kind trial
    told=$(attributes "$JOB")
    RESOURCES=$(sed -n 's/^ *Resource_List\.\(nodes\|select\|place\|walltime\) = /\1=/p' <<<"$told")
    ACCOUNT=$(sed -n 's/^ *Account_Name = //p' <<<"$told") QUEUE=${QUEUE:-${PBS_O_QUEUE:-}}
    ARGS=$(encoded "$ARGS") TEST_ARGS=$(encoded "$TEST_ARGS")
    export TRIAL TRIALS ARGS TEST_ARGS MORE_JOBS=$((MORE_JOBS - 1))
    SETTINGS=$SETTINGS,TRIAL,TRIALS,ARGS,TEST_ARGS,MORE_JOBS
    # a job of an array cannot be waited for alone
    build_command "$name+$MORE_JOBS" "$1" "afterany:${JOB/\[*\]/[]}"
    next=$(ask "${command[@]}" | tail -n 1)
    for trial in $TRIAL ${TRIALS//:/ }; do echo "$next" >"jobs/$1-$trial.id"; done
    echo "not done yet: $next goes on"
    # what waits for this job tells so itself; what a job tells of those that wait for it can be old
    attributes | awk -v job=":$JOB@" -v next_job="$next" '/^Job Id/ { id = $3 }
        / depend = / && match($0, /after(ok|any):[^,]*/) && index(substr($0, RSTART, RLENGTH), job) && id != next_job {
            print id, substr($0, RSTART, index(substr($0, RSTART), ":") - 1)
        }' | while read -r job kind; do ask qalter -W depend="$kind:$next" "$job" </dev/null; done
}
