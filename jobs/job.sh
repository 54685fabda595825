# What a job does. The job files read this in the top directory, and give it the part's name, or "preprocess".
# shellcheck shell=bash
set -euo pipefail
part=$1 DRY_RUN='' DEADLINE='' TORCHRUN=''
case $part in preprocess | 3b) GPUS=1 ;; esac # they are one process
. jobs/functions.sh
. jobs/environment.sh

JOB=${PBS_JOBID:-$SLURM_JOB_ID}
# qsub -v takes no quotes and no commas: they are written as %27 and %2C, see encoded in functions.sh
printf -v ARGS %b "${ARGS//\%/\\x}"
printf -v TEST_ARGS %b "${TEST_ARGS//\%/\\x}"

if [ -n "$MODULES" ]; then
    set +u # the modules' own scripts use variables that are not set
    # shellcheck disable=SC1090 # it is the cluster's
    command -v module >/dev/null || . "$MODULES_INIT"
    # shellcheck disable=SC2086 # several names
    module load $MODULES
    set -u
fi

# ---- how a script is started: LAUNCHER starts PYTHON once on each node, and TORCHRUN one process for each GPU there

if [ "$SCHEDULER" = slurm ]; then
    NODES=$SLURM_JOB_NUM_NODES first_node=$(hostname)
    # srun does not give its step the job's cores unasked
    : "${LAUNCHER=srun --nodes=$NODES --ntasks-per-node=1 --cpus-per-task=$SLURM_CPUS_ON_NODE}"
else
    NODES=$(sort -u "$PBS_NODEFILE" | wc -l)
    # Cray's node file has numbers in place of names
    first_node=$(awk 'NR == 1 { print /^[0-9]+$/ ? sprintf("nid%05d", $1) : $1 }' "$PBS_NODEFILE")
    if command -v aprun >/dev/null; then
        : "${LAUNCHER=aprun -n $NODES -N 1 -d 16}" # -d: cores of a process
    elif [ "$NODES" -gt 1 ]; then
        : "${LAUNCHER=mpiexec -n $NODES -ppn 1}"
    fi
fi
: "${LAUNCHER=}"
if [ "$NODES" -gt 1 ]; then
    # a port of each job's own, as jobs may share a node; below 32768, from where systems give ports to any program
    number=${JOB%%.*} number=${number//[!0-9]/}
    TORCHRUN="-m torch.distributed.run --nnodes=$NODES --nproc_per_node=$GPUS --rdzv_backend=c10d --rdzv_id=$number"
    TORCHRUN="$TORCHRUN --rdzv_endpoint=$first_node:$((20000 + number % 12000))"
elif [ "$GPUS" -gt 1 ]; then
    TORCHRUN="-m torch.distributed.run --standalone --nproc_per_node=$GPUS"
fi

# PBS Pro tells each process to take all cores of the job, whatever the user's OMP_NUM_THREADS was
# shellcheck disable=SC2031 # side_by_side sets it in a subshell
if [ "$SCHEDULER" = pbspro ] && [ -n "${OMP_NUM_THREADS:-}" ]; then
    processes=$GPUS
    [[ $TRIALS != *:* ]] || processes=$SIDE_BY_SIDE
    OMP_NUM_THREADS=$((OMP_NUM_THREADS > processes ? OMP_NUM_THREADS / processes : 1))
fi

# ---- the walltime

# attributes [ID]: the attributes of the job, or of all jobs, one on a line; qstat -f breaks long lines
attributes() {
    ask qstat -f "$@" | awk '/^\t/ { sub(/^\t/, ""); printf "%s", $0; next } { printf "\n%s", $0 } END { print "" }'
}

# set_deadline: sets DEADLINE to STOP_BEFORE seconds before the walltime ends; it stays empty if nobody knows when that is
set_deadline() {
    local left seconds
    if [ "$SCHEDULER" = slurm ]; then
        left=$(ask squeue -h -j "$JOB" -o %L) || left=''
    else
        left=$(attributes "$JOB" | sed -n 's/^ *Resource_List.walltime = //p') || left='' # it has just begun
    fi
    seconds=$(seconds_of "$left")
    if [ -z "$seconds" ]; then
        echo "there is no telling here when the walltime ends: submit this job once more if it is too short" >&2
    elif [ $((seconds - STOP_BEFORE)) -lt 60 ]; then
        echo "error: the walltime $left leaves not a minute before the last STOP_BEFORE=$STOP_BEFORE seconds" >&2
        exit 2
    else
        DEADLINE=$(($(date +%s) + seconds - STOP_BEFORE))
    fi
}

# ---- how it ends

# end_job STATUS: with status 75 the work is not done, and goes on in a further job
end_job() {
    local own process
    if [ -n "${PBS_JOBCOOKIE:-}" ]; then
        # PBS does not end the processes of a killed torchrun, which are in sessions of their own
        own=$(ps -o sid= -p $$)
        grep -lszxF "PBS_JOBCOOKIE=$PBS_JOBCOOKIE" /proc/[0-9]*/environ | cut -d / -f 3 | while read -r process; do
            [ "$(ps -o sid= -p "$process")" = "$own" ] || kill "$process" 2>/dev/null
        done || true
    fi
    if [ "$1" -eq 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -ge "$MORE_JOBS" ]; then
        echo "error: the training is not done, and MORE_JOBS is used up; submitted once more it goes on" >&2
        exit 1
    elif [ "$SCHEDULER" = slurm ] && { [ "$1" -eq 75 ] || { [ "$1" -ne 0 ] && is_preempted; }; }; then
        echo "not done yet: it goes on when job $JOB is started again"
        ask scontrol requeue "$JOB"
        exit 0
    elif [ "$1" -eq 75 ]; then
        submit_successor
        exit 0 # a job that fails would take those that wait for it along
    fi
}

# is_preempted: whether Slurm is about to preempt this job. If it ended before that, it would count as failed
is_preempted() {
    squeue -h -j "$JOB" -O PreemptTime | grep '^[0-9]' >/dev/null
}

# submit_successor: submits a PBS job like this one, with the same resources and settings, to run after it. The jobs that
# wait for this one then wait for the new one
submit_successor() {
    local told next command job dependency trial
    told=$(attributes "$JOB")
    RESOURCES=$(sed -n 's/^ *Resource_List\.\(nodes\|select\|place\|walltime\) = /\1=/p' <<<"$told")
    ACCOUNT=$(sed -n 's/^ *Account_Name = //p' <<<"$told") QUEUE=${QUEUE:-${PBS_O_QUEUE:-}}
    ARGS=$(encoded "$ARGS") TEST_ARGS=$(encoded "$TEST_ARGS")
    export TRIAL TRIALS ARGS TEST_ARGS MORE_JOBS=$((MORE_JOBS - 1))
    build_command "$part-$TRIAL+$MORE_JOBS" "$part" "afterany:$JOB"
    next=$(ask "${command[@]}" | tail -n 1)
    for trial in $TRIAL ${TRIALS//:/ }; do echo "$next" >"jobs/$part-$trial.id"; done
    echo "not done yet: $next goes on"
    # each job knows what it waits for; the list of those that wait for this one may be out of date
    attributes | awk -v job=":$JOB@" -v next_job="$next" '/^Job Id/ { id = $3 }
        / depend = / && match($0, /after(ok|any):[^,]*/) && id != next_job {
            list = substr($0, RSTART, RLENGTH)
            place = index(list, job)
            if (!place) next
            list = substr(list, 1, place) next_job substr(list, place + length(job) - 1)
            gsub(/@[^:]*/, "", list)
            print id, list
        }' | while read -r job dependency; do ask qalter -W depend="$dependency" "$job" </dev/null; done
}

# ---- its work

trap 'end_job $?' EXIT
if [ "$part" = preprocess ]; then
    run "$ARGS" preprocess_data.py --output "$DATA"
    exit
fi
[ "$part" = 3b ] || set_deadline
if [ -n "$TRIALS" ]; then # their options are in the table
    lines=$("$PYTHON" jobs/trials.py "$TABLE" "${TRIALS//:/,}" "$part")
    if [[ $TRIALS = *:* ]]; then # side by side: LAUNCHER starts one shell on the node, which starts them all
        TRIAL='trials'
        # shellcheck disable=SC2016 # $1 is that shell's
        $LAUNCHER env LAUNCHER='' TORCHRUN='' DRY_RUN='' JOB="$JOB" DEADLINE="$DEADLINE" bash -c 'set -euo pipefail
            . jobs/functions.sh
            . jobs/environment.sh
            side_by_side "$1"
            tell_failed' bash "$lines"
        exit
    fi
    IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <<<"$lines" # the first; the others are its seeds
    TRIALS=''
fi
run_trial "$part"
