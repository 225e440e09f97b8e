#!/bin/sh
# Builds the service's images out of a Bento, with whichever of docker, podman and buildah is there and works.
#
#   deploy/image.sh [TAG] [cpu|gpu|all]      TAG: of a Bento, as `bentoml list` shows it; the newest evenodd when not given
#
# BUILDER=podman names the builder, PYTHON_IMAGE another base image, EXTRA_PACKAGES='psycopg[binary]' what corrections in
# PostgreSQL need, PIP_CERT the certificates to trust while installing. CPU image: evenodd:VERSION-cpu; GPU:
# evenodd:VERSION-gpu.
set -eu

tag="${1:-evenodd:latest}"
devices="${2:-cpu}"
here="$(cd "$(dirname "$0")" && pwd)"

case "$devices" in
  cpu|gpu) ;;
  all) devices="cpu gpu" ;;
  *) echo "device '$devices': cpu, gpu and all are allowed." >&2; exit 2 ;;
esac

works() {
  command -v "$1" > /dev/null 2>&1 || return 1
  case "$1" in
    docker|podman) "$1" info > /dev/null 2>&1 ;;
    buildah) buildah info > /dev/null 2>&1 ;;
    *) return 1 ;;
  esac
}

builder=""
for candidate in ${BUILDER:-docker podman buildah}; do
  if works "$candidate"; then builder="$candidate"; break; fi
done
if [ -z "$builder" ]; then
  echo "no builder works here: ${BUILDER:-docker, podman and buildah} missing, or no daemon runs. Install buildah." >&2
  exit 1
fi

# buildah without a container runtime beside it builds in a chroot.
if [ "$builder" = buildah ] && ! command -v crun > /dev/null 2>&1 && ! command -v runc > /dev/null 2>&1; then
  export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
fi

# It colours its answer, and breaks it at the width of the terminal.
folder="$(env -u FORCE_COLOR NO_COLOR=1 COLUMNS=4096 bentoml get "$tag" -o path)"
version="$(basename "$folder")"
echo "$tag | $folder | $builder"

export BUILDAH_FORMAT=docker  # podman's and buildah's own format holds no health check
for device in $devices; do
  name="evenodd:$version-$device"
  set -- --build-arg "DEVICE=$device" --file "$here/Dockerfile" --tag "$name"
  if [ -n "${EXTRA_PACKAGES:-}" ]; then set -- "$@" --build-arg "EXTRA=$EXTRA_PACKAGES"; fi
  if [ -n "${PYTHON_IMAGE:-}" ]; then set -- "$@" --build-arg "PYTHON=$PYTHON_IMAGE"; fi
  if [ -n "${PIP_CERT:-}" ]; then set -- "$@" --secret "id=ca,src=$PIP_CERT"; fi
  case "$builder" in
    docker) DOCKER_BUILDKIT=1 docker build "$@" "$folder" ;;
    podman) podman build "$@" "$folder" ;;
    buildah) buildah build "$@" "$folder" ;;
  esac
  echo "$name"
done
