#!/bin/sh
# Prints the state of job $1: running, success or failed, and nothing else.
# For PBS ask `qstat -x -f`, for LSF `bjobs -noheader -o stat`, for SGE `qstat -j` and `qacct -j`.
if ! state=$(squeue --noheader --states=all --jobs="$1" --format=%T 2>&1); then
  case $state in
    *"Invalid job id"*) state=$(sacct --noheader --parsable2 -X --jobs="$1" --format=State 2>&1) ;;
    *) state=RUNNING ;; # the controller does not answer: ask again later
  esac
fi
case $state in
  COMPLETED) echo success ;;
  PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | RESIZING | STOPPED | SIGNALING | \
    STAGE_OUT | REQUEUE* | RESV_DEL_HOLD | SPECIAL_EXIT) echo running ;;
  *) echo failed ;;
esac
