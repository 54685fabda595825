# What differs from one cluster to another, and what a job can be told; each job file reads it, in the top directory.
# Every setting can be given from outside: QUEUE=gpu bash jobs/submit_all.sh …; qsub -v TRIAL=wide jobs/1a.pbs
# shellcheck shell=bash

# the names of those that are given, for qsub -v
SETTINGS=''
for name in SCHEDULER NODES GPUS NODE_KIND WALLTIME QUEUE ACCOUNT SUBMIT_OPTIONS MODULES_INIT MODULES LAUNCHER PYTHON \
    DEVICE DATA TABLE TRIALS TRIAL LANGUAGE_MODEL ARGS TEST_ARGS STEPS STOP_BEFORE MORE_JOBS; do
    [ -z "${!name+given}" ] || SETTINGS=$SETTINGS,$name
done
export SETTINGS=${SETTINGS#,}

# ---- the cluster; these are Blue Waters' XK nodes, each with one GPU and 16 cores; their K20X is older than the GPUs that
# PyTorch still has code for (README.md here, "Which GPUs")

: "${SCHEDULER:=torque}"       # which qsub or sbatch: torque (-l nodes=…), pbspro (PBS Pro, OpenPBS: -l select=…) or slurm
: "${NODES:=${PBS_NUM_NODES:-${SLURM_JOB_NUM_NODES:-1}}}"
: "${GPUS:=1}"                                 # of each node; each has a process of its own
: "${WALLTIME:=}"                              # HH:MM:SS; empty: what the job file says
: "${QUEUE:=}"                                 # Slurm's partition; empty: the cluster's default
: "${ACCOUNT:=}"                               # whom to charge; empty: the cluster's default
: "${SUBMIT_OPTIONS:=}"                        # what else qsub or sbatch has to be told
# NODE_KIND: what a node must have, in the scheduler's words; LAUNCHER: what starts the processes on all nodes;
# MODULES: empty on a cluster without modules
case $SCHEDULER in
    torque)
        : "${NODE_KIND:=ppn=16:xk}"                               # as in -l nodes=1:ppn=16:xk
        : "${LAUNCHER=aprun -n $((NODES * GPUS)) -N $GPUS -d $((16 / GPUS))}" # -d: cores of a process
        : "${MODULES=cudatoolkit}"
        ;;
    pbspro)
        : "${NODE_KIND:=ncpus=$((8 * GPUS)):ngpus=$GPUS}"         # as in -l select=1:ncpus=8:ngpus=1
        : "${LAUNCHER=$([ $((NODES * GPUS)) -eq 1 ] || echo "mpiexec -n $((NODES * GPUS)) -ppn $GPUS")}"
        ;;
    slurm)
        : "${NODE_KIND:=--ntasks-per-node=$GPUS --cpus-per-task=8 --gpus-per-node=$GPUS}"
        : "${LAUNCHER=srun}"
        ;;
    *)
        echo "error: SCHEDULER is $SCHEDULER: expected torque, pbspro or slurm" >&2
        exit 2
        ;;
esac
: "${MODULES=}"
: "${MODULES_INIT=/opt/modules/default/init/bash}" # empty where a job knows `module` already
: "${PYTHON:=.venv/bin/python}"                # bash jobs/make_environment.sh requirements.txt makes it

# Clusters of today, as job scripts that their users published have it; nobody has tried these lines there:
# Polaris (PBS Pro)  SCHEDULER=pbspro NODE_KIND=ncpus=64:ngpus=4 GPUS=4 QUEUE=preemptable ACCOUNT=… \
#                    SUBMIT_OPTIONS="-l filesystems=home:eagle" LAUNCHER="mpiexec -n 4 --ppn 4 --depth 8"
# Derecho (PBS Pro)  SCHEDULER=pbspro NODE_KIND=ncpus=64:ngpus=4 GPUS=4 QUEUE=main ACCOUNT=… MODULES=cuda MODULES_INIT=
# Delta (Slurm)      SCHEDULER=slurm QUEUE=gpuA100x4 ACCOUNT=… NODE_KIND="--ntasks-per-node=1 --cpus-per-task=16 \
#                    --gpus-per-node=1 --mem=60g"

# ---- the job

: "${DEVICE:=cuda}"                            # a node whose driver is broken must not train for days on its CPU
: "${DATA:=preprocessed_data}"
: "${TRIAL:=default}"                          # its results go to PART/trials/TRIAL, those of "default" to PART
: "${LANGUAGE_MODEL:=}"                        # what 3b and 3c start from; empty: see language_model in functions.sh
: "${ARGS:=}"                                  # options of the train script, preprocess_data.py or generate_review.py
: "${TEST_ARGS:=}"                             # options of the test script
: "${STEPS:=train test}"                       # one of the two, or both
: "${STOP_BEFORE:=300}"                        # a training is stopped, and its successor submitted, so many seconds
: "${MORE_JOBS:=10}"                           # before the walltime ends, and so many times at most

# ---- in a job only

if [ -n "${PBS_JOBID:-}${SLURM_JOB_ID:-}" ]; then
    # %27 is a quote, %2C a comma, %25 a per cent sign: see encoded in functions.sh
    printf -v ARGS %b "${ARGS//\%/\\x}"
    printf -v TEST_ARGS %b "${TEST_ARGS//\%/\\x}"
    if [ -n "$MODULES" ]; then
        if [ -n "$MODULES_INIT" ] && [ ! -e "$MODULES_INIT" ]; then
            echo "error: there is no $MODULES_INIT here: set MODULES_INIT, or MODULES= where there are no modules" >&2
            exit 2
        fi
        set +u # the modules' own scripts use what is not set
        # shellcheck disable=SC1090 # it is the cluster's
        [ -z "$MODULES_INIT" ] || . "$MODULES_INIT"
        # shellcheck disable=SC2086 # several names
        module load $MODULES
        set -u
    fi
    if [ -n "$LAUNCHER" ] && ! command -v "${LAUNCHER%% *}" >/dev/null; then
        echo "error: there is no ${LAUNCHER%% *} here: set LAUNCHER, or LAUNCHER= for one process without one" >&2
        exit 2
    fi
    # aprun tells a process its number alone; the first node, where they meet, is a mere number in Cray's node file
    export WORLD_SIZE=$((NODES * GPUS))
    if [ "$WORLD_SIZE" -gt 1 ] && [ -z "${MASTER_ADDR:-}" ] && [ -n "${PBS_NODEFILE:-}" ]; then
        MASTER_ADDR=$(awk 'NR == 1 { print /^[0-9]+$/ ? sprintf("nid%05d", $1) : $1 }' "$PBS_NODEFILE")
        export MASTER_ADDR
    fi
    export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take sbatch's
fi
