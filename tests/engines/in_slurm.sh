#!/bin/sh
# usage: in_slurm.sh COMMAND...
# Runs a command beside a Slurm of two nodes, n1 and n2, both of which are this machine.
#
# All of it has network and process namespaces of its own: nobody else reaches its ports, and
# whatever is left ends with the command. That takes root.
set -eu
if [ -z "${TESTS_SLURM_BASE:-}" ]; then
    TESTS_SLURM_BASE=$(mktemp -d /tmp/slurm-XXXXXX)
    export TESTS_SLURM_BASE
    code=0
    unshare --net --pid --fork --mount-proc --kill-child "$0" "$@" || code=$?
    rm -rf "$TESTS_SLURM_BASE"
    exit "$code"
fi
base=$TESTS_SLURM_BASE
host=$(hostname)
export SLURM_CONF="$base/slurm.conf"
mkdir "$base/state" "$base/n1" "$base/n2" "$base/munge"
chmod 755 "$base" "$base/munge"

ip link set lo up
# names are resolved only where there is an interface beside loopback
ip link add distio0 type veth peer name distio1
ip addr add 10.99.0.1/24 dev distio0
ip link set distio0 up
ip link set distio1 up

cat >"$SLURM_CONF" <<END
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=$base/munge/socket
CredType=cred/munge
StateSaveLocation=$base/state
SlurmdSpoolDir=$base/%n
SlurmctldPidFile=$base/slurmctld.pid
SlurmdPidFile=$base/slurmd-%n.pid
SlurmctldLogFile=$base/slurmctld.log
SlurmdLogFile=$base/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=1,bf_interval=1
KillWait=5
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16818 CPUs=2 CoresPerSocket=2 RealMemory=2000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=2 CoresPerSocket=2 RealMemory=2000
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END

head -c 1024 /dev/urandom >"$base/munge/key"
chmod 400 "$base/munge/key"
munged --force --key-file="$base/munge/key" --socket="$base/munge/socket" \
    --pid-file="$base/munge/pid" --log-file="$base/munge/log" --seed-file="$base/munge/seed"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF" -N n1
slurmd -f "$SLURM_CONF" -N n2
tries=0
while [ "$(sinfo --noheader --Node --states=idle 2>/dev/null | wc -l)" -lt 2 ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
        echo 'Slurm has not come up' >&2
        cat "$base"/*.log >&2
        exit 1
    fi
    sleep 0.1
done
"$@"
