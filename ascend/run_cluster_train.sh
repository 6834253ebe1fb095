#!/usr/bin/env bash
# Trains on several servers: run once with --hosts, which starts every node over ssh, or once a node with --node-rank.
# Usage: bash ascend/run_cluster_train.sh [RANK_TABLE_FILE] [DATASET_PATH] [CONFIG] [CKPT] --hosts FILE [OPTIONS]
#        bash ascend/run_cluster_train.sh ... --node-rank R --nodes N --master-addr IP --port P [OPTIONS] [OVERRIDES]
#   RANK_TABLE_FILE DATASET_PATH CONFIG CKPT   as in ascend/run_distribute_train.sh; the same paths on every node
#   --hosts FILE      a line a node: ADDRESS or USER@ADDRESS, each host once; the first is node 0. '#' begins a comment
#   --node-rank R     this node, from 0
#   --nodes N         how many there are
#   --master-addr IP  address of node 0 that every node can reach
#   --port P          port of the scheduler on node 0 (default 8118)
#   --devices 0,1,4   cards of each node (default: all; CPU: two workers); --workers N: the first N
#   --start HOW       msrun (default), rank-table, or mpirun (with --hosts, from node 0)
#   --timeout S       seconds in which all nodes must have met (default 600)
#   --remote-shell S  command that runs another on a node (default: ssh -tt -o BatchMode=yes -o ConnectTimeout=20 --);
#                     it is given the host and one line for the shell there
#   LOST_AFTER=60     in the environment: seconds without an answer after which a node takes node 0 for lost
#   --dry-run         print exactly what would run, and start nothing
#   --rank-table, --dataset, --config, --ckpt, --bind, --server-ip, --log-dir, OVERRIDES: as in run_distribute_train.sh
# Every node needs this project under the same path. With --hosts, one node's failure ends all of them.
# DEVICE_TARGET=CPU runs the same on CPUs.
# Ctrl-C ends every process on every node; a training saves its state first.

# shellcheck source=ascend/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

TAKES="$TAKES --rank-table --devices --workers --start --port --bind --timeout --server-ip"
TAKES="$TAKES --hosts --node-rank --nodes --master-addr --remote-shell"
parse_arguments "$@"
count_processes ascend/run_cluster_train.sh
check_inputs
[ -z "$WORKERS" ] || need_number "--workers" "$WORKERS" 1 1024
start_by_rank_table
MASTER_PORT=${PORT:-8118}
need_number "the port" "$MASTER_PORT" 1024 65535
find_launch_python

# read_hosts: the array HOST_LIST; ascend/hosts.py lets nothing through that ssh would take for an option.
read_hosts() {
    local listed
    listed=$("$PYTHON" "$ROOT/ascend/hosts.py" list "$HOSTS")
    mapfile -t HOST_LIST <<< "$listed"
}

# node_command INDEX: one line for the shell of a node, which runs this script there.
node_command() {
    local words=(env DEVICE_TARGET="$DEVICE_TARGET" PYTHON="$PYTHON" STOP_AFTER="$STOP_AFTER" LEAVE_AFTER="$LEAVE_AFTER"
        LOST_AFTER="$LOST_AFTER" bash "$ROOT/ascend/run_cluster_train.sh" --config "$CONFIG"
        ${RANK_TABLE:+--rank-table "$RANK_TABLE"} ${DATASET:+--dataset "$DATASET"} ${CKPT:+--ckpt "$CKPT"}
        ${DEVICES:+--devices "$DEVICES"} ${WORKERS:+--workers "$WORKERS"} ${START:+--start "$START"}
        ${BIND:+--bind "$BIND"} ${SERVER_IP:+--server-ip "$SERVER_IP"} --timeout "$TIMEOUT"
        "${OVERRIDES[@]+"${OVERRIDES[@]}"}" --node-rank "$1" --nodes "${#HOST_LIST[@]}" --master-addr "$MASTER_ADDR"
        --port "$MASTER_PORT" --log-dir "$LOG_DIR/node_$1")
    printf 'cd %s && %s' "$(quote "$PWD")" "$(quote "${words[@]}")"
}

# nodes_end SECONDS: whether every remote shell has ended within that time.
nodes_end() {
    local pid left=1 end=$((SECONDS + $1))
    while [ -n "$left" ]; do
        left=""
        for pid in "${NODE_PIDS[@]}"; do
            ! kill -0 "$pid" 2>/dev/null || left=$pid
        done
        [ -z "$left" ] || [ "$SECONDS" -lt "$end" ] || return 1
        [ -z "$left" ] || sleep 0.5
    done
}

# End the remote shells; what they run ends with them, or sees that its terminal is gone, and may save its state first.
stop_nodes() {
    trap 'kill -KILL "${NODE_PIDS[@]}" 2>/dev/null || true' INT TERM HUP
    kill -TERM "${NODE_PIDS[@]}" 2>/dev/null || true
    if ! nodes_end $((STOP_AFTER + 10)); then
        kill -KILL "${NODE_PIDS[@]}" 2>/dev/null || true
        nodes_end 10 || true
    fi
    [ -z "$NODES_TAIL" ] || kill "$NODES_TAIL" 2>/dev/null || true
}

# One remote shell a node. The first that fails decides; the others are ended by closing their shells.
start_nodes() {
    local index code=0 failed="" command shell split reason
    split=$(xargs printf '%s\n' <<< "$REMOTE_SHELL") || die "--remote-shell is '$REMOTE_SHELL'; its quotes do not match"
    mapfile -t shell <<< "$split"
    NODE_PIDS=() NODES_TAIL=""
    trap 'complain "interrupted: ending every node; once more ends them at once"; stop_nodes; exit 130' INT TERM HUP
    say "${DRY_RUN:+# }starting ${#HOST_LIST[@]} nodes, each by this script over '${shell[0]}': ${HOST_LIST[*]}"
    tell master "$MASTER_ADDR, port $MASTER_PORT"
    tell recipe "$CONFIG$RECIPE_NOTE"
    tell logs "$LOG_DIR (node_N.log, and a folder for each node on the node itself)"
    for index in "${!HOST_LIST[@]}"; do
        command=$(node_command "$index")
        if [ -n "$DRY_RUN" ]; then
            show "${shell[@]}" "${HOST_LIST[$index]}" "$command"
            continue
        fi
        "${shell[@]}" "${HOST_LIST[$index]}" "$command" < /dev/null > "$LOG_DIR/node_$index.log" 2>&1 &
        NODE_PIDS+=($!)
    done
    [ -z "$DRY_RUN" ] || return 0
    tail -n +1 -F "$LOG_DIR/node_0.log" --pid=$$ 2>/dev/null | "$PYTHON" "$ROOT/scripts/printable.py" &
    NODES_TAIL=$!
    local left=${#NODE_PIDS[@]}
    while [ "$left" -gt 0 ] && [ -z "$failed" ]; do
        sleep 1 &
        wait $! || true
        left=0
        for index in "${!NODE_PIDS[@]}"; do
            if kill -0 "${NODE_PIDS[$index]}" 2>/dev/null; then
                left=$((left + 1))
            elif ! wait "${NODE_PIDS[$index]}"; then
                failed=${failed:-$index}
            fi
        done
    done
    # When one has failed, its peers may know more; they have a moment to say it.
    [ -z "$failed" ] || sleep 2
    stop_nodes
    if [ -n "$failed" ]; then
        complain "--- last lines of $LOG_DIR/node_$failed.log"
        last_lines "$LOG_DIR/node_$failed.log"
        reason=$(grep -a '^error:' "$LOG_DIR/node_$failed.log" | tail -n 1 | tr -d '\r' | sed 's/^error: //' || true)
        complain "error: node $failed (${HOST_LIST[$failed]}) failed: ${reason:-without a word of its own}"
        code=1
    else
        say "done: every node ended well; logs in $LOG_DIR"
    fi
    return $code
}

if [ -n "$HOSTS" ]; then
    [ -z "$NODE_RANK" ] || die "give --hosts or --node-rank, not both"
    read_hosts
    if [ "${START:-msrun}" = mpirun ]; then
        case "${HOST_LIST[*]}" in
            *:*) die "mpirun reads what follows a colon as a number of processes: give names or IPv4 addresses of hosts" ;;
        esac
        need_mindspore
        load_cann
        choose_devices 2
        need_mpirun
        choose_log_dir "$WANTED_LOG_DIR" "$(name_of "$CONFIG")"
        ascend_environment
        training_command
        TRUST_CODE=1 STARTER="mpirun, beside those on ${HOST_LIST[*]:1}" MASTER_PORT=""
        see_cards
        export_names=()
        for name in "${SET_VARIABLES[@]}" PATH PYTHONPATH LD_LIBRARY_PATH GHOST_MS_JOB; do
            export_names+=(-x "$name")
        done
        start 0 "$WORKERS" mpirun -n $((WORKERS * ${#HOST_LIST[@]})) \
            --host "$(printf "%s:$WORKERS," "${HOST_LIST[@]}" | sed 's/,$//')" "${export_names[@]}" --allow-run-as-root \
            -bind-to none "$PYTHON" "$ROOT/scripts/worker.py" "$LOG_DIR" --log -- "$PYTHON" "${COMMAND[@]}"
        exit
    fi
    MASTER_ADDR=$("$PYTHON" "$ROOT/ascend/hosts.py" address "${MASTER_ADDR:-${HOST_LIST[0]##*@}}")
    choose_log_dir "$WANTED_LOG_DIR" "$(name_of "$CONFIG")"
    start_nodes
    exit
fi

[ -n "$NODE_RANK" ] || die "give --hosts FILE, or --node-rank and --nodes; -h shows the usage"
need_number "--node-rank" "$NODE_RANK" 0
need_number "--nodes" "${NODES:-missing}" 1
[ "$NODE_RANK" -lt "$NODES" ] || die "--node-rank is $NODE_RANK, but there are $NODES nodes, counted from 0"
need_mindspore
load_cann
case "${START:=msrun}" in
    msrun)
        [ -n "$MASTER_ADDR" ] || die "give node 0's address with --master-addr"
        MASTER_ADDR=$("$PYTHON" "$ROOT/ascend/hosts.py" address "$MASTER_ADDR")
        choose_devices 2
        need_cards
        # Only node 0 listens there.
        [ "$NODE_RANK" != 0 ] || choose_port "$MASTER_PORT"
        choose_log_dir "$WANTED_LOG_DIR" "$(name_of "$CONFIG")"
        ascend_environment
        bind_cores
        training_command
        see_cards
        STARTER="msrun, node $NODE_RANK of $NODES with node 0 at $MASTER_ADDR"
        msrun_command $((NODES * WORKERS)) "$WORKERS" "$NODE_RANK" "$MASTER_ADDR" "$MASTER_PORT" "$TIMEOUT" \
            "$BIND_FILE" "${COMMAND[@]}"
        [ "$NODE_RANK" = 0 ] || WATCH_NODE="$MASTER_ADDR $MASTER_PORT"
        start $((NODE_RANK * WORKERS)) "$WORKERS" "${MSRUN[@]}" ;;
    rank-table) exec bash "$ROOT/ascend/run_distribute_train.sh" --start rank-table --rank-table "$RANK_TABLE" \
        --config "$CONFIG" ${DATASET:+--dataset "$DATASET"} ${CKPT:+--ckpt "$CKPT"} \
        ${SERVER_IP:+--server-ip "$SERVER_IP"} ${WANTED_LOG_DIR:+--log-dir "$WANTED_LOG_DIR"} \
        ${BIND:+--bind "$BIND"} ${DRY_RUN:+--dry-run} \
        "${OVERRIDES[@]+"${OVERRIDES[@]}"}" ;;
    *) die "--start is '$START'; with --node-rank it is msrun or rank-table" ;;
esac
