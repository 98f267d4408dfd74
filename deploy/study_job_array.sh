#!/bin/sh
# One study over many machines: each job takes every n-th run. Works as a Slurm job array and as a Kubernetes Indexed Job.
#
#   Slurm:       sbatch --array=0-7 --cpus-per-task=8 --mem=8G --time=12:00:00 deploy/study_job_array.sh
#   Kubernetes:  the Job below (everything after __END__), with an image that has this checkout at /kseg:
#                sed -n '/^__END__/,$p' deploy/study_job_array.sh | tail -n +2 | kubectl apply -f -
#
# STUDY (configs/study_*.py), RECORDS and WORKDIR are read from the environment; WORKDIR is shared by all jobs.
# A job that is ended goes on from its last checkpoint when it is started again; finished runs are never run twice.
# Runs are compared only if code, records and versions are the same, and within a seed the device; shares cut across
# seeds. So use one kind of node (sbatch --constraint=, nodeSelector:). On several kinds a seed belongs to the one that
# begins it, and the others pass its runs over and end with an error; submit the array again once for each kind, with
# that constraint, and each finishes its own seeds. A seed whose machine is gone is free again once WORKDIR/seeds/SEED and
# the seed's folders in WORKDIR/runs are removed. Afterwards, once:
#   python tools/study.py --config=$STUDY --workdir=$WORKDIR --report_only
set -eu
: "${STUDY:=configs/study_camvid.py}" "${RECORDS:?folder of the records}" "${WORKDIR:?folder that all jobs share}"
index=${SLURM_ARRAY_TASK_ID:-${JOB_COMPLETION_INDEX:?neither a Slurm array task nor a Kubernetes indexed job}}
count=${SLURM_ARRAY_TASK_COUNT:-${COMPLETIONS:?set it to spec.completions of the Job}}
cd "${KSEG:-${SLURM_SUBMIT_DIR:-/kseg}}"
PYTHONPATH=$PWD exec python tools/study.py --config="$STUDY" --workdir="$WORKDIR" --only="$index/$count" \
    --config.base.data.records_dir="$RECORDS"
exit
__END__
apiVersion: batch/v1
kind: Job
metadata:
  name: kseg-study
spec:
  completionMode: Indexed
  completions: 8
  parallelism: 8
  backoffLimitPerIndex: 4
  maxFailedIndexes: 8
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: study
          image: kseg:latest
          command: ["sh", "/kseg/deploy/study_job_array.sh"]
          env:
            - {name: COMPLETIONS, value: "8"}
            - {name: STUDY, value: configs/study_camvid.py}
            - {name: RECORDS, value: /data/records/camvid}
            - {name: WORKDIR, value: /data/study/camvid}
          resources:
            requests: {cpu: "4", memory: 4Gi}
            limits: {memory: 8Gi}
          volumeMounts:
            - {name: data, mountPath: /data}
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: kseg-data}
