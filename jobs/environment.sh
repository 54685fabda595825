# The settings of the jobs, with their defaults; submit_all.sh and the jobs read this file after functions.sh. A variable of
# the environment changes a setting: QUEUE=gpu bash jobs/submit_all.sh …, or qsub -v TRIAL=wide jobs/1a.pbs
# shellcheck shell=bash

# ---- the cluster: the defaults are Blue Waters' XK nodes, each with one GPU and 16 cores. Where a setting is empty, the
# cluster's own default holds

: "${SCHEDULER:=${SLURM_JOB_ID:+slurm}}"
: "${SCHEDULER:=torque}"       # torque, pbspro (also OpenPBS) or slurm
: "${NODES:=1}"                                # how many; a job finds out how many it has
: "${GPUS:=1}"                                 # of each node; there is one process for each
: "${WALLTIME:=}"                              # HH:MM:SS; empty: what the job file says
: "${QUEUE:=}"                                 # Slurm's partition
: "${ACCOUNT:=}"                               # who pays
: "${SIDE_BY_SIDE:=}"                          # how many trials of a part share the GPU of one job; empty: each has its own
: "${SUBMIT_OPTIONS:=}"                        # further options of qsub or sbatch
: "${PASS:=NLTK_DATA|(OMP|NCCL|TORCH)_.*}"     # variables that a PBS job gets too, for grep -E; on Slurm it gets all
# NODE_KIND: what a node must have, in the scheduler's words; MODULES: the modules that a job loads
case $SCHEDULER in
    torque) : "${NODE_KIND:=ppn=16:xk}" "${MODULES=cudatoolkit}" ;; # for -l nodes=1:ppn=16:xk
    pbspro) : "${NODE_KIND:=ncpus=$((8 * GPUS)):ngpus=$GPUS}" ;;    # for -l select=1:ncpus=8:ngpus=1
    slurm) : "${NODE_KIND:=--cpus-per-task=$((8 * GPUS)) --gpus-per-node=$GPUS}" ;;
    *) fail "SCHEDULER is $SCHEDULER: expected torque, pbspro or slurm" ;;
esac
: "${MODULES=}"
: "${MODULES_INIT:=/opt/modules/default/init/bash}" # defines `module`, where it is not defined
: "${PYTHON:=.venv/bin/python}"                # make_environment.sh makes it
# LAUNCHER: what starts one process on each node; empty: nothing; not set: job.sh decides

# ---- the job

: "${DEVICE:=cuda}"                            # without a GPU a job fails, and does not train for days on a CPU
: "${DATA:=preprocessed_data}"
: "${TABLE:=jobs/trials.csv}"
: "${TRIALS:=}"                                # trials of the TABLE with colons between them
: "${TRIAL:=default}"                          # without TRIALS: this one, in PART/trials/TRIAL; "default" is in PART
: "${LANGUAGE_MODEL:=}"                        # the model file for 3b and 3c; empty: see trial_of_3a in functions.sh
: "${ARGS:=}"                                  # options of the train script, preprocess_data.py or generate_review.py
: "${TEST_ARGS:=}"                             # options of the test script
: "${STOP_BEFORE:=300}"                        # seconds before the end of the walltime at which a training stops:
                                               # enough for a batch, a test and saving
: "${MORE_JOBS:=10}"                           # in how many further jobs it goes on at most

case "$SCHEDULER $SUBMIT_OPTIONS " in # qsub and sbatch take the last of two lists of variables, and drop the other one
    slurm*\ --export* | [tp]*\ -v*) fail "SUBMIT_OPTIONS replaces the settings: export the variables instead, and see PASS" ;;
esac

# given: the names of all settings that are in the environment, and of the variables that PASS names; for qsub -v
given() {
    compgen -e | grep -xE "SCHEDULER|NODES|GPUS|NODE_KIND|WALLTIME|QUEUE|ACCOUNT|SUBMIT_OPTIONS|PASS|MODULES(_INIT)?|LAUNCHER|\
PYTHON|DEVICE|DATA|TABLE|TRIALS?|LANGUAGE_MODEL|(TEST_)?ARGS|STOP_BEFORE|MORE_JOBS|SIDE_BY_SIDE|$PASS"
}
