#!/bin/sh
# A SLURM of one node on this machine's loopback, for tests only: munge, slurmctld and slurmd of Debian's slurm-wlm.
#   scripts/slurm_here.sh start FOLDER   then   export SLURM_CONF=FOLDER/slurm.conf
#   scripts/slurm_here.sh stop FOLDER
# Needs root, and apt-get install slurm-wlm munge. FOLDER holds configuration, state, logs and process ids.
set -eu

usage() { echo "usage: $0 start|stop FOLDER" >&2; exit 2; }
[ $# -eq 2 ] || usage
here=$(mkdir -p "$2" && cd "$2" && pwd)

stop() {
    for daemon in slurmctld slurmd munged; do
        [ -s "$here/$daemon.pid" ] || continue
        pid=$(cat "$here/$daemon.pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
        rm -f "$here/$daemon.pid"
    done
}

start() {
    for program in munged slurmctld slurmd; do
        command -v "$program" >/dev/null || {
            echo "$program is not installed; run apt-get install slurm-wlm munge" >&2; exit 2; }
    done
    [ "$(id -u)" -eq 0 ] || { echo "root was expected, got $(id -un); SLURM's daemons start as root only" >&2; exit 2; }
    host=$(hostname -s)
    mkdir -p "$here/state" "$here/spool"
    if [ ! -s "$here/munge.key" ]; then
        head -c 1024 /dev/urandom >"$here/munge.key"
        chmod 400 "$here/munge.key"
    fi
    cat >"$here/slurm.conf" <<EOF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURM_HERE_PORT:-16817}
SlurmdPort=$((${SLURM_HERE_PORT:-16817} + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$here/munge.socket
CredType=cred/munge
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=5
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=here Nodes=ALL Default=YES MaxTime=60 State=UP
EOF
    # --force: the folder of a test may be writable by others.
    munged --force --key-file="$here/munge.key" --socket="$here/munge.socket" --pid-file="$here/munged.pid" \
        --log-file="$here/munged.log" --seed-file="$here/munge.seed" 2>>"$here/munged.log"
    export SLURM_CONF="$here/slurm.conf"
    slurmctld -c
    slurmd -c
    for _ in $(seq 150); do
        sinfo --noheader --format=%t 2>/dev/null | grep -q idle && return
        sleep 0.2
    done
    echo "no idle node after 30 seconds; see $here/slurmctld.log and $here/slurmd.log" >&2
    stop
    exit 1
}

case $1 in
    start) start ;;
    stop) stop ;;
    *) usage ;;
esac
