#!/usr/bin/env bash
# Carries out the whole handout: preprocesses, trains and tests every part, generates reviews, prints a table.
#
#   bash jobs/run_all.sh                             the made-up sample, small enough for a CPU: some minutes
#   bash jobs/run_all.sh --imdb DIR --glove FILE     the real data, the handout's settings: a day or two on a CPU
#
# What is done already is not done again, and a training that was cut off goes on. The sample's models go to
# PART/trials/sample, the real ones to PART, where the test scripts look for them. Without --glove, 1b and 2b are
# left out.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

usage() {
    echo "error: $1; usage: bash jobs/run_all.sh [--imdb DIR [--glove FILE]]" >&2
    exit 2
}

imdb='' glove=''
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$1 needs a value"
    case $1 in
        --imdb) imdb=$(cd "$here" && realpath -- "$2") ;;
        --glove) glove=$(cd "$here" && realpath -- "$2") ;;
        *) usage "unknown option $1" ;;
    esac
    shift 2
done
[ -n "$imdb" ] || [ -z "$glove" ] || usage "--glove goes with --imdb"

bash jobs/make_environment.sh requirements.txt
python=$PWD/.venv/bin/python

if [ -n "$imdb" ]; then
    data=preprocessed_data
    trial=default
    preprocess=(--imdb "$imdb" ${glove:+--glove "$glove"})
    all='' bow='' rnn='' words='' language='' fine_tuned='' lengths='' review_length=''
else
    data=preprocessed_data/sample
    trial=sample
    preprocess=(--sample)
    glove=sample
    all='--batch-size 50'
    bow='--epochs 6'
    rnn='--hidden-units 100 --epochs 8 --lr 0.003'
    words='--vocab-size 1500'
    language='--hidden-units 100 --epochs 6 --lr 0.005 --lr-drop-epoch 5'
    # one small layer learns little under the handout's dropout
    fine_tuned='--hidden-units 100 --epochs 12 --lr 0.003 --dropout 0'
    lengths='--lengths 50 100 200'
    review_length='--length 60'
fi

# is_current TARGET SOURCE...: the target is there and no older than any source
is_current() {
    local target=$1 source
    [ -e "$target" ] || return 1
    shift
    for source; do
        [ ! "$source" -nt "$target" ] || return 1
    done
}

folder() {
    if [ "$trial" = default ]; then echo "$1"; else echo "$1/trials/$trial"; fi
}

# train PART SCRIPT MODEL SOURCE OPTION...
train() {
    local part=$1 script=$2 model=$3 source=$4 to resume=''
    to=$(folder "$part")
    shift 4
    if is_current "$to/$model" "$source"; then
        echo "== $part: trained already"
        return
    fi
    if is_current "$to/${model%.model}.state" "$source"; then resume=--resume; fi
    echo "== $part: $script"
    "$python" "$part/$script" --data "$data" --trial "$trial" $resume "$@"
}

# record NAME SOURCE COMMAND...: shows what the command prints, and keeps it in the file NAME
record() {
    local to=$1 source=$2
    shift 2
    if ! is_current "$to" "$source"; then
        "$@" | tee "$to.part"
        mv "$to.part" "$to"
    else
        cat "$to"
    fi
}

# evaluate PART SCRIPT MODEL OPTION...
evaluate() {
    local part=$1 script=$2 model
    model=$(folder "$part")/$3
    shift 3
    echo "== $part: $script"
    record "$(folder "$part")/test.txt" "$model" "$python" "$part/$script" --data "$data" --model "$model" "$@"
}

if is_current "$data/imdb_test_labels.npy" && { [ -z "$glove" ] || is_current "$data/imdb_test_glove.txt"; }; then
    echo "== preprocessing: done already"
else
    echo "== preprocessing"
    "$python" preprocess_data.py "${preprocess[@]}" --output "$data"
fi

# the options are lists of words
# shellcheck disable=SC2086
{
    train 1a BOW_sentiment_analysis.py BOW.model "$data/imdb_train.txt" $all $bow $words
    evaluate 1a BOW_test.py BOW.model
    if [ -n "$glove" ]; then
        train 1b BOW_sentiment_analysis.py BOW.model "$data/imdb_train_glove.txt" $all $bow
        evaluate 1b BOW_test.py BOW.model
    fi
    train 2a RNN_sentiment_analysis.py rnn.model "$data/imdb_train.txt" $all $rnn $words
    evaluate 2a RNN_test.py rnn.model $lengths
    if [ -n "$glove" ]; then
        train 2b RNN_sentiment_analysis.py rnn.model "$data/imdb_train_glove.txt" $all $rnn
        evaluate 2b RNN_test.py rnn.model $lengths
    fi
    language_model=$(folder 3a)/language.model
    train 3a train_language_model.py language.model "$data/imdb_train.txt" $all $language $words
    evaluate 3a RNN_language_test.py language.model $lengths
    echo "== 3b: generate_review.py"
    mkdir -p "$(folder 3b)"
    record "$(folder 3b)/reviews.txt" "$language_model" \
        "$python" 3b/generate_review.py --data "$data" --model "$language_model" $review_length
    train 3c RNN_sentiment_analysis.py rnn.model "$language_model" \
        $all $fine_tuned $words --language-model "$language_model"
    evaluate 3c RNN_test.py rnn.model $lengths
}

echo
echo "part  test accuracy"
for part in 1a 1b 2a 2b 3a 3c; do
    [ -e "$(folder $part)/test.txt" ] || continue
    # a line is [length] accuracy loss seconds, and perplexity for 3a
    awk -v part=$part '
        { length_of = NF > 3 ? $1 : 0; accuracy = NF > 3 ? $2 : $1 }
        accuracy > best || NR == 1 { best = accuracy; best_length = length_of; perplexity = NF > 4 ? $5 : 0 }
        END {
            printf "%s    %s %%", part, best
            if (best_length) printf "   at length %d", best_length
            if (perplexity) printf " (of the words), perplexity %s", perplexity
            print ""
        }' "$(folder $part)/test.txt"
done
