# What run_all.sh, submit_all.sh and the job files share; they run in the top directory. The settings are set.
# shellcheck shell=bash

# is_current TARGET SOURCE...: the target is there and no older than any source
is_current() {
    local target=$1 source
    [ -e "$target" ] || return 1
    shift
    for source; do
        [ ! "$source" -nt "$target" ] || return 1
    done
}

# folder PART TRIAL: where the trial's results go
folder() {
    if [ "$2" = default ]; then echo "$1"; else echo "$1/trials/$2"; fi
}

# keep NAME COMMAND...: shows what the command prints, and keeps it in the file NAME
keep() {
    local to=$1
    shift
    "$@" | tee "$to.part"
    mv "$to.part" "$to"
}

# use_sample: sets the table, the trial and the data of the runs on the made-up sample; use_trials [NAMES]: of the others
# shellcheck disable=SC2034 # those who call it use them
use_sample() {
    TABLE=jobs/sample.csv names=sample DATA=preprocessed_data/sample
}
# shellcheck disable=SC2034
use_trials() {
    TABLE=jobs/trials.csv names=${1:-default}
}

# is_preprocessed GLOVE: the reviews are in DATA, and, for a GLOVE that is not empty, in GloVe's ids too
is_preprocessed() {
    is_current "$DATA/imdb_test_labels.npy" && { [ -z "$1" ] || is_current "$DATA/imdb_test_glove.txt"; }
}

# language_model TRIAL [JOB]: what a trial of 3b or 3c starts from: 3a's trial of the same name, if its model is there or
# the JOB that trains it is submitted, else 3a's default
language_model() {
    local own
    own=$(folder 3a "$1")/language.model
    # the sample's reviews have a dictionary of their own
    if [ -e "$own" ] || [ -n "${2:-}" ] || [ "$1" = sample ]; then echo "$own"; else echo 3a/language.model; fi
}

# describe PART: of the part and of TRIAL sets the folder `to`, the files source, state, model and result, each made from
# those before it, train_script and test_script. LANGUAGE_MODEL is 3c's source, and the only thing that 3b's result is
# made from
# shellcheck disable=SC2034 # those who call it use them
describe() {
    local name
    to=$(folder "$1" "$TRIAL") source=$DATA/imdb_train.txt
    case $1 in
        1a | 1b) train_script=BOW_sentiment_analysis.py test_script=BOW_test.py name=BOW ;;
        2a | 2b | 3c) train_script=RNN_sentiment_analysis.py test_script=RNN_test.py name=rnn ;;
        3a) train_script=train_language_model.py test_script=RNN_language_test.py name=language ;;
        3b) name=none ;;
    esac
    case $1 in
        1b | 2b) source=$DATA/imdb_train_glove.txt ;;
        3b | 3c) source=${LANGUAGE_MODEL:=$(language_model "$TRIAL")} ;;
    esac
    model=$to/$name.model state=$to/$name.state result=$to/test.txt
    [ "$1" != 3b ] || model=$source result=$to/reviews.txt
}

# split TEXT: sets `words` to the words of TEXT; quotes hold together what has spaces: --prime 'i love this movie .'
split() {
    local text word
    text=$(xargs printf '%s\n' <<<"$1") || {
        echo "error: a quote is not closed in: $1" >&2
        exit 2
    }
    words=()
    while IFS= read -r word; do [ -z "$word" ] || words+=("$word"); done <<<"$text"
}

# run SCRIPT ARGUMENT...: runs the script, in as many processes as LAUNCHER starts
run() {
    # a list of words
    # shellcheck disable=SC2086
    $LAUNCHER "$PYTHON" "$@"
}

# train PART, test_model PART, generate: run a part's script for TRIAL with the options ARGS or TEST_ARGS, once it is
# described. A training goes on from its state, unless that is older than what it was trained on
train() {
    split "$ARGS"
    ! is_current "$state" "$source" || words=(--resume ${words[@]+"${words[@]}"})
    [ "$1" != 3c ] || words=(--language-model "$LANGUAGE_MODEL" ${words[@]+"${words[@]}"})
    run "$1/$train_script" --data "$DATA" ${DEVICE:+--device "$DEVICE"} --trial "$TRIAL" \
        ${words[@]+"${words[@]}"}
}
test_model() {
    split "$TEST_ARGS"
    run "$1/$test_script" --data "$DATA" ${DEVICE:+--device "$DEVICE"} --model "$model" ${words[@]+"${words[@]}"}
}
generate() {
    split "$ARGS"
    run 3b/generate_review.py --data "$DATA" ${DEVICE:+--device "$DEVICE"} --model "$model" \
        ${words[@]+"${words[@]}"}
}

# ---- with a batch system

# encoded TEXT: without what qsub -v drops or cuts a text at, quotes, backslashes and commas
encoded() {
    local text=${1//\%/%25}
    text=${text//\'/%27} text=${text//\"/%22} text=${text//\\/%5C}
    echo "${text//,/%2C}"
}

# submission NAME PART DEPENDENCY [COUNT]: sets `command`, which submits the job of a part, or an array of COUNT jobs,
# once it has the DEPENDENCY, as in afterok:ID, or nothing
submission() {
    local file=jobs/$2.pbs time=$WALLTIME
    [ -n "$time" ] || time=$(sed -n 's/^#PBS -l walltime=//p' "$file")
    # NODE_KIND and SUBMIT_OPTIONS are lists of words
    # shellcheck disable=SC2206
    if [ "$SCHEDULER" = slurm ]; then
        # what the file asks for in #PBS lines is Blue Waters'
        command=(sbatch --parsable --ignore-pbs --requeue --kill-on-invalid-dep=yes --mail-type="END,FAIL"
            --job-name="imdb-$1" --output="jobs/$1.out" --error="jobs/$1.err" --open-mode=append
            --nodes="$NODES" $NODE_KIND --time="$time" ${3:+--dependency="$3"} ${4:+--array="1-$4"}
            ${QUEUE:+--partition="$QUEUE"} ${ACCOUNT:+--account="$ACCOUNT"} $SUBMIT_OPTIONS "$file")
        return
    fi
    command=(qsub -N "$(printf %.15s "imdb-$1")" -o "jobs/$1.out" -e "jobs/$1.err")
    if [ "$SCHEDULER" = torque ]; then
        command+=(-l "${RESOURCES:-nodes=$NODES:$NODE_KIND}" ${4:+-t "1-$4"})
    else
        command+=(-C '#NONE' -S /bin/bash -m ae -l "${RESOURCES:-select=$NODES:$NODE_KIND}" ${4:+-J "1-$4"})
    fi
    # shellcheck disable=SC2206
    command+=(-l "walltime=$time" ${3:+-W "depend=$3"} ${QUEUE:+-q "$QUEUE"} ${ACCOUNT:+-A "$ACCOUNT"} $SUBMIT_OPTIONS
        -v "$SETTINGS" "$file")
}

# job_of NAME: the id of the job that was submitted as NAME, if it waits or runs
job_of() {
    local id
    id=$(cat "jobs/$1.id" 2>/dev/null) || return 0
    if [ "$SCHEDULER" = slurm ]; then
        [ -z "$(squeue -h -j "$id" 2>/dev/null)" ] || echo "$id"
    elif qstat -f "$id" 2>/dev/null | grep -q 'job_state = [^CEFX]'; then
        echo "$id"
    fi
}

# attribute NAME: what qstat -f, which breaks long lines, says of this job
attribute() {
    qstat -f "$PBS_JOBID" | awk '/^\t/ { sub(/^\t/, ""); printf "%s", $0; next } { printf "\n%s", $0 } END { print "" }' |
        sed -n "s/^ *$1 = //p"
}

# time_left: the walltime that is left to this job, which begins, as [days-][[hours:]minutes:]seconds, if that can be seen
time_left() {
    if [ "$SCHEDULER" = slurm ] && command -v squeue >/dev/null; then
        squeue -h -j "$SLURM_JOB_ID" -o %L
    elif [ "$SCHEDULER" != slurm ] && command -v qstat >/dev/null; then
        attribute Resource_List.walltime
    fi
}

# run_job PART: what the job of a part does
run_job() {
    local part=$1 index=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${SLURM_ARRAY_TASK_ID:-}}} line
    if [ -n "$index" ]; then # the index-th of TRIALS, as it stands in the table
        # shellcheck disable=SC2153 # not TRIAL
        line=$("$PYTHON" jobs/trials.py "$TABLE" "$(cut -d : -f "$index" <<<"$TRIALS")" "$part")
        IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <<<"$line"
        exec >>"jobs/$part-$TRIAL.out" 2>>"jobs/$part-$TRIAL.err"
    fi
    describe "$part"
    mkdir -p "$to"
    if [ "$part" = 3b ]; then
        keep "$result" generate
        return
    fi
    [[ $STEPS != *train* ]] || train_in_time "$part"
    [[ $STEPS != *test* ]] || keep "$result" test_model "$part"
}

# train_in_time PART: trains until STOP_BEFORE seconds before the walltime ends. Then the training, which saves its state,
# is stopped, and the job submitted once more, and what waits for it waits for the new one
train_in_time() {
    local left seconds begin status=0
    left=$(time_left)
    seconds=$(awk -F '[-:]' -v before="$STOP_BEFORE" '/^[0-9:-]+$/ {
        split("1 60 3600 86400", unit, " ")
        for (i = NF; i > 0; i--) sum += $i * unit[NF - i + 1]
        print sum - before
    }' <<<"$left")
    if [ -z "$seconds" ]; then
        echo "there is no telling here when the walltime ends: submit this job once more if it is too short" >&2
        train "$1"
        return
    elif [ "$seconds" -le 0 ]; then
        echo "error: the walltime $left leaves nothing before the last STOP_BEFORE=$STOP_BEFORE seconds" >&2
        exit 2
    fi
    begin=$(date +%s)
    # SIGUSR1: at a SIGTERM srun kills its processes at once
    LAUNCHER="timeout --signal=USR1 $seconds $LAUNCHER" train "$1" || status=$?
    [ $status -eq 124 ] || return $status # else the time was up
    if [ ! -e "$state" ] || [ "$(stat -c %Y "$state")" -lt "$begin" ]; then
        echo "error: no state was saved before the walltime ended; give more with WALLTIME=HH:MM:SS" >&2
        exit 1
    elif [ "${SLURM_RESTART_COUNT:-0}" -ge "$MORE_JOBS" ]; then
        echo "error: the training is not done, and MORE_JOBS is used up; submitted once more it goes on" >&2
        exit 1
    elif [ "$SCHEDULER" = slurm ]; then
        echo "not done yet: it goes on when job $SLURM_JOB_ID is started again"
        scontrol requeue "$SLURM_JOB_ID"
    else
        submit_successor "$1"
    fi
    exit 0 # else what waits for this job would be deleted
}

# submit_successor PART: of this PBS job, with what it was given, by whomever it was submitted
submit_successor() {
    local kind name=$1-$TRIAL next command job
    MORE_JOBS=$((MORE_JOBS - 1)) WALLTIME=$(attribute Resource_List.walltime) ACCOUNT=$(attribute Account_Name)
    : "${QUEUE:=${PBS_O_QUEUE:-}}"
    for kind in nodes select; do
        RESOURCES=$(attribute "Resource_List.$kind")
        [ -z "$RESOURCES" ] || break
    done
    RESOURCES=$kind=$RESOURCES SETTINGS=$SETTINGS,TRIAL,ARGS,TEST_ARGS,MORE_JOBS
    ARGS=$(encoded "$ARGS") TEST_ARGS=$(encoded "$TEST_ARGS")
    export TRIAL ARGS TEST_ARGS MORE_JOBS
    # a job of an array cannot be waited for alone
    submission "$name.$MORE_JOBS" "$1" "afterany:${PBS_JOBID/\[*\]/[]}"
    next=$("${command[@]}")
    echo "$next" >"jobs/$name.id"
    echo "not done yet: $next goes on"
    # "beforeok:ID@SERVER:ID@SERVER,…"
    for job in $(attribute depend | sed -n 's/.*beforeok:\([^,]*\).*/\1/p' | tr : '\n' | cut -d @ -f 1); do
        qalter -W depend=afterok:"$next" "$job"
    done
}
