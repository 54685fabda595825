# What differs from one cluster to another, and what a job can be told. submit_all.sh and the jobs read it, after
# functions.sh. Every setting can be given from outside: QUEUE=gpu bash jobs/submit_all.sh …; qsub -v TRIAL=wide jobs/1a.pbs
# shellcheck shell=bash

# ---- the cluster; these are Blue Waters' XK nodes, each with one GPU and 16 cores; their K20X is older than the GPUs that
# PyTorch still has code for (README.md here, "Which GPUs"). Where a value is empty, the cluster's own default holds

: "${SCHEDULER:=${SLURM_JOB_ID:+slurm}}"
: "${SCHEDULER:=torque}"       # which qsub or sbatch: torque (-l nodes=…), pbspro (PBS Pro, OpenPBS: -l select=…) or slurm
: "${NODES:=1}"                                # a job counts its own
: "${GPUS:=1}"                                 # of each node; each has a process of its own
: "${WALLTIME:=}"                              # HH:MM:SS; empty: what the job file says
: "${QUEUE:=}"                                 # Slurm's partition
: "${ACCOUNT:=}"                               # whom to charge
: "${SIDE_BY_SIDE:=}"                          # how many trials of a part run at once on the one GPU of one job, in place of
                                               # an array
: "${SUBMIT_OPTIONS:=}"                        # what else qsub or sbatch has to be told
: "${PASS:=NLTK_DATA|(OMP|NCCL|TORCH)_.*}"     # the variables that a PBS job gets from here, as in grep -E; Slurm's gets all
# NODE_KIND: what a node must have, in the scheduler's words; MODULES: what a job loads, empty: nothing
case $SCHEDULER in
    torque) : "${NODE_KIND:=ppn=16:xk}" "${MODULES=cudatoolkit}" ;; # as in -l nodes=1:ppn=16:xk
    pbspro) : "${NODE_KIND:=ncpus=$((8 * GPUS)):ngpus=$GPUS}" ;;    # as in -l select=1:ncpus=8:ngpus=1
    slurm) : "${NODE_KIND:=--cpus-per-task=$((8 * GPUS)) --gpus-per-node=$GPUS}" ;;
    *) fail "SCHEDULER is $SCHEDULER: expected torque, pbspro or slurm" ;;
esac
: "${MODULES=}"
: "${MODULES_INIT:=/opt/modules/default/init/bash}" # what makes `module` known, where it is not
: "${PYTHON:=.venv/bin/python}"                # bash jobs/make_environment.sh requirements.txt makes it
# LAUNCHER: what starts one process on each node; empty: nothing; not set: see job.sh

# Clusters of today, as job scripts that their users published have it; nobody has tried these lines there:
# Polaris (PBS Pro)    SCHEDULER=pbspro NODE_KIND=ncpus=64:ngpus=4 GPUS=4 QUEUE=preemptable ACCOUNT=… \
#                      SUBMIT_OPTIONS="-l filesystems=home:eagle"
# Delta (Slurm)        SCHEDULER=slurm QUEUE=gpuA100x4 ACCOUNT=… NODE_KIND="--cpus-per-task=16 --gpus-per-node=1" \
#                      SUBMIT_OPTIONS=--mem=60g

# ---- the job

: "${DEVICE:=cuda}"                            # a node whose driver is broken must not train for days on its CPU
: "${DATA:=preprocessed_data}"
: "${TABLE:=jobs/trials.csv}"
: "${TRIALS:=}"                                # trials of the TABLE with colons between: one, or those of an array
: "${TRIAL:=default}"                          # without TRIALS: the results go to PART/trials/TRIAL, of "default" to PART
: "${LANGUAGE_MODEL:=}"                        # what 3b and 3c start from; empty: see trial_of_3a in functions.sh
: "${ARGS:=}"                                  # options of the train script, preprocess_data.py or generate_review.py
: "${TEST_ARGS:=}"                             # options of the test script
: "${STOP_BEFORE:=300}"                        # a training stops, to go on in a further job, so many seconds before the
                                               # walltime ends: time for a batch, a test and the saving
: "${MORE_JOBS:=10}"                           # and so many times at most

case "$SCHEDULER $SUBMIT_OPTIONS " in # of two lists, the later one holds
    slurm*\ --export* | [tp]*\ -v*) fail "SUBMIT_OPTIONS replaces the settings: export the variables instead, and see PASS" ;;
esac

# given: the names of the settings that are given, with what PASS names, for qsub -v
given() {
    compgen -e | grep -xE "SCHEDULER|NODES|GPUS|NODE_KIND|WALLTIME|QUEUE|ACCOUNT|SUBMIT_OPTIONS|PASS|MODULES(_INIT)?|LAUNCHER|\
PYTHON|DEVICE|DATA|TABLE|TRIALS?|LANGUAGE_MODEL|(TEST_)?ARGS|STOP_BEFORE|MORE_JOBS|SIDE_BY_SIDE|$PASS"
}
