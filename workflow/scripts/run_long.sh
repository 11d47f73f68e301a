#!/usr/bin/env bash
# Starts or resumes a run of days in a clone of its own, at the lowest priority:
#   bash workflow/scripts/run_long.sh FOLDER CONFIG [COMMIT] [-- TARGET ...]
# FOLDER is made as a clone of this repository at COMMIT (HEAD by default) if it is not there. A
# run that is there goes on at its own commit, so that later changes of the code rerun nothing.
# Packed data are taken from FOLDER/data. Log: FOLDER/run.log. Stop it with: kill $(cat FOLDER/run.pid)
set -euo pipefail
folder=${1:?folder of the run} config=${2:?config}
shift 2
commit=HEAD
if [ $# -gt 0 ] && [ "$1" != "--" ]; then
  commit=$1
  shift
fi
here=$(cd "$(dirname "$0")/../.." && pwd)
if [ ! -e "$folder/.git" ]; then
  commit=$(git -C "$here" rev-parse "$commit")
  git clone --quiet "$here" "$folder"
  git -C "$folder" checkout --quiet "$commit"
fi
cd "$folder"
if [ -e run.pid ] && kill -0 "$(cat run.pid)" 2>/dev/null; then
  echo "the run in $folder goes on already (process $(cat run.pid))" >&2
  exit 1
fi
export PYTHONPATH="$PWD/src"
export UNLEARNING_UNTIMED=1 # seconds beside other work are no times
snakemake --unlock --configfile "$config" --cores 1 >/dev/null 2>&1 || true
# Linux may schedule sessions as groups, between which `nice` alone says nothing.
setsid --fork bash -c '
  echo $$ > run.pid
  [ ! -w /proc/self/autogroup ] || echo 19 > /proc/self/autogroup || true
  exec nice -n 19 snakemake --workflow-profile workflow/profiles/local --cores all --keep-going \
    --quiet host reason --configfile "$@"
' run "$config" "$@" >> run.log 2>&1 < /dev/null
echo "started; log: $folder/run.log"
