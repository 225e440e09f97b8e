#!/bin/sh
# Starts an entry point as a Kubernetes job through MLflow's backend.
#
#   REPOSITORY=registry.example/evenodd KUBE_MLFLOW_TRACKING_URI=http://mlflow.default:5000 \
#     deploy/training/submit.sh study -P variants=odd,even -P seeds=5 -P data=/data/rows.jsonl
#
# REPOSITORY: where the job's image is pushed. KUBE_MLFLOW_TRACKING_URI: the tracking server as pods reach it;
# MLFLOW_TRACKING_URI: as this machine does. KUBE_CONTEXT: other than the current one. IMAGE: what the job runs in, built from
# deploy/training/Dockerfile (evenodd-training). Needs docker and the kubernetes package here, and a volume claim named
# evenodd-training there (job.yaml), which keeps rows, caches and checkpoints.
#
# MLflow's backend takes projects with a docker_env only and runs their command without a shell, hence the copy.
set -eu

: "${1:?an entry point is needed, such as study}"
: "${REPOSITORY:?the repository that the image of the job is pushed to}"
: "${KUBE_MLFLOW_TRACKING_URI:?the tracking server as pods reach it}"
entry="$1"
shift
here="$(cd "$(dirname "$0")" && pwd)"
project="$(mktemp -d)"
trap 'rm -rf "$project"' EXIT

git -C "$here/../.." archive HEAD | tar -x -C "$project"
sed -i -e "s#^conda_env:.*#docker_env: {image: ${IMAGE:-evenodd-training}}#" \
  -e 's#command: "PYTHONPATH=src python#command: "env PYTHONPATH=src python#' "$project/MLproject"
context=""
if [ -n "${KUBE_CONTEXT:-}" ]; then context=", \"kube-context\": \"$KUBE_CONTEXT\""; fi
template="$project/deploy/training/job.yaml"
printf '{"repository-uri": "%s", "kube-job-template-path": "%s"%s}\n' "$REPOSITORY" "$template" "$context" \
  > "$project/backend.json"
mlflow run "$project" -e "$entry" --backend kubernetes \
  --backend-config "$project/backend.json" -P home=/data/.evenodd "$@"
