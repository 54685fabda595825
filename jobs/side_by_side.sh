# Several trials of a part at a time, on one GPU: what run_all.sh --side-by-side and a job with SIDE_BY_SIDE do. It runs in the
# top directory and needs functions.sh.
# shellcheck shell=bash

# side_by_side LINES: runs a part's trials, LINES of jobs/trials.py, SIDE_BY_SIDE at a time. What each prints goes to
# jobs/PART-TRIAL.out and .err; `failed` names those that fail, `cut` those that have to go on later
failed='' cut='' mps=''
side_by_side() {
    local part=${1%%$'\x1f'*} count cores name unit units=() status
    count=$(wc -l <<<"$1") cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
    count=$((count < SIDE_BY_SIDE ? count : SIDE_BY_SIDE))
    trap end_side_by_side EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ -z "$mps" ] && [ "$DEVICE" != cpu ] && command -v nvidia-cuda-mps-control >/dev/null; then
        mps=$(mktemp -d "${TMPDIR:-/tmp}/mps.XXXXXX") # jobs that share a node have one each
        export CUDA_MPS_PIPE_DIRECTORY=$mps CUDA_MPS_LOG_DIRECTORY=$mps
        # without it they take turns, which is slower
        nvidia-cuda-mps-control -d || { rm -r "$mps" && mps='' && unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY; }
    fi
    # shellcheck disable=SC2034 # run_trial uses them
    while IFS=$'\x1f' read -r _ TRIAL ARGS TEST_ARGS <&3; do
        name=$part-$TRIAL
        set_paths "$part" "$TRIAL"
        ! is_done "$part" || { echo "== $name: done already"; continue; }
        while [ "$(jobs -rp | wc -l)" -ge "$count" ]; do sleep 0.2; done # macOS's bash has no wait -n
        echo "== $name begins"
        set -m # a process group for each, to end it by; Ctrl-C reaches this shell alone
        (
            exec 4>&1 >>"jobs/$name.out" 2>>"jobs/$name.err"
            trap 'echo "== $name ends with status $?" >&4' EXIT
            trap 'exit 143' TERM # once its script has ended
            export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > count ? cores / count : 1))}"
            run_trial "$part"
        ) 3<&- &
        set +m
        units+=("$! $name")
    done 3<<<"$1"
    for unit in ${units[@]+"${units[@]}"}; do
        status=0
        wait "${unit% *}" || status=$?
        case $status in 0) ;; 75) cut="$cut ${unit#* }" ;; *) failed="$failed ${unit#* }" ;; esac
    done
}

# end_side_by_side: whatever ends this shell, the trainings save their states, and nothing is left running
end_side_by_side() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2046 # a list of words
    kill -s TERM -- $(jobs -rp | sed 's/^/-/') 2>/dev/null || true
    wait
    [ -z "$mps" ] || { echo quit | nvidia-cuda-mps-control; rm -rf "$mps"; }
}

# tell_failed: names the trials that failed. The status is 75 where some have to go on later, else 1 where some failed
tell_failed() {
    [ -z "$failed" ] || echo "error: failed:$failed; jobs/PART-TRIAL.err tells why, and the same command goes on" >&2
    [ -z "$cut" ] || { echo "not done yet:$cut" >&2; return 75; }
    [ -z "$failed" ]
}
