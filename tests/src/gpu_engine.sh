# keeper DIR: an engine in DIR, for as long as standard input is open; then nothing is left of
# either. Has a namespace of mounts to itself: what the engine mounts goes with it.
set -euo pipefail
dir=$1
exec 3<&0

# The engine starts a containerd of its own where it finds none at the usual place.
mkdir -p /run/containerd
mount -t tmpfs tmpfs /run/containerd

# Nothing of the host's configuration, which may say otherwise, and none of its network changed.
printf '{}' >"$dir/engine.json"
dockerd --config-file "$dir/engine.json" --host "unix://$dir/engine.sock" \
    --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/engine.pid" \
    --containerd-namespace assay-test --containerd-plugins-namespace assay-test-plugins \
    --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    3<&- </dev/null &
engine=$!

# Whoever holds the other end may be killed; the kernel closes it all the same.
{
    read -r _ <&3 || true
    kill -TERM "$engine"
} &
watcher=$!
status=0
wait "$engine" || status=$?
kill "$watcher" 2>/dev/null || true
rm -rf --one-file-system "$dir"
exit "$status"
