# What an administrator does with the package, on a machine with systemd: see package.rs. Runs with -eux.

# Waits until a command succeeds.
until_ok() {
    for _ in $(seq 300); do
        if "$@"; then return; fi
        sleep 0.1
    done
    echo "waited in vain for: $*"
    return 1
}
property() {
    systemctl show --value --property="$1" tidecast
}
delivered() {
    curl -s http://127.0.0.1:8080/metrics | grep -q "^tidecast_packets_delivered_total{channel=\"$1\"} $2\$"
}

echo STEP install
dpkg -i /result/tidecast.deb
[ "$(systemctl is-enabled tidecast)" = enabled ]
[ "$(systemctl is-active tidecast)" = active ]
tidecast check -c /etc/tidecast/tidecast.toml
curl -sf http://127.0.0.1:8080/readyz
man --where tidecast tidecast-serve tidecast.toml
[ "$(property Type)" = notify ]
[ "$(property User)" = tidecast ]
[ "$(grep CapEff "/proc/$(property MainPID)/status" | tr -d '\t')" = CapEff:0000000000000000 ]

echo STEP relay
cat >>/etc/tidecast/tidecast.toml <<'TOML'
[[channel]]
name = "by-address"
input = "udp://@239.255.1.1:5000?if=127.0.0.1"
output = "udp://127.0.0.1:6000"
[[channel]]
name = "by-name"
input = "udp://@239.255.1.2:5000?if=lo"
output = "udp://239.255.1.3:6000?if=lo&ttl=0"
TOML
tidecast check -c /etc/tidecast/tidecast.toml
systemctl restart tidecast
curl -sf http://127.0.0.1:8080/readyz
for group in 1 2; do
    tidecast send --sensor 1 --interval 5ms --count 100 "udp://239.255.1.$group:5000?if=127.0.0.1&ttl=0"
done
until_ok delivered by-address 100
until_ok delivered by-name 100
curl -s --max-time 5 http://127.0.0.1:8080/udp/239.255.1.1:5000 >/dev/null || [ $? = 28 ]
curl -s http://127.0.0.1:8080/metrics | grep 'tidecast_packets_received_total{channel="udp-239.255.1.1-5000"'

echo STEP record
cat >>/etc/tidecast/tidecast.toml <<'TOML'
[[channel]]
name = "recorded"
input = "udp://@239.255.1.4:5000?if=127.0.0.1"
output = ["pcapng:/var/lib/tidecast/recorded", "pcapng:/srv/recordings/recorded"]
TOML
# `check` knows what the service may write, for every user that runs it.
as_nobody() {
    group=$1
    shift
    setpriv --reuid=65534 --regid=65534 --groups="$group" "$@"
}
check() {
    "$@" tidecast check -c /etc/tidecast/tidecast.toml | tee /result/check
}
says() {
    grep "^$1 *channel recorded: pcapng:$2/recorded: .*$3" /result/check
}
check env
says ok /var/lib/tidecast 'the service may record there'
says FAIL /srv/recordings 'ReadWritePaths=/srv/recordings/recorded below'
groupadd --system recordings
install -d -g recordings -m 3770 /srv/recordings
mkdir -p /etc/systemd/system/tidecast.service.d
printf '[Service]\nReadWritePaths=/srv/recordings\nSupplementaryGroups=recordings\n' \
    >/etc/systemd/system/tidecast.service.d/recordings.conf
systemctl daemon-reload
tidecast check -c /etc/tidecast/tidecast.toml
check as_nobody 65534
says ok /var/lib/tidecast 'the service may record there'
says ok /srv/recordings 'the service may record there'
systemctl restart tidecast
tidecast send --sensor 1 --interval 5ms --count 100 "udp://239.255.1.4:5000?if=127.0.0.1&ttl=0"
recorded() {
    [ "$(tshark -r "$1"/recorded-*.pcapng 2>/dev/null | wc -l)" = 100 ]
}
until_ok recorded /var/lib/tidecast/recorded
until_ok recorded /srv/recordings/recorded
# Nobody else reads the one; the group reads the other, and writes neither.
recordings=$(getent group recordings | cut -d: -f3)
if as_nobody "$recordings" ls /var/lib/tidecast/; then exit 1; fi
if as_nobody 65534 ls /srv/recordings; then exit 1; fi
as_nobody "$recordings" cat /srv/recordings/recorded/*.pcapng >/result/recorded.pcapng
test -s /result/recorded.pcapng
if as_nobody "$recordings" rm -f /srv/recordings/recorded/*.pcapng; then exit 1; fi
if curl -s http://127.0.0.1:8080/api/v1/streams | jq -e '.. | .fault? // empty'; then exit 1; fi
rm -r /etc/systemd/system/tidecast.service.d

# The sandbox is in nobody's way. Nobody sends to some of the channels, which is said after a while.
if journalctl --no-pager -o cat -u tidecast | grep -E 'WARN|ERROR' | grep -v ': no packet in the '; then exit 1; fi

echo STEP watchdog
mkdir -p /etc/systemd/system/tidecast.service.d
printf '[Service]\nWatchdogSec=2\n' >/etc/systemd/system/tidecast.service.d/short.conf
systemctl daemon-reload
systemctl restart tidecast
sleep 5
[ "$(property NRestarts)" = 0 ]
kill -STOP "$(property MainPID)"
restarted() {
    [ "$(property NRestarts)" = 1 ] && [ "$(systemctl is-active tidecast)" = active ]
}
until_ok restarted
journalctl --no-pager -o cat -u tidecast | grep -i 'watchdog timeout'
rm -r /etc/systemd/system/tidecast.service.d
systemctl daemon-reload

echo STEP wrong configuration
cp /etc/tidecast/tidecast.toml /result/good.toml
echo 'tick = "fast"' >/etc/tidecast/tidecast.toml
if systemctl restart tidecast; then exit 1; fi
sleep 3
[ "$(property ExecMainStatus)" = 78 ]
[ "$(property NRestarts)" = 0 ]
journalctl --no-pager -o cat -u tidecast | grep 'tidecast.toml:1: tick = "fast": expected a duration'
cp /result/good.toml /etc/tidecast/tidecast.toml
systemctl reset-failed tidecast
systemctl restart tidecast

echo STEP remove
dpkg -r tidecast
if systemctl is-active tidecast; then exit 1; fi
if curl -s http://127.0.0.1:8080/readyz; then exit 1; fi
test ! -e /usr/bin/tidecast
cmp /result/good.toml /etc/tidecast/tidecast.toml # what the administrator wrote is kept
recorded /var/lib/tidecast/recorded               # and what the service recorded

echo STEP install again
dpkg -i --force-confold /result/tidecast.deb
cmp /result/good.toml /etc/tidecast/tidecast.toml
until_ok curl -sf http://127.0.0.1:8080/readyz

echo STEP purge
dpkg -P tidecast
if pgrep -x tidecast; then exit 1; fi
if dpkg -s tidecast; then exit 1; fi
test ! -e /var/lib/tidecast
test ! -e /var/lib/private/tidecast
recorded /srv/recordings/recorded # a folder of the administrator's own

echo STEP by hand
cd /result/source
sudo() {
    "$@"
}
cargo() {
    : # built already
}
set +e # a container may not set sysctls
. /result/by-hand.sh
set -e
[ "$(systemctl is-enabled tidecast)" = enabled ]
[ "$(systemctl is-active tidecast)" = active ]
curl -sf http://127.0.0.1:8080/readyz
man --where tidecast tidecast.toml
test -s /usr/share/bash-completion/completions/tidecast
systemctl disable --now tidecast
rm -r /usr/bin/tidecast /etc/tidecast /etc/systemd/system/tidecast.service /etc/sysctl.d/90-tidecast-sysctl.conf \
    /usr/local/share/man/man1/tidecast* /usr/local/share/man/man5/tidecast.toml.5 \
    /usr/share/bash-completion/completions/tidecast /var/lib/tidecast /var/lib/private/tidecast
echo STEP done
