# What differs from one cluster to another, and what a job can be told; each job file reads it, in the top directory.
# Every setting can be given from outside: QUEUE=gpu bash jobs/submit_all.sh …; qsub -v TRIAL=wide jobs/1a.pbs
# shellcheck shell=bash

# the names of those that are given, for qsub -v
SETTINGS=''
for name in SCHEDULER NODES GPUS NODE_KIND MEMORY WALLTIME QUEUE QOS ACCOUNT CPU_QUEUE CPU_NODE_KIND AT_ONCE SUBMIT_OPTIONS \
    PASS MODULES_INIT MODULES LAUNCHER PYTHON DEVICE DATA TABLE TRIALS TRIAL LANGUAGE_MODEL ARGS TEST_ARGS STEPS \
    STOP_BEFORE MORE_JOBS SIDE_BY_SIDE; do
    [ -z "${!name+given}" ] || SETTINGS=$SETTINGS,$name
done
SETTINGS=${SETTINGS#,}

# ---- the cluster; these are Blue Waters' XK nodes, each with one GPU and 16 cores; their K20X is older than the GPUs that
# PyTorch still has code for (README.md here, "Which GPUs"). Where a value is empty, the cluster's own default holds

: "${SCHEDULER:=${SLURM_JOB_ID:+slurm}}"
: "${SCHEDULER:=torque}"       # which qsub or sbatch: torque (-l nodes=…), pbspro (PBS Pro, OpenPBS: -l select=…) or slurm
: "${NODES:=1}"                                # those of a job in which this runs are counted, below
: "${GPUS:=1}"                                 # of each node; each has a process of its own
: "${MEMORY:=}"                                # of each node, on Torque of the job: 60gb; on Slurm 60g
: "${WALLTIME:=}"                              # HH:MM:SS; empty: what the job file says
: "${QUEUE:=}"                                 # Slurm's partition
: "${QOS:=}"                                   # PBS Pro has none
: "${ACCOUNT:=}"                               # whom to charge
: "${AT_ONCE:=}"                               # how many trials of an array may run at once
: "${SIDE_BY_SIDE:=}"                          # how many trials of a part run at once on the GPU of one job, in place of an
                                               # array
: "${SUBMIT_OPTIONS:=}"                        # what else qsub or sbatch has to be told
: "${PASS:=NLTK_DATA|(OMP|NCCL|TORCH)_.*}"     # the variables that a PBS job gets from here, as in grep -E; Slurm's gets all
# NODE_KIND: what a node must have, in the scheduler's words; MODULES: empty on a cluster without modules
case $SCHEDULER in
    torque) : "${NODE_KIND:=ppn=16:xk}" "${MODULES=cudatoolkit}" ;; # as in -l nodes=1:ppn=16:xk
    pbspro) : "${NODE_KIND:=ncpus=$((8 * GPUS)):ngpus=$GPUS}" ;;    # as in -l select=1:ncpus=8:ngpus=1
    slurm) : "${NODE_KIND:=--cpus-per-task=$((8 * GPUS)) --gpus-per-node=$GPUS}" ;;
    *)
        echo "error: SCHEDULER is $SCHEDULER: expected torque, pbspro or slurm" >&2
        exit 2
        ;;
esac
: "${CPU_QUEUE:=$QUEUE}"                       # for preprocessing, which needs no GPU,
: "${CPU_NODE_KIND:=$NODE_KIND}"               # as in CPU_QUEUE=cpu CPU_NODE_KIND=ncpus=8, or …=--cpus-per-task=8
: "${MODULES=}"
: "${MODULES_INIT=/opt/modules/default/init/bash}" # empty where a job knows `module` already
: "${PYTHON:=.venv/bin/python}"                # bash jobs/make_environment.sh requirements.txt makes it

# Clusters of today, as job scripts that their users published have it; nobody has tried these lines there:
# Polaris (PBS Pro)    SCHEDULER=pbspro NODE_KIND=ncpus=64:ngpus=4 GPUS=4 QUEUE=preemptable ACCOUNT=… \
#                      SUBMIT_OPTIONS="-l filesystems=home:eagle"
# Derecho (PBS Pro)    SCHEDULER=pbspro NODE_KIND=ncpus=64:ngpus=4 GPUS=4 QUEUE=main ACCOUNT=… MODULES=cuda MODULES_INIT=
# Delta (Slurm)        SCHEDULER=slurm QUEUE=gpuA100x4 ACCOUNT=… MEMORY=60g NODE_KIND="--cpus-per-task=16 --gpus-per-node=1"
# Perlmutter (Slurm)   SCHEDULER=slurm QOS=shared ACCOUNT=… NODE_KIND="--constraint=gpu --cpus-per-task=32 --gpus-per-node=1"

# ---- the job

: "${DEVICE:=cuda}"                            # a node whose driver is broken must not train for days on its CPU
: "${DATA:=preprocessed_data}"
: "${TABLE:=jobs/trials.csv}"
: "${TRIALS:=}"                                # trials of the TABLE with colons between: one, or those of an array
: "${TRIAL:=default}"                          # without TRIALS: the results go to PART/trials/TRIAL, of "default" to PART
: "${LANGUAGE_MODEL:=}"                        # what 3b and 3c start from; empty: see trial_of_3a in functions.sh
: "${ARGS:=}"                                  # options of the train script, preprocess_data.py or generate_review.py
: "${TEST_ARGS:=}"                             # options of the test script
: "${STEPS:=train test}"                       # one of the two, or both
: "${STOP_BEFORE:=300}"                        # a training stops, to go on in a further job, so many seconds before the
                                               # walltime ends: time for a batch, a test and the saving
: "${MORE_JOBS:=10}"                           # and so many times at most

case "$SCHEDULER $QOS $SUBMIT_OPTIONS " in
    pbspro\ [!\ ]*) wrong="QOS is $QOS: PBS Pro has queues alone, set QUEUE" ;;
    torque*\ -v* | pbspro*\ -v*) wrong="SUBMIT_OPTIONS has a -v, which would replace the settings': set PASS" ;;
    slurm*\ --export=ALL*) wrong='' ;;
    slurm*\ --export*) wrong='SUBMIT_OPTIONS has an --export that keeps the settings from the job: use --export=ALL,NAME=…' ;;
    *) wrong='' ;;
esac
[[ $SIDE_BY_SIDE =~ ^([1-9][0-9]*)?$ ]] || wrong="SIDE_BY_SIDE is $SIDE_BY_SIDE: expected how many trials run at a time"
[ -z "$SIDE_BY_SIDE" ] || [ "$NODES $GPUS" = '1 1' ] || wrong="SIDE_BY_SIDE goes with one GPU: set NODES=1 GPUS=1"
[ -z "$wrong" ] || {
    echo "error: $wrong" >&2
    exit 2
}

# ---- in a job only

TORCHRUN=''
if [ -n "${PBS_JOBID:-}${SLURM_JOB_ID:-}" ]; then
    # a task of Slurm's array has a number of its own too, but the last one's is that of the whole array
    JOB=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    JOB=${JOB:-${PBS_JOBID:-$SLURM_JOB_ID}}
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
    # how a script is started: LAUNCHER, one process on each node, of PYTHON, there TORCHRUN, one process for each GPU
    if [ "$SCHEDULER" = slurm ]; then
        NODES=$SLURM_JOB_NUM_NODES first_node=$(hostname)
        # a step does not take over the cores that the job asked for
        : "${LAUNCHER=srun --nodes=$NODES --ntasks-per-node=1 --cpus-per-task=$SLURM_CPUS_ON_NODE}"
    else
        NODES=$(sort -u "$PBS_NODEFILE" | wc -l)
        # in Cray's node file a node is a mere number
        first_node=$(awk 'NR == 1 { print /^[0-9]+$/ ? sprintf("nid%05d", $1) : $1 }' "$PBS_NODEFILE")
        if [ "$SCHEDULER" = torque ]; then
            : "${LAUNCHER=aprun -n $NODES -N 1 -d 16}" # -d: cores of a process
        elif [ "$NODES" -gt 1 ]; then
            : "${LAUNCHER=mpiexec -n $NODES -ppn 1}"
        fi
    fi
    : "${LAUNCHER=}"
    if [ -n "$LAUNCHER" ] && ! command -v "${LAUNCHER%% *}" >/dev/null; then
        echo "error: there is no ${LAUNCHER%% *} here: set LAUNCHER, or LAUNCHER= for one node without one" >&2
        exit 2
    fi
    if [ "$NODES" -gt 1 ]; then
        number=${JOB%%.*} number=${number//[!0-9]/} # jobs that share a node meet at ports of their own
        TORCHRUN="-m torch.distributed.run --nnodes=$NODES --nproc_per_node=$GPUS --rdzv_backend=c10d --rdzv_id=$number"
        TORCHRUN="$TORCHRUN --rdzv_endpoint=$first_node:$((20000 + number % 20000))"
    elif [ "$GPUS" -gt 1 ]; then
        TORCHRUN="-m torch.distributed.run --standalone --nproc_per_node=$GPUS"
    fi
fi
