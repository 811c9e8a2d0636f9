#!/usr/bin/env bash
# Two nodes on this machine, to try out what a cluster does: kill one, and see the other wait or go on.
#   launch/local_cluster.sh configs/demo.yaml data.train=demo/shards run=runs/cluster
# NODES, PROCESSES and the rest as in node.sh; NODES=1:2 goes on with one.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export NODES=${NODES:-2} PROCESSES=${PROCESSES:-1} HEAD=${HEAD:-127.0.0.1:29400} JOB=${JOB:-local-$$}

IS_HEAD=1 "$here/node.sh" "$@" & head=$!
IS_HEAD=0 "$here/node.sh" "$@" & other=$!
echo "nodes: process $head (the head) and process $other; try: kill -9 $other" >&2
trap 'kill -TERM $head $other 2> /dev/null || true' INT TERM
# A signal ends the first wait at once; the nodes still save and leave.
wait $head || wait $head && status=0 || status=$?
wait $other || true
exit $status
