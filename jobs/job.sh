# What a job does: the job files read this in the top directory, with the name of the part, or "preprocess".
# shellcheck shell=bash
set -euo pipefail
part=$1 DRY_RUN='' DEADLINE='' TORCHRUN=''
case $part in preprocess | 3b) GPUS=1 ;; esac # they are one process
. jobs/functions.sh
. jobs/environment.sh

# a task of Slurm's array has a number of its own too, but the last one's is that of the whole array
JOB=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
JOB=${JOB:-${PBS_JOBID:-$SLURM_JOB_ID}}
# %27 is a quote, %2C a comma, %25 a per cent sign: see encoded in functions.sh
printf -v ARGS %b "${ARGS//\%/\\x}"
printf -v TEST_ARGS %b "${TEST_ARGS//\%/\\x}"

if [ -n "$MODULES" ]; then
    set +u # the modules' own scripts use what is not set
    # shellcheck disable=SC1090 # it is the cluster's
    command -v module >/dev/null || . "$MODULES_INIT"
    # shellcheck disable=SC2086 # several names
    module load $MODULES
    set -u
fi

# ---- how a script is started: LAUNCHER, one process on each node, of PYTHON, there TORCHRUN, one process for each GPU

if [ "$SCHEDULER" = slurm ]; then
    NODES=$SLURM_JOB_NUM_NODES first_node=$(hostname)
    # a step does not take over the cores that the job asked for
    : "${LAUNCHER=srun --nodes=$NODES --ntasks-per-node=1 --cpus-per-task=$SLURM_CPUS_ON_NODE}"
else
    NODES=$(sort -u "$PBS_NODEFILE" | wc -l)
    # in Cray's node file a node is a mere number
    first_node=$(awk 'NR == 1 { print /^[0-9]+$/ ? sprintf("nid%05d", $1) : $1 }' "$PBS_NODEFILE")
    if command -v aprun >/dev/null; then
        : "${LAUNCHER=aprun -n $NODES -N 1 -d 16}" # -d: cores of a process
    elif [ "$NODES" -gt 1 ]; then
        : "${LAUNCHER=mpiexec -n $NODES -ppn 1}"
    fi
fi
: "${LAUNCHER=}"
if [ "$NODES" -gt 1 ]; then
    number=${JOB%%.*} number=${number//[!0-9]/} # jobs that share a node meet at ports of their own
    TORCHRUN="-m torch.distributed.run --nnodes=$NODES --nproc_per_node=$GPUS --rdzv_backend=c10d --rdzv_id=$number"
    TORCHRUN="$TORCHRUN --rdzv_endpoint=$first_node:$((20000 + number % 20000))"
elif [ "$GPUS" -gt 1 ]; then
    TORCHRUN="-m torch.distributed.run --standalone --nproc_per_node=$GPUS"
fi

# ---- the walltime

# attributes [ID]: what qstat -f, which breaks long lines, says of the job, or of all, a line each
attributes() {
    ask qstat -f "$@" | awk '/^\t/ { sub(/^\t/, ""); printf "%s", $0; next } { printf "\n%s", $0 } END { print "" }'
}

# set_deadline: DEADLINE is STOP_BEFORE seconds before the walltime ends, or empty
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

# end_job STATUS: what is not done, status 75, goes on in a further job
end_job() {
    local own process
    if [ -n "${PBS_JOBCOOKIE:-}" ]; then
        # PBS does not end what a torchrun that was killed has left, since it is in sessions of its own
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
        exit 0 # else what waits for this job would be deleted
    fi
}

# is_preempted: Slurm is about to preempt this job; having ended meanwhile, it would count as one that failed
is_preempted() {
    squeue -h -j "$JOB" -O PreemptTime | grep '^[0-9]' >/dev/null
}

# submit_successor: of this PBS job, with what it was given, by whomever it was submitted; what waits for this job, waits for
# the new one
submit_successor() {
    local told next command job dependency trial
    told=$(attributes "$JOB")
    RESOURCES=$(sed -n 's/^ *Resource_List\.\(nodes\|select\|place\|walltime\) = /\1=/p' <<<"$told")
    ACCOUNT=$(sed -n 's/^ *Account_Name = //p' <<<"$told") QUEUE=${QUEUE:-${PBS_O_QUEUE:-}}
    ARGS=$(encoded "$ARGS") TEST_ARGS=$(encoded "$TEST_ARGS")
    export TRIAL TRIALS ARGS TEST_ARGS MORE_JOBS=$((MORE_JOBS - 1))
    # a job of an array cannot be waited for alone
    build_command "$part-$TRIAL+$MORE_JOBS" "$part" "afterany:${JOB/\[*\]/[]}"
    next=$(ask "${command[@]}" | tail -n 1)
    for trial in $TRIAL ${TRIALS//:/ }; do echo "$next" >"jobs/$part-$trial.id"; done
    echo "not done yet: $next goes on"
    # what waits for this job tells so itself; what a job tells of those that wait for it can be old
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
if [ -n "$TRIALS" ]; then # as they stand in the table
    index=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${SLURM_ARRAY_TASK_ID:-}}}
    [ -z "$index" ] || TRIALS=$(cut -d : -f "$index" <<<"$TRIALS")
    lines=$("$PYTHON" jobs/trials.py "$TABLE" "${TRIALS//:/,}" "$part")
    if [[ $TRIALS = *:* ]]; then # side by side, on the node, where LAUNCHER starts what runs there
        TRIAL='trials'
        # shellcheck disable=SC2016 # that shell's
        $LAUNCHER env LAUNCHER='' TORCHRUN='' DRY_RUN='' JOB="$JOB" DEADLINE="$DEADLINE" bash -c 'set -euo pipefail
            . jobs/functions.sh
            . jobs/environment.sh
            . jobs/side_by_side.sh
            side_by_side "$1"
            tell_failed' bash "$lines"
        exit
    fi
    IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <<<"$lines" # the first; a name chooses its seeds, too
    TRIALS=''
    [ -z "$index" ] || exec >>"jobs/$part-$TRIAL.out" 2>>"jobs/$part-$TRIAL.err"
fi
run_trial "$part"
