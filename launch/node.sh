#!/usr/bin/env bash
# One node's agent of a training over several nodes. Start the same line on each; every launcher beside this does.
#   NODES=2 HEAD=node0:29400 launch/node.sh configs/gaussian.yaml data.train=data/shards run=/shared/runs/first
#
# NODES      how many; LEAST:MOST to go on with fewer when some are lost, and to take in more when they come
# HEAD       host:port of the node where they meet; that one must live as long as the training
# PROCESSES  ranks on this node: one per GPU, or one on a machine without
# JOB        name of this start, the same on all nodes
# RESTARTS   how often lost ranks are started again, from the newest checkpoint
# IS_HEAD    1 or 0, where torchrun cannot tell by itself which node HEAD is (containers, several addresses)
set -euo pipefail

: "${NODES:?how many nodes, such as 2 or 1:2}" "${HEAD:?host:port of the first node}"
PYTHON=${PYTHON:-python}
PROCESSES=${PROCESSES:-$("$PYTHON" -c 'import torch; print(torch.cuda.device_count() or 1)')}

# Ranks meet in a store of their own: in that of the agents, a new or replaced node never finds the others.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# Silences a warning; the ranks share out a node's cores themselves.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Nodes may take ten minutes to come; a lost one is missed after ten seconds rather than forty.
MEETING=join_timeout=600,last_call_timeout=5,keep_alive_interval=2,keep_alive_max_attempt=3
[ -z "${IS_HEAD:-}" ] || MEETING+=,is_host=$IS_HEAD

cd "$(dirname "$0")/.."
exec "$PYTHON" -m torch.distributed.run --nnodes="$NODES" --nproc-per-node="$PROCESSES" \
    --max-restarts="${RESTARTS:-3}" --rdzv-backend=c10d --rdzv-endpoint="$HEAD" --rdzv-id="${JOB:-n2n}" \
    --rdzv-conf="$MEETING" -m launch.train "$@"
