# What run_all.sh, submit_all.sh and the jobs share; they run in the top directory. In capitals: the settings that
# environment.sh describes, and DRY_RUN. In small letters: what set_paths tells of a trial.
# shellcheck shell=bash

# fail MESSAGE: ends a script that was called wrongly
fail() {
    echo "error: $1" >&2
    exit 2
}

# parse_arguments ARGUMENT...: those of run_all.sh or submit_all.sh, whose first comment --help prints. Sets DRY_RUN,
# SIDE_BY_SIDE, imdb, glove, parts, names (of trials), sample, and for that TABLE, DATA and names
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
    [ -z "$sample" ] || [ -z "$imdb$names" ] || fail "--sample goes with neither --imdb nor --trials"
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

# is_trained: the training has come to its end, whatever the times of its files
is_trained() {
    [ -e "$model" ] && grep -q '^ *"finished": true' "$folder/run.json" 2>/dev/null
}

# is_done PART: nothing is left to do
is_done() {
    { [ "$1" = 3b ] || is_trained; } && [ -e "$result" ]
}

# is_preprocessed GLOVE: the reviews are in DATA whole, and, for a GLOVE that is not empty, in GloVe's ids too
is_preprocessed() {
    (cd -- "$DATA" && ls imdb_dictionary.npy imdb_train.txt imdb_test.txt \
        ${1:+glove_dictionary.npy glove_embeddings.npy imdb_train_glove.txt imdb_test_glove.txt}) >/dev/null 2>&1
}

# trial_of_3a TRIAL: what a trial of 3b or 3c, of any seed, starts from: 3a's trial of the same name, if there is one in the
# table or in 3a/trials/, be it trained or not, else 3a's default
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
    text=$(xargs printf '%s\n' <<<"$1")
    while IFS= read -r word; do [ -z "$word" ] || words+=("$word"); done <<<"$text"
    # shellcheck disable=SC2086 # lists of words
    ${DRY_RUN:+show} $LAUNCHER "$PYTHON" $TORCHRUN "${@:2}" ${words[@]+"${words[@]}"}
}

# tee_whole FILE COMMAND...: shows what the command prints, and writes it to the file when it has all of it
tee_whole() {
    "${@:2}" | tee "$1.part"
    mv "$1.part" "$1"
}

# run_trial PART: trains and tests the TRIAL, but for what is done, until DEADLINE, in seconds since 1970, if there is one;
# the status is 75 where the training has to go on later
run_trial() {
    local title=$1 given=(--data "$DATA" ${DEVICE:+--device "$DEVICE"}) start='' left='' resume='' command
    set_paths "$1" "$TRIAL"
    case $TRIAL in default | sample) ;; *) title="$1 $TRIAL" ;; esac
    [[ $1 != 3[bc] ]] || start=$(language_model "$TRIAL")
    [ -n "$DRY_RUN" ] || mkdir -p "$folder"
    if [ -z "$DRY_RUN" ] && [ -n "$start" ] && grep -qs '^ *"finished": false' "${start%/*}/run.json"; then
        echo "error: the training of $start has not come to its end" >&2
        return 1
    elif [ "$1" = 3b ]; then
        command=(run "$ARGS" "$test_script" "${given[@]}" --model "$start")
    else
        command=(run "$TEST_ARGS" "$test_script" "${given[@]}" --model "$model")
        if is_trained; then
            echo "== $title: trained already"
        else
            [ -z "$DEADLINE" ] || left=$((DEADLINE - $(date +%s) + 30))
            [ "${left:-60}" -ge 60 ] || return 75
            echo "== $title: ${train_script##*/}"
            [ -n "$DRY_RUN" ] || rm -f "$result" # of an earlier training
            [ ! -e "$state" ] || resume=--resume
            run "$ARGS" "$train_script" "${given[@]}" --trial "$TRIAL" ${left:+--max-time "$((left / 60))"} \
                ${start:+--language-model "$start"} $resume
            [ -n "$DRY_RUN" ] || is_trained || return 75
        fi
    fi
    echo "== $title: ${test_script##*/}"
    if [ -e "$result" ] && [ -z "$JOB" ]; then # a job that is submitted by hand tests once more
        cat "$result"
    elif [ -n "$DRY_RUN" ]; then
        "${command[@]}"
    else
        tee_whole "$result" "${command[@]}"
    fi
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
            return 0 # in a trap, "return" alone is the status before it
        fi
        case $answer in
            *'Unknown Job'* | *'Job has finished'* | *'Invalid job id'*) return 0 ;;
        esac
        [ -z "$seconds" ] || sleep "$seconds"
    done
    echo "error: the batch system does not answer: $*: $answer" >&2
    return 1
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
    case $2 in preprocess | 3b) local NODES=1 ;; esac # they are one process
    local range=${4:+1-$4} resources
    # shellcheck disable=SC2153,SC2206 # NODE_KIND and SUBMIT_OPTIONS are lists of words
    if [ "$SCHEDULER" = slurm ]; then
        # what the file asks for in #PBS lines is Blue Waters'
        command=(sbatch --parsable --ignore-pbs --requeue --kill-on-invalid-dep=yes --mail-type="END,FAIL"
            --job-name="imdb-$1" --output="jobs/$1.out" --error="jobs/$1.err" --open-mode=append
            --nodes="$NODES" $NODE_KIND --time="$walltime" ${3:+--dependency="$3"} ${range:+--array="$range"}
            ${QUEUE:+--partition="$QUEUE"} ${ACCOUNT:+--account="$ACCOUNT"} $SUBMIT_OPTIONS "jobs/$2.pbs")
        return
    fi
    command=(qsub -N "$(printf %.15s "imdb-$1")" -o "jobs/$1.out" -e "jobs/$1.err" -W "umask=$(umask)")
    if [ "$SCHEDULER" = torque ]; then
        resources="nodes=$NODES:$NODE_KIND"
        command+=(${range:+-t "$range"})
    else
        # -k doe: what a job prints is in its files at once; scatter: two chunks are two nodes
        resources="select=$NODES:$NODE_KIND place=scatter"
        command+=(-C '#NONE' -S /bin/bash -m ae -k doe ${range:+-J "$range"})
    fi
    for resources in ${RESOURCES:-$resources walltime=$walltime}; do command+=(-l "$resources"); done
    # shellcheck disable=SC2206
    command+=(${3:+-W "depend=$3"} ${QUEUE:+-q "$QUEUE"} ${ACCOUNT:+-A "$ACCOUNT"} $SUBMIT_OPTIONS
        -v "$(given | paste -s -d , -)" "jobs/$2.pbs")
}
