# Sourced by `scripts/test` and `.ci/run`: install what is missing, run a command so that it can be
# interrupted, and tell what a run left behind.
# shellcheck shell=bash

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The PostgreSQL programs are not on the path on Debian.
has_postgres() {
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null
}

# Debian has the module that makes environments in a package of its own.
has_venv() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

# Prints the Debian packages that are missing for what is named: redis, postgres, cc, jq, python.
missing_packages() {
    local wanted
    for wanted in "$@"; do
        case $wanted in
        redis) command -v redis-server >/dev/null || printf 'redis-server ' ;;
        postgres) has_postgres || printf 'postgresql ' ;;
        cc) command -v cc >/dev/null || printf 'build-essential ' ;;
        jq) command -v jq >/dev/null || printf 'jq ' ;;
        python) has_venv || printf 'python3 python3-venv ' ;;
        esac
    done
}

# Installs what is missing of what is named. Tells before it changes the system.
install_missing() {
    local packages become=()
    packages=$(missing_packages "$@")
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null ||
        die "Missing: $packages(names of Debian packages). Install them with this system's package" \
            "manager (for example: brew install redis postgresql; dnf install redis" \
            "postgresql-server) and run this again."
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "Missing: $packages- run as root: apt-get install $packages"
        become=(sudo)
    fi
    say "Installing with apt-get: $packages"
    say "(The tests start servers of their own; those of the system are neither started nor touched.)"
    # Debian starts a service when its package is installed, unless this file forbids it.
    local policy=/usr/sbin/policy-rc.d status=0
    (
        # A subshell, so that the file goes however this ends.
        if [ ! -e $policy ]; then
            trap '"${become[@]}" rm -f $policy' EXIT
            trap 'exit 130' INT
            trap 'exit 143' TERM HUP
            printf '#!/bin/sh\nexit 101\n' | "${become[@]}" tee $policy >/dev/null
            "${become[@]}" chmod +x $policy
        fi
        # shellcheck disable=SC2086 # several packages
        "${become[@]}" env DEBIAN_FRONTEND=noninteractive sh -c '
            apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null
        ' sh $packages
    ) || status=$?
    [ $status -eq 0 ] || die "apt-get failed; install by hand: $packages"
}

# Makes a Python environment with the packages named, unless it is there, and prints its Python.
# Fails where there is no Python or no network. Each package is NAME==VERSION; nothing is compiled.
# Environments belong below the target directory, one for each purpose; callers wait for each other.
#
#   python=$(python_venv "$target/python/purpose" package==1.2.3)
python_venv() {
    local directory=$1 status=0
    shift
    has_venv || return 1
    mkdir -p "$(dirname "$directory")"
    (
        if command -v flock >/dev/null; then
            exec 9>"$directory.lock"
            flock 9
        fi
        # Written last: one that was left half made is made anew.
        [ "$(cat "$directory/packages" 2>/dev/null)" != "$*" ] || exit 0
        rm -rf "$directory" &&
            python3 -m venv "$directory" &&
            "$directory/bin/python" -m pip install --quiet --no-input --only-binary :all: --no-compile \
                --disable-pip-version-check "$@" &&
            printf '%s\n' "$*" >"$directory/packages"
    ) </dev/null >&2 || status=$?
    [ $status -eq 0 ] || return 1
    printf '%s\n' "$directory/bin/python"
}

# Runs a command in a process group of its own and passes an interrupt or a request to end on to
# all of it. Bash would otherwise wait for the command first.
guarded() {
    local status=0
    set -m
    "$@" </dev/null &
    guarded_group=$!
    set +m
    trap 'end_guarded 130' INT
    trap 'end_guarded 143' TERM HUP
    wait "$guarded_group" || status=$?
    trap - INT TERM HUP
    return $status
}

# Ends what `guarded` runs, and then this script, through its exit trap.
end_guarded() {
    trap '' INT TERM HUP
    say "Interrupted: ending everything that was started." >&2
    kill -TERM -- "-$guarded_group" 2>/dev/null || true
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 -- "-$guarded_group" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL -- "-$guarded_group" 2>/dev/null || true
    wait "$guarded_group" 2>/dev/null || true
    exit "$1"
}

# Prints the ids of processes that belong to the run with this directory: by working directory,
# command line or environment. Some servers overwrite the latter two.
processes_of() {
    local entry id
    for entry in /proc/[0-9]*; do
        id=${entry#/proc/}
        [ "$id" != "$$" ] && [ "$id" != "$BASHPID" ] || continue
        case $(readlink "$entry/cwd" 2>/dev/null) in
        "$1"/* | "$1") printf '%s\n' "$id" && continue ;;
        esac
        if grep -aqsF -- "$1" "$entry/cmdline" "$entry/environ"; then
            printf '%s\n' "$id"
        fi
    done
}

# Fails when a process of the run is left after 15 s, names it and ends it.
expect_nothing_left() {
    local directory=$1 left tries
    [ -d /proc/self ] || return 0
    for ((tries = 0; tries < 30; tries++)); do
        left=$(processes_of "$directory")
        [ -n "$left" ] || return 0
        sleep 0.5
    done
    say "Processes of this run are left:" >&2
    # shellcheck disable=SC2086 # several processes
    ps -o pid,ppid,args -p $left >&2 || true
    # shellcheck disable=SC2086
    kill -KILL $left 2>/dev/null || true
    return 1
}
