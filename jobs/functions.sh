# What run_all.sh, submit_all.sh and the PBS files share; they run in the top directory. DATA and LANGUAGE_MODEL are set.
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

# resume STATE SOURCE: the option --resume, unless there is no state, or one older than what it was trained on
resume() {
    if is_current "$1" "$2"; then echo --resume; fi
}

# keep NAME COMMAND...: shows what the command prints, and keeps it in the file NAME
keep() {
    local to=$1
    shift
    "$@" | tee "$to.part"
    mv "$to.part" "$to"
}

# use_sample: sets the table, the trial and the places of the runs on the made-up sample; use_trials [NAMES]: of the others
# shellcheck disable=SC2034 # those who call it use them
use_sample() {
    table=jobs/sample.csv names=sample
    DATA=preprocessed_data/sample LANGUAGE_MODEL=3a/trials/sample/language.model
}
# shellcheck disable=SC2034
use_trials() {
    table=jobs/trials.csv names=${1:-default}
}

# is_preprocessed GLOVE: the reviews are in DATA, and, for a GLOVE that is not empty, in GloVe's ids too
is_preprocessed() {
    is_current "$DATA/imdb_test_labels.npy" && { [ -z "$1" ] || is_current "$DATA/imdb_test_glove.txt"; }
}

# describe PART: sets source, the file that the part's results are made from, and, but for 3b, train_script, test_script
# and model
# shellcheck disable=SC2034 # those who call it use them
describe() {
    source=$DATA/imdb_train.txt
    case $1 in
        1a | 1b) train_script=BOW_sentiment_analysis.py test_script=BOW_test.py model=BOW.model ;;
        2a | 2b | 3c) train_script=RNN_sentiment_analysis.py test_script=RNN_test.py model=rnn.model ;;
        3a) train_script=train_language_model.py test_script=RNN_language_test.py model=language.model ;;
    esac
    case $1 in
        1b | 2b) source=$DATA/imdb_train_glove.txt ;;
        3b | 3c) source=$LANGUAGE_MODEL ;;
    esac
}

# trials TABLE NAMES: the lines "part,trial,options,test options,what it shows" of the trials NAMES, "all" or "this,that"
trials() {
    tail -n +2 "$1" | tr -d '"\r' | awk -F , -v names=",$2," 'names == ",all," || index(names, "," $2 ",")'
}

# unknown_trial TABLE NAMES: the first of NAMES that the table lacks
unknown_trial() {
    local name
    for name in ${2//,/ }; do
        if [ -z "$(trials "$1" "$name")" ]; then
            echo "$name"
            return
        fi
    done
}
