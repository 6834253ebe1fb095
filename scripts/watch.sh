#!/usr/bin/env bash
# The processes of a job that launch.sh has started: watching them, and ending all of them when one fails or the user
# presses Ctrl-C. Sourced by launch.sh, not run.
#
# The first SIGINT, SIGTERM or SIGHUP is handed to the ranks, which save the state of their training and end; those that
# have not ended STOP_AFTER seconds later, or at the next signal, are ended by force. Where this script itself is ended by
# force, scripts/worker.py sees it and asks its rank to end. Under nohup a hangup counts for nothing.
#
# A job is judged by the exit codes that scripts/worker.py records for each rank, because msrun returns 0 on Ctrl-C, and
# takes half a minute to end when a worker has failed. Its processes are found by a mark in their environment
# (GHOST_MS_JOB), because msrun leaves its workers behind when it is ended by SIGTERM.
#
# Nothing here waits without a limit but for ranks that are at work.
set -euo pipefail

# The user's variables go into arithmetic, which would run what is no number.
for name in LOST_AFTER STOP_AFTER LEAVE_AFTER; do
    value=${!name:-0}
    need_number "$name" "${value#-}" 0
done
unset name value

JOB_PID=""
TAIL_PID=""
# "ADDRESS PORT" of node 0, watched by the other nodes, and the seconds of silence after which they give up. MindSpore's
# workers go on calling a lost scheduler for minutes.
WATCH_NODE=""
LOST_AFTER=${LOST_AFTER:-60}
# The signal that the ranks were asked to stop by, when that was, and the seconds that they have for it. A graph that is
# being compiled is not interrupted.
ASKED=""
ASKED_AT=0
STOP_AFTER=${STOP_AFTER:-120}
# The seconds that a rank whose work is done, and the starter of ranks that all ended well, have for leaving: MindSpore's
# processes wait for each other without a limit when they leave.
export LEAVE_AFTER=${LEAVE_AFTER:-120}
ALL_ENDED_AT=""
# Set for a starter whose exit code tells of ranks on other nodes (mpirun); msrun's says nothing that its ranks do not.
TRUST_CODE=""

# processes_of_job: ids of all processes on this host that carry the mark of this job.
processes_of_job() {
    local path
    # A process that hangs in its driver may keep a reader of its /proc entry waiting too.
    for path in $(timeout 20 grep -alszF "GHOST_MS_JOB=$GHOST_MS_JOB" /proc/[0-9]*/environ 2>/dev/null || true); do
        path=${path#/proc/}
        path=${path%/environ}
        printf '%s\n' "$path"
    done
}

# signal_job NAME: to every process of the job, and to the group of the starter where /proc does not show them.
signal_job() {
    local pid
    for pid in $(processes_of_job); do
        kill "-$1" "$pid" 2>/dev/null || true
    done
    [ -z "$JOB_PID" ] || kill "-$1" -- "-$JOB_PID" 2>/dev/null || true
}

# job_ends SECONDS: whether no process of the job is left within that time.
job_ends() {
    local end=$((SECONDS + $1))
    while kill -0 "$JOB_PID" 2>/dev/null || [ -n "$(processes_of_job)" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.5
    done
}

# End every process of the job: politely, then by force.
stop_job() {
    trap '' INT TERM HUP
    # msrun knows what to do on SIGINT alone.
    kill -INT "$JOB_PID" 2>/dev/null || true
    job_ends 3 && return
    signal_job TERM
    job_ends 1 && return
    signal_job KILL
    job_ends 10 || complain "error: process $(processes_of_job | sed -n 1p) of the job cannot be ended; see dmesg"
}

end_by_force() {
    complain "interrupted: ending every process of the job"
    stop_job
    exit 130
}

# rank_workers: ids of the processes that run scripts/worker.py for a rank; not msrun, mpirun or its scheduler, which
# would end the ranks.
rank_workers() {
    local pid words
    for pid in $(processes_of_job); do
        mapfile -d '' -t words 2>/dev/null < "/proc/$pid/cmdline" || continue
        case "${words[1]:-}" in
            */scripts/worker.py) ;;
            *) continue ;;
        esac
        grep -qzxF MS_ROLE=MS_SCHED "/proc/$pid/environ" 2>/dev/null || printf '%s\n' "$pid"
    done
}

# on_signal NAME: hand the first one to the ranks and go on waiting for them.
on_signal() {
    local workers
    [ -z "$ASKED" ] || end_by_force
    workers=$(rank_workers)
    [ -n "$workers" ] || end_by_force
    ASKED=$1 ASKED_AT=$SECONDS
    complain "SIG$1: a training saves its state and ends; once more ends every process at once"
    # All ranks agree on the step; a rank on another host need not have heard of it.
    # shellcheck disable=SC2086  # one word a process
    kill -TERM $workers 2>/dev/null || true
}

# finish_stop FIRST COUNT: how a job ended that was asked to.
finish_stop() {
    [ "$(ranks_that_ended_well "$1" "$2")" = "$2" ] || end_by_force
    stop_job
    say "stopped by SIG$ASKED: every rank ended well; logs in $LOG_DIR"
    # A scheduler's SIGTERM is obeyed, so all is well; Ctrl-C must also end a script that would go on after this.
    [ "$ASKED" = TERM ] || exit 130
}

# failed_ranks: those that recorded an exit code other than 0, the earliest first.
failed_ranks() {
    local file
    # shellcheck disable=SC2012  # names of our own, without blanks
    for file in $(cd -- "$LOG_DIR" || exit 0; ls -tr rank_*.exit 2>/dev/null || true); do
        if [ "$(cat "$LOG_DIR/$file")" != 0 ]; then
            file=${file%.exit}
            printf '%s\n' "${file#rank_}"
        fi
    done
}

log_of() {
    if [ "$1" = scheduler ]; then
        printf '%s\n' "$LOG_DIR/scheduler.log"
    else
        printf '%s\n' "$LOG_DIR/worker_$1.log"
    fi
}

# report_failure RANK: what the rank said last, and one sentence that says what it means.
report_failure() {
    local log code reason
    log=$(log_of "$1")
    code=$(cat "$LOG_DIR/rank_$1.exit" 2>/dev/null || echo unknown)
    reason=$("$PYTHON" "$ROOT/scripts/explain.py" "$log" "$code") || reason="see $log"
    complain "--- last lines of $log"
    last_lines "$log"
    if [ "$1" = scheduler ]; then
        complain "error: the scheduler failed: $reason"
    else
        complain "error: rank $1 failed: $reason"
    fi
}

# last_lines LOG: what it ends with, as a terminal may show it.
last_lines() {
    "$PYTHON" "$ROOT/scripts/printable.py" --last 15 "$1" >&2 || true
}

# ranks_that_ended_well FIRST COUNT: how many of these have recorded 0.
ranks_that_ended_well() {
    local rank well=0
    for rank in $(seq "$1" $(($1 + $2 - 1))); do
        [ "$(cat "$LOG_DIR/rank_$rank.exit" 2>/dev/null)" != 0 ] || well=$((well + 1))
    done
    printf '%s\n' "$well"
}

# finish FIRST COUNT: judge the ranks FIRST .. FIRST+COUNT-1, which ran here.
finish() {
    local rank failed missing=""
    # The work is done where every rank says so, whatever the scheduler says of how one of them left.
    [ "$(ranks_that_ended_well "$1" "$2")" != "$2" ] || return 0
    failed=$(failed_ranks)
    # The scheduler complains whenever a worker is lost; the worker's own error is the cause.
    rank=$(sed -n '/scheduler/!{p;q}' <<< "$failed")
    rank=${rank:-$(sed -n 1p <<< "$failed")}
    if [ -n "$rank" ]; then
        report_failure "$rank"
        return 1
    fi
    for rank in $(seq "$1" $(($1 + $2 - 1))); do
        [ -f "$LOG_DIR/rank_$rank.exit" ] || missing="$missing $rank"
    done
    if [ -n "$missing" ]; then
        read -r rank _ <<< "$missing"
        complain "--- last lines of $(log_of "$rank")"
        last_lines "$(log_of "$rank")"
        complain "error: rank${missing} ended from outside, without a word of its own (killed, or another node gave up)"
        return 1
    fi
}

# node_answers: whether the scheduler's port of node 0 can be reached now.
node_answers() {
    # shellcheck disable=SC2016  # the inner shell expands it
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "${WATCH_NODE% *}" "${WATCH_NODE#* }" 2>/dev/null
}

# node_is_lost: whether node 0, once seen, has not answered for LOST_AFTER seconds.
node_is_lost() {
    [ -n "$WATCH_NODE" ] || return 1
    if node_answers; then
        LAST_SEEN=$SECONDS
    fi
    [ -n "${LAST_SEEN:-}" ] && [ $((SECONDS - LAST_SEEN)) -ge "$LOST_AFTER" ]
}

# leaves_too_late FIRST COUNT: whether the ranks all ended well, and their starter has had its time to leave. mpirun's
# waits for ranks on other nodes, which may have work left.
leaves_too_late() {
    [ -z "$TRUST_CODE" ] && [ "$(ranks_that_ended_well "$1" "$2")" = "$2" ] || return 1
    ALL_ENDED_AT=${ALL_ENDED_AT:-$SECONDS}
    [ $((SECONDS - ALL_ENDED_AT)) -ge "$LEAVE_AFTER" ]
}

# watch_job FIRST COUNT: wait for the job; end all of it as soon as one rank fails.
watch_job() {
    local code=0 shown=$1 turn=0 lost=""
    tail -n +1 -F "$(log_of "$shown")" --pid="$JOB_PID" 2>/dev/null | "$PYTHON" "$ROOT/scripts/printable.py" &
    TAIL_PID=$!
    while kill -0 "$JOB_PID" 2>/dev/null; do
        [ -z "$(failed_ranks)" ] || break
        [ -z "$ASKED" ] || [ $((SECONDS - ASKED_AT)) -lt "$STOP_AFTER" ] || break
        ! leaves_too_late "$1" "$2" || break
        turn=$((turn + 1))
        if [ $((turn % 5)) = 0 ] && node_is_lost; then
            lost=1
            break
        fi
        sleep 1 &
        wait $! || true
    done
    if [ -n "$ASKED" ]; then
        # tail looks once a second.
        sleep 1.2
        kill "$TAIL_PID" 2>/dev/null || true
        finish_stop "$1" "$2"
        return
    fi
    if [ -n "$(failed_ranks)" ]; then
        # The other ranks often say why, a moment later than the first.
        sleep 1
        # MindSpore ends its workers, without a word, when their scheduler is lost.
        [ -z "$WATCH_NODE" ] || node_answers || lost=1
    fi
    stop_job
    # One that cannot be ended is not waited for.
    kill -0 "$JOB_PID" 2>/dev/null || wait "$JOB_PID" 2>/dev/null || code=$?
    # tail looks once a second.
    sleep 1.2
    kill "$TAIL_PID" 2>/dev/null || true
    if [ -n "$lost" ]; then
        complain "error: node 0 (${WATCH_NODE% *}) does not answer any more: its host is down, its job has ended," \
            "or the network between the nodes is cut"
        return 1
    fi
    finish "$1" "$2" || return 1
    if [ -n "$TRUST_CODE" ] && [ "$code" != 0 ]; then
        last_lines "$LOG_DIR/launcher.log"
        complain "error: the ranks of this node ended well, but mpirun reports exit code $code for another"
        return 1
    fi
    say "done: every rank ended well; logs in $LOG_DIR"
}
