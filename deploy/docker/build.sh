#!/bin/sh
# Builds Banyan's image with docker (buildx where it is there), buildah or kaniko; `--help` tells the options.
set -eu

usage() {
  cat <<'TEXT'
Usage: deploy/docker/build.sh [OPTIONS]

  --target NAME     runtime (processors, and GPUs through Vulkan) or cuda; default: runtime
  --tag NAME        name of the image; default: banyan:VERSION, banyan:VERSION-cuda
  --platform LIST   linux/amd64, linux/arm64 or both with a comma; default: the builder's own
  --push            push it to the registry that the tag names; without this nothing leaves the machine
  --builder NAME    docker, buildah or kaniko; default: the first of them that is there
  --build-arg K=V   passed on to the builder; may be repeated
  --dry-run         print the command instead of running it
  --help            this text

kaniko runs where it is (in a container of its own, as root) and has no store of images: without --push the image
is written to banyan-image.tar in the current folder. Two platforms at once need --push with docker.
TEXT
}

fail() {
  echo "build.sh: $1" >&2
  exit 2
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
target=runtime
tag=
platform=
builder=
push=no
dry_run=no
build_args=
newline='
'

while [ $# -gt 0 ]; do
  case $1 in
    --target | --tag | --platform | --builder | --build-arg)
      [ $# -ge 2 ] && [ -n "$2" ] || fail "$1: want a value, found none"
      case $1 in
        --target) target=$2 ;;
        --tag) tag=$2 ;;
        --platform) platform=$2 ;;
        --builder) builder=$2 ;;
        --build-arg) build_args="$build_args$2$newline" ;;
      esac
      shift 2
      ;;
    --push) push=yes && shift ;;
    --dry-run) dry_run=yes && shift ;;
    --help | -h) usage && exit 0 ;;
    *) fail "$1: no such option; --help shows them" ;;
  esac
done

case $target in
  runtime) suffix= ;;
  cuda) suffix=-cuda ;;
  *) fail "--target: want runtime or cuda, found $target" ;;
esac
case $target:$platform in
  cuda:*arm64*) fail '--target cuda: want linux/amd64, the compute engine has no CUDA provider for arm64' ;;
esac

version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$root/package.json")
[ -n "$version" ] || fail "$root/package.json: want a version, found none"
revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
tag=${tag:-banyan:$version$suffix}

if [ -z "$builder" ]; then
  if command -v docker >/dev/null; then
    builder=docker
  elif command -v buildah >/dev/null; then
    builder=buildah
  elif [ -x /kaniko/executor ]; then
    builder=kaniko
  else
    fail 'want docker, buildah or kaniko, found none of them'
  fi
fi

run() {
  if [ "$dry_run" = yes ]; then
    printf '%s\n' "$*"
  else
    "$@"
  fi
}

# The options that all of them spell alike; values may hold spaces, so they stay in "$@".
set -- --target "$target" --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
while [ -n "$build_args" ]; do
  set -- "$@" --build-arg "${build_args%%"$newline"*}"
  build_args=${build_args#*"$newline"}
done

case $builder in
  docker)
    [ -z "$platform" ] || set -- "$@" --platform "$platform"
    if docker buildx version >/dev/null 2>&1; then
      case $platform:$push in
        *,*:no) fail '--platform: docker keeps images of one platform alone; want one, or --push' ;;
      esac
      where=--load
      [ "$push" = no ] || where=--push
      run docker buildx build "$@" --file "$root/deploy/docker/Dockerfile" --tag "$tag" "$where" "$root"
    else
      run docker build "$@" --file "$root/deploy/docker/Dockerfile" --tag "$tag" "$root"
      [ "$push" = no ] || run docker push "$tag"
    fi
    ;;
  buildah)
    case $platform in
      '') run buildah build "$@" --file "$root/deploy/docker/Dockerfile" --tag "$tag" "$root" ;;
      *) run buildah build "$@" --platform "$platform" --file "$root/deploy/docker/Dockerfile" --manifest "$tag" "$root" ;;
    esac
    case $push:$platform in
      no:*) ;;
      yes:) run buildah push "$tag" ;;
      yes:*) run buildah manifest push --all "$tag" "docker://$tag" ;;
    esac
    ;;
  kaniko)
    case $platform in
      '') ;;
      *,*) fail '--platform: kaniko builds for one at a time; want one' ;;
      *) set -- "$@" --custom-platform "$platform" ;;
    esac
    [ "$push" = yes ] || set -- "$@" --no-push --tar-path banyan-image.tar
    run /kaniko/executor "$@" --context "dir://$root" --dockerfile "$root/deploy/docker/Dockerfile" --destination "$tag"
    ;;
  *) fail "--builder: want docker, buildah or kaniko, found $builder" ;;
esac
