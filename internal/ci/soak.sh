#!/usr/bin/env bash
# First the lifecycle without any I/O: a device is registered, loaded, killed
# and released SOAKCYCLES (10000) times, by hand-made handlers and by a served
# one, and SOAKCHECKS (2000) random schedules run over the concurrent device.
# Fails if a command, a buffer, a goroutine or a file descriptor is left. Then
# clients connect and leave, in every way, SOAKCONNECTS (100000) times.
#
# Then it serves a sparse image and works on it for SOAKTIME seconds (600): verified
# random writes of four fio jobs, copies with several connections, and clients
# that are killed in the middle. Then it stops the server. Fails if a byte is
# wrong, if the server dies, leaks memory or does not stop cleanly. ARGS adds
# options of fileio_tgt.
set -euo pipefail
cd "$(dirname "$0")/../.."

soaktime=${SOAKTIME:-600}
soakcycles=${SOAKCYCLES:-10000}
soakchecks=${SOAKCHECKS:-2000}
soakconnects=${SOAKCONNECTS:-100000}
# The most that the server's memory may be at the end of a round, in KiB: the
# buffers of four connections, its pool, and room for the Go runtime.
max_rss=$((512 * 1024))

dir=$(mktemp -d)
server=
cleanup() {
	if [ -n "$server" ]; then
		kill -KILL "$server" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap cleanup EXIT

fail() {
	echo "soak: $*" >&2
	tail -n 20 "$dir/server.log" >&2 2>/dev/null || true
	exit 1
}

for package in ./ucmd ./handlers; do
	go test -count=1 -v -timeout 2h -run '^TestKillAndReleaseUnderLoad$' "$package" -killcycles "$soakcycles" ||
		fail "kill-and-release cycles of $package"
done
# Handler processes on the node are killed a thousand times; skipped without FUSE.
CYCLES=${SOAKKILLS:-1000} go test -count=1 -v -timeout 2h -run '^TestRules$/^R70_kill$' ./ioctl/fusenode ||
	fail "kills of handler processes"
go test -count=1 -race -timeout 2h -run '^TestInvariantsUnderChaos$' ./ucmd -rapid.checks "$soakchecks" ||
	fail "an invariant does not hold"

go test -count=1 -v -timeout 2h -run '^TestConnectDisconnectCycles$' ./nbd -cycles "$soakconnects" ||
	fail "clients that come and go leave something behind"

truncate -s 2G "$dir/image"
socket=$dir/socket
uri="nbd+unix:///image?socket=$socket"
# shellcheck disable=SC2086 # ARGS are several words
bin/fileio_tgt ${ARGS:-} -f "$dir/image" --listen "unix:$socket" --pid-file "$dir/pid" >"$dir/banner" 2>"$dir/server.log" &
server=$!
for _ in $(seq 100); do
	[ -s "$dir/pid" ] && break
	kill -0 "$server" 2>/dev/null || fail "the server did not start"
	sleep 0.1
done
[ -s "$dir/pid" ] || fail "the server was not ready after 10 s"
cat "$dir/banner"

rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$server/status"; }

verify() { # depth, seed: four jobs write a quarter each and read it back
	fio --output="$dir/fio.out" --thread --ioengine=nbd --uri="$uri" --rw=randwrite --bsrange=4k-256k --blockalign=4k \
		--size=64m --offset_increment=512m --numjobs=4 --iodepth="$1" --randseed="$2" --verify=crc32c --verify_fatal=1 \
		--do_verify=1 --verify_state_save=0 --group_reporting --name=soak || { cat "$dir/fio.out" >&2; fail "fio found wrong data or errors"; }
}

kill_client() { # leaves a connection in the middle of its commands
	nbdcopy --no-extents "$uri" null: 2>/dev/null &
	local client=$!
	sleep 0.2
	kill -KILL "$client" 2>/dev/null || true
	wait "$client" 2>/dev/null || true
}

start=$SECONDS
round=0
while [ $((SECONDS - start)) -lt "$soaktime" ]; do
	round=$((round + 1))
	depths=(1 16 64)
	kill_client &
	killer=$!
	verify "${depths[round % 3]}" "$round"
	wait "$killer"
	nbdcopy --connections=4 "$uri" "$dir/copy" || fail "nbdcopy could not read the image"
	cmp "$dir/image" "$dir/copy" || fail "a copy differs from the image"
	kill -0 "$server" 2>/dev/null || fail "the server died"
	echo "soak: round $round, $((SECONDS - start)) s, $(($(rss) / 1024)) MiB resident"
	[ "$(rss)" -le "$max_rss" ] || fail "the server uses $(rss) KiB of memory"
done

kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ "$status" -eq 0 ] || fail "the server ended with status $status"
[ ! -e "$socket" ] || fail "the server left its socket behind"
echo "soak: $round rounds, no faults"
