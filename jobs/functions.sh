# The functions that run_all.sh, submit_all.sh and the jobs share; they run in the top directory. Names in capitals are
# the settings that environment.sh describes, and DRY_RUN; names in small letters are what set_paths sets.
# shellcheck shell=bash

# fail MESSAGE: ends a script that was called wrongly
fail() {
    echo "error: $1" >&2
    exit 2
}

# parse_arguments ARGUMENT...: reads the arguments of run_all.sh or submit_all.sh. Sets DRY_RUN, SIDE_BY_SIDE, TABLE, imdb,
# glove, parts, names (of trials) and sample; --sample sets DATA too. --help prints the script's first comment
parse_arguments() {
    local more="; bash $0 --help tells more"
    DRY_RUN='' SIDE_BY_SIDE=${SIDE_BY_SIDE:-} sample='' imdb='' glove='' names='' parts=''
    while [ $# -gt 0 ]; do
        [[ ! $1 =~ ^--(imdb|glove|trials|side-by-side)$ || $# -ge 2 ]] || fail "$1 needs a value$more"
        [[ ! $1 =~ ^--(imdb|glove)$ || -e $2 ]] || fail "there is no $2"
        case $1 in
            -h | --help) exec sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
            --dry-run) DRY_RUN=1 ;;
            --sample) sample=sample ;;
            --imdb) imdb=$(realpath -- "$2") && shift ;;
            --glove) glove=$(realpath -- "$2") && shift ;;
            --trials) names=$2 && shift ;;
            --side-by-side) export SIDE_BY_SIDE=$2 && shift ;;
            1a | 1b | 2a | 2b | 3a | 3b | 3c) parts="$parts $1" ;;
            *) fail "$1 is no option and no part$more" ;;
        esac
        shift
    done
    [ -z "$glove" ] || [ -n "$imdb" ] || fail "--glove goes with --imdb"
    [ -z "$sample" ] || [ -z "$imdb" ] || fail "--sample does not go with --imdb"
    [ -z "$sample" ] || [ -z "$names" ] || fail "--trials goes with the real data (--imdb), not with the made-up sample"
    [[ $SIDE_BY_SIDE =~ ^([1-9][0-9]*)?$ ]] || fail "--side-by-side $SIDE_BY_SIDE: expected how many trials run at a time"
    TABLE=jobs/trials.csv names=${names:-default}
    [ -z "$sample" ] || TABLE=jobs/sample.csv DATA=preprocessed_data/sample names=sample
}

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

# is_trained: whether the training has come to its end
is_trained() {
    [ -e "$model" ] && grep -q '^ *"finished": true' "$folder/run.json" 2>/dev/null
}

# is_done PART: whether the trial is trained and tested
is_done() {
    { [ "$1" = 3b ] || is_trained; } && [ -e "$result" ]
}

# is_preprocessed GLOVE: whether the reviews are in DATA, and, if GLOVE is not empty, in GloVe's ids too
is_preprocessed() {
    (cd -- "$DATA" && ls imdb_dictionary.npy imdb_train.txt imdb_test.txt \
        ${1:+glove_dictionary.npy glove_embeddings.npy imdb_train_glove.txt imdb_test_glove.txt}) >/dev/null 2>&1
}

# trial_of_3a TRIAL: prints the name of 3a's trial that a trial of 3b or 3c starts from: that of the same name, or of the
# beginning of it (wide for wide-seed1), if the table or 3a/trials/ has it, trained or not; else "default"
trial_of_3a() {
    local own=$1
    until [ -d "3a/trials/$own" ] || cut -d , -f 1,2 "$TABLE" | tr -d '" \r' | grep -xF "3a,$own" >/dev/null; do
        [[ $own = *-* ]] || { own=default && break; }
        own=${own%-*}
    done
    echo "$own"
}

# language_model TRIAL: prints the path of the language model that a trial of 3b or 3c starts from
language_model() (
    set_paths 3a "$(trial_of_3a "$1")"
    echo "${LANGUAGE_MODEL:-$model}"
)

# show COMMAND...: prints the command so that it can be pasted into a shell
show() {
    printf '%q ' "$@" && echo
}

# run OPTIONS SCRIPT ARGUMENT...: runs the script with LAUNCHER and TORCHRUN; with DRY_RUN, shows the command. OPTIONS is one
# text, quoted as in a shell: --prime 'i love this movie .'
run() {
    local text word words=()
    text=$(xargs printf '%s\n' <<<"$1")
    while IFS= read -r word; do [ -z "$word" ] || words+=("$word"); done <<<"$text"
    # shellcheck disable=SC2086 # lists of words
    ${DRY_RUN:+show} $LAUNCHER "$PYTHON" $TORCHRUN "${@:2}" ${words[@]+"${words[@]}"}
}

# run_trial PART: trains and tests the TRIAL, but for what is done. DEADLINE, in seconds since 1970, may be empty; a training
# that it stops gives the status 75: it has to go on later
run_trial() {
    local given=(--data "$DATA" ${DEVICE:+--device "$DEVICE"}) start='' left='' resume='' command part
    set_paths "$1" "$TRIAL"
    [[ $1 != 3[bc] || $ARGS = *--from-scratch* ]] || start=$(language_model "$TRIAL")
    [ -n "$DRY_RUN" ] || mkdir -p "$folder"
    if [ -z "$DRY_RUN" ] && [ -n "$start" ] && grep -qs '^ *"finished": false' "${start%/*}/run.json"; then
        echo "error: the training of $start has not come to its end" >&2
        return 1
    elif [ "$1" = 3b ]; then
        local model=$start TEST_ARGS=$ARGS
    elif is_trained; then
        echo "== $folder: trained already"
    else
        [ -z "$DEADLINE" ] || left=$((DEADLINE - $(date +%s) + 30)) # rounded to minutes below
        [ "${left:-60}" -ge 60 ] || return 75
        echo "== $folder: ${train_script##*/}"
        [ -n "$DRY_RUN" ] || rm -f "$result" "$result".*.part # they are an earlier training's
        [ ! -e "$state" ] || resume=--resume
        run "$ARGS" "$train_script" "${given[@]}" --trial "$TRIAL" ${left:+--max-time "$((left / 60))"} \
            ${start:+--language-model "$start"} $resume
        [ -n "$DRY_RUN" ] || is_trained || return 75
    fi
    echo "== $folder: ${test_script##*/}"
    command=(run "$TEST_ARGS" "$test_script" "${given[@]}" --model "$model")
    if [ -e "$result" ] && [ -z "$JOB" ]; then # a job that is submitted by hand tests once more
        cat "$result"
    elif [ -n "$DRY_RUN" ]; then
        "${command[@]}"
    else
        part=$result.$$.part # its own: another run may test the same trial
        "${command[@]}" | tee "$part"
        mv "$part" "$result" # now it is whole
    fi
}

# ---- several trials of a part at a time, on one GPU

# side_by_side LINES: runs a part's trials, LINES of jobs/trials.py, SIDE_BY_SIDE at a time. Each prints to
# jobs/PART-TRIAL.out and .err. Adds the names of those that failed to `failed`, of those that have to go on later to `cut`
failed='' cut='' mps=''
side_by_side() {
    local part=${1%%$'\x1f'*} count cores memory name unit units=() status
    count=$(wc -l <<<"$1") cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
    count=$((count < SIDE_BY_SIDE ? count : SIDE_BY_SIDE))
    memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | tail -n 1) || memory='' # MB
    [[ -z $memory || $part != 3[ac] || $((5000 * count)) -le $memory ]] || echo "warning: $count trainings of $part with the \
handout's settings take $((5 * count)) GB, and the GPU has $memory MB: run fewer side by side" >&2
    trap end_side_by_side EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ -z "$mps" ] && [ "$DEVICE" != cpu ] && command -v nvidia-cuda-mps-control >/dev/null; then
        mps=$(mktemp -d "${TMPDIR:-/tmp}/mps.XXXXXX") # one for each job: jobs may share a node
        export CUDA_MPS_PIPE_DIRECTORY=$mps CUDA_MPS_LOG_DIRECTORY=$mps
        # without MPS the trainings take turns, which is slower
        nvidia-cuda-mps-control -d || { rm -r "$mps" && mps='' && unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY; }
    fi
    # shellcheck disable=SC2034 # run_trial uses them
    while IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <&3; do
        name=$part-$TRIAL
        set_paths "$part" "$TRIAL"
        ! is_done "$part" || { echo "== $name: done already"; continue; }
        while [ "$(jobs -rp | wc -l)" -ge "$count" ]; do sleep 0.2; done # macOS's bash has no wait -n
        echo "== $name begins"
        set -m # gives each a process group, by which it is ended; Ctrl-C then reaches this shell alone
        (
            exec 4>&1 >>"jobs/$name.out" 2>>"jobs/$name.err"
            trap 'echo "== $name ends with status $?" >&4' EXIT
            trap 'exit 143' TERM # acts when the script, which gets the signal too, has ended
            export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > count ? cores / count : 1))}"
            run_trial "$part"
        ) 3<&- &
        set +m
        units+=("$! $name")
    done 3<<<"$1"
    for unit in ${units[@]+"${units[@]}"}; do
        status=0
        wait "${unit% *}" || status=$?
        case $status in 0) ;; 75) cut="$cut ${unit#* }" ;; *) failed="$failed ${unit#* }" ;; esac
    done
}

# end_side_by_side: ends the trainings that still run, which save their states, and MPS
end_side_by_side() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2046 # a list of words
    kill -s TERM -- $(jobs -rp | sed 's/^/-/') 2>/dev/null || true
    wait
    [ -z "$mps" ] || { echo quit | nvidia-cuda-mps-control; rm -rf "$mps"; }
}

# tell_failed: names the trials that failed; the status is 75 if some have to go on later, else 1 if some failed
tell_failed() {
    [ -z "$failed" ] || echo "error: failed:$failed; jobs/PART-TRIAL.err tells why, and the same command goes on" >&2
    [ -z "$cut" ] || { echo "not done yet:$cut" >&2; return 75; }
    [ -z "$failed" ]
}

# ---- with a batch system

# ask COMMAND...: prints what the batch system answers; nothing if it knows no such job, or if the command is not here. If it
# does not answer, it is asked again
ask() {
    local seconds answer
    command -v "$1" >/dev/null || return 0
    for seconds in 5 10 20 40 80 ''; do
        if answer=$("$@" 2>&1); then
            echo "$answer"
            return 0 # in a trap, "return" alone returns the status before the trap
        fi
        [[ ! $answer =~ Unknown\ Job|Job\ has\ finished|Invalid\ job\ id ]] || return 0
        [ -z "$seconds" ] || sleep "$seconds"
    done
    echo "error: the batch system does not answer: $*: $answer" >&2
    return 1
}

# seconds_of TIMES: prints the seconds of each line [days-][[hours:]minutes:]seconds; nothing for other lines
seconds_of() {
    awk -F '[-:]' '/^[0-9:-]+$/ {
        split("1 60 3600 86400", unit, " ")
        sum = 0
        for (i = NF; i > 0; i--) sum += $i * unit[NF - i + 1]
        print sum
    }' <<<"$1"
}

# encoded TEXT: writes quotes and backslashes, which qsub -v drops, and commas, at which it cuts a text, as %NN
encoded() {
    sed "s/%/%25/g; s/'/%27/g; s/\"/%22/g; s/\\\\/%5C/g; s/,/%2C/g" <<<"$1"
}

# build_command NAME PART DEPENDENCY: sets `walltime`, and `command`, which submits a part's job as NAME. DEPENDENCY is as in
# afterok:ID, or empty. On PBS, RESOURCES replace what the settings ask for
build_command() {
    walltime=${WALLTIME:-$(sed -n 's/^#PBS -l walltime=//p' "jobs/$2.pbs")}
    case $2 in preprocess | 3b) local NODES=1 ;; esac # they are one process
    local resources
    # shellcheck disable=SC2153,SC2206 # NODE_KIND and SUBMIT_OPTIONS are lists of words
    if [ "$SCHEDULER" = slurm ]; then
        # the #PBS lines of the file are for Blue Waters
        command=(sbatch --parsable --ignore-pbs --requeue --kill-on-invalid-dep=yes --mail-type="END,FAIL"
            --job-name="imdb-$1" --output="jobs/$1.out" --error="jobs/$1.err" --open-mode=append
            --nodes="$NODES" $NODE_KIND --time="$walltime" ${3:+--dependency="$3"}
            ${QUEUE:+--partition="$QUEUE"} ${ACCOUNT:+--account="$ACCOUNT"} $SUBMIT_OPTIONS "jobs/$2.pbs")
        return
    fi
    command=(qsub -N "$(printf %.15s "imdb-$1")" -o "jobs/$1.out" -e "jobs/$1.err" -W "umask=$(umask)")
    if [ "$SCHEDULER" = torque ]; then
        resources="nodes=$NODES:$NODE_KIND"
    else
        # -k doe: what a job prints is in its files at once; scatter: each chunk is a node of its own
        resources="select=$NODES:$NODE_KIND place=scatter"
        command+=(-C '#NONE' -S /bin/bash -m ae -k doe)
    fi
    for resources in ${RESOURCES:-$resources walltime=$walltime}; do command+=(-l "$resources"); done
    # shellcheck disable=SC2206
    command+=(${3:+-W "depend=$3"} ${QUEUE:+-q "$QUEUE"} ${ACCOUNT:+-A "$ACCOUNT"} $SUBMIT_OPTIONS
        -v "$(given | paste -s -d , -)" "jobs/$2.pbs")
}
