# What differs from one cluster to another, and what a job can be told; each PBS file reads it, in the top directory.
# Every setting can be given from outside: qsub -v TRIAL=wide,ARGS="--hidden-units 2000" jobs/1a.pbs
# shellcheck shell=bash

# the names of those that are given, for qsub -v
SETTINGS=''
for name in NODES NODE_KIND MODULES_INIT MODULES LAUNCHER PYTHON DATA TRIAL LANGUAGE_MODEL ARGS TEST_ARGS; do
    [ -z "${!name+given}" ] || SETTINGS=$SETTINGS,$name
done
export SETTINGS=${SETTINGS#,}

# ---- the cluster; these are Blue Waters' XK nodes, each with one GPU and 16 cores

: "${NODES:=${PBS_NUM_NODES:-1}}"              # one process, and one GPU, on each
: "${NODE_KIND:=ppn=16:xk}"                    # what submit_all.sh asks for: nodes=NODES:NODE_KIND
: "${MODULES_INIT=/opt/modules/default/init/bash}"
: "${MODULES=cudatoolkit}"                     # empty on a cluster without modules
: "${LAUNCHER=aprun -n $NODES -N 1 -d 16}"     # -d: all cores of the node for one process
: "${PYTHON:=.venv/bin/python}"                # bash jobs/make_environment.sh requirements.txt makes it

# ---- the job

: "${DATA:=preprocessed_data}"
: "${TRIAL:=default}"                          # its results go to PART/trials/TRIAL, those of "default" to PART
: "${LANGUAGE_MODEL:=3a/language.model}"       # what 3b and 3c start from
: "${ARGS:=}"                                  # options of the train script, preprocess_data.py or generate_review.py
: "${TEST_ARGS:=}"                             # options of the test script

# ---- in a job only

if [ -n "${PBS_JOBID:-}" ]; then
    if [ -n "$MODULES" ]; then
        set +u # the modules' own scripts use what is not set
        # shellcheck disable=SC1090 # it is the cluster's
        . "$MODULES_INIT"
        # shellcheck disable=SC2086 # several names
        module load $MODULES
        set -u
    fi
    # aprun tells a process its number alone; the first node, where they meet, is a mere number in Cray's node file
    export WORLD_SIZE=$NODES
    if [ "$NODES" -gt 1 ] && [ -z "${MASTER_ADDR:-}" ]; then
        MASTER_ADDR=$(awk 'NR == 1 { print /^[0-9]+$/ ? sprintf("nid%05d", $1) : $1 }' "$PBS_NODEFILE")
        export MASTER_ADDR
    fi
fi
