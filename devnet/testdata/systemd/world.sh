# In the place of separate machines one that systemd runs: an escrow with its vault, a
# witness, a switchboard, a client with her vault and her wallets' connectors. Files
# are made and units brought in by the commands of docs/run.md, which lie in /srv/page;
# what looks at the outcome is here. Its last line is "all is done" if nothing is wrong.
set -eu -o pipefail
shopt -s nullglob
export PATH=/srv/bin:$PATH PROJECT=/srv/project
mkdir /home/latchkey
cd /home/latchkey
wrong=0
wrong() { echo "WRONG: $*"; wrong=1; }
step() { echo "--- $SECONDS s: $*"; }

# files makes the files of a part of the page, and starts none of its programs.
files() {
	(
		for program in escrow switchboard client wallet-btc wallet-eth latchkey; do
			eval "$program() { echo '{}'; }"
		done
		. "/srv/page/$1"
	)
}

# bring brings a role's files and units in, as the page says.
bring() {
	(. "/srv/page/$1.files")
	[ ! -e "$1/data" ] || . "/srv/page/$1.data"
	. "/srv/page/$1.start"
}
said() { journalctl -u "$1" -o cat --no-pager | sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" | tail -n 1; }
has_said() { [ -n "$(said "$1" "$2")" ]; }
property() { systemctl show -P "$2" "$1"; }

step "programs and units"
. /srv/page/programs.1
. /srv/page/systemd.1
systemd-analyze verify /etc/systemd/system/latchkey-*.service || wrong "systemd-analyze verify"
for unit in /etc/systemd/system/latchkey-*.service; do
	most=14 # tenths
	case $unit in *vault*) most=6 ;; esac
	systemd-analyze security --offline=true --threshold=$most "$unit" >/tmp/security 2>&1 || wrong "exposure of $unit: $(tail -n 1 /tmp/security)"
done

step "certificates, platforms, witnesses' keys"
. /srv/page/certificates.1
. /srv/page/simulated-platforms.1
. /srv/page/a-witness.1

step "the escrow"
files the-escrow.1
bring escrow
await has_said latchkey-escrow log_key
said latchkey-escrow log_key >escrow/log_key

step "four witnesses, the first as a unit"
for i in 1 2 3 4; do
	sed -i "s|^logs = .*|logs = [\"$(cat escrow/log_key)\"]|" w$i/witness.toml
done
for i in 2 3 4; do
	witness run --config w$i/witness.toml >w$i/ready 2>w$i/log &
done
cp -r w1 witness
bring witness

step "the switchboard"
files the-switchboard.1
mv board switchboard
bring switchboard

step "chains, a client and her connectors"
. /srv/page/a-client.1
files a-client.2
files a-client.4
cp "$(field password_file nodes/btc.ready)" alice/node.password
sed -i 's|^node_password_file = .*|node_password_file = "node.password"|' alice/wallet-btc.toml
bring alice
for name in escrow witness switchboard alice; do
	. /srv/page/$name.doctor >/tmp/doctor 2>&1 || sleep 2 # a head may be on its way
	. /srv/page/$name.doctor >/tmp/doctor 2>&1 || { cat /tmp/doctor; wrong "the doctor of $name"; }
done

step "deposits, claims, sweeps on both chains"
alice() { runuser -u latchkey-alice -- env LATCHKEY_CLIENT=unix:/var/lib/latchkey/alice/client.sock latchkey "$@"; }
happened() { [ "$(alice timeline | grep -c " $1 ")" -ge "$2" ]; }
await has_said latchkey-wallet-btc@alice address
await has_said latchkey-wallet-eth@alice address
devnet-btc fund --control "$(field control nodes/btc.ready)" --to "$(said latchkey-wallet-btc@alice address)" --amount 0.05 >/dev/null
devnet-eth fund --rpc http://127.0.0.1:18545 --to "$(said latchkey-wallet-eth@alice address)" --amount 2eth >/dev/null
await happened enrolled 1
for asset in btc eth; do
	await alice deposit --asset $asset --usd 100
done
await happened announced 2
alice claim $(alice status --json | sed -n 's/^ *"id": "\([0-9a-f]\{64\}\)",*$/\1/p')
await happened swept 2

units="latchkey-escrow latchkey-vault@escrow latchkey-witness latchkey-switchboard
	latchkey-client@alice latchkey-vault@alice latchkey-wallet-btc@alice latchkey-wallet-eth@alice"
step "what each unit may do"
for unit in $units; do
	pid=$(property $unit MainPID)
	user=$(property $unit User)
	[ "$(ps -o user:32= -p "$pid")" = "$user" ] || wrong "$unit runs as another user"
	for line in 'NoNewPrivs:	1' 'Seccomp:	2' 'CapBnd:	0000000000000000' 'CapEff:	0000000000000000' 'CapPrm:	0000000000000000'; do
		grep -q "^$line$" /proc/$pid/status || wrong "$unit has not $line"
	done
	grep -q '^Max core file size  *0  *0 ' /proc/$pid/limits || wrong "$unit may dump its memory"
	for path in /etc/latchkey /usr /var/lib/latchkey /var/lib /srv; do
		! nsenter -t "$pid" -m touch $path/probe 2>/dev/null || wrong "$unit may write to $path"
	done
	nsenter -t "$pid" -m runuser -u "$user" -- touch "/var/lib/latchkey/${user#latchkey-}/probe" || wrong "$unit may not write to its own folder"
	for home in /home /root; do
		[ -z "$(nsenter -t "$pid" -m ls -A $home)" ] || wrong "$unit sees into $home"
	done
	case $unit in
	*vault*)
		[ "$(nsenter -t "$pid" -n cat /proc/net/dev | grep -c :)" = 1 ] || wrong "$unit has a network"
		[ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/1/ns/net)" ] || wrong "$unit has the machine's network"
		;;
	esac
done

step "sockets between users"
for user in latchkey-switchboard latchkey-escrow nobody; do
	for socket in client.sock admin.sock btc.sock eth.sock; do # a vault's is gone once its host is there
		[ -S /var/lib/latchkey/alice/$socket ] || wrong "there is no $socket"
		! runuser -u $user -- latchkey status --client unix:/var/lib/latchkey/alice/$socket >/tmp/said 2>&1 || wrong "$user is let in at $socket"
		grep -q 'permission denied' /tmp/said || wrong "$user at $socket: $(cat /tmp/said)"
	done
	! runuser -u $user -- cat /etc/latchkey/alice/platform.json 2>/dev/null || wrong "$user reads Alice's platform"
done

# serves says whether every unit runs, and every doctor is content.
serves() {
	local unit name
	for unit in $units; do
		systemctl is-active --quiet $unit || { echo "$unit is $(property $unit ActiveState)"; return 1; }
	done
	for name in escrow witness switchboard alice; do
		. /srv/page/$name.doctor || return 1
	done
}

step "killed, each is there again"
killed() {
	local unit
	for unit; do
		property $unit MainPID >/tmp/pid.$unit
		kill -9 "$(cat /tmp/pid.$unit)"
	done
	for unit; do
		await again $unit
	done
}
again() { # another process than before
	local pid
	pid=$(property $1 MainPID)
	[ "$pid" != 0 ] && [ "$pid" != "$(cat /tmp/pid.$1)" ] && systemctl is-active --quiet $1
}
doctor() { . /srv/page/$1.doctor; }
killed latchkey-escrow latchkey-witness # a vault ends with its host
killed latchkey-vault@escrow
await doctor escrow # who calls it in vain waits for some seconds before the next time
killed latchkey-switchboard latchkey-client@alice latchkey-wallet-btc@alice latchkey-wallet-eth@alice
killed latchkey-vault@alice
await serves
await alice deposit --asset btc --usd 50
await happened announced 3

step "stopped, each ends in an orderly way, and within its time"
since=$(date +%s)
for unit in $units; do
	began=$(date +%s%N)
	systemctl stop $unit
	ms=$((($(date +%s%N) - began) / 1000000))
	[ $ms -lt 9000 ] || wrong "$unit takes $ms ms to end"
	[ "$(property $unit Result) $(property $unit ExecMainStatus)" = "success 0" ] || wrong "$unit ends with $(property $unit Result), status $(property $unit ExecMainStatus)"
done
! journalctl --no-pager --since "@$since" | grep -E 'timed out|SIGKILL' || wrong "somebody was killed"

step "started again, all is there"
systemctl start latchkey-escrow latchkey-witness # and, as they want it, the vault
await doctor escrow
systemctl start $units
await serves
alice status

step "no secret in the journal"
journalctl -o cat --no-pager >/tmp/journal
cat /etc/latchkey/*/platform.json /etc/latchkey/*/tls.key /etc/latchkey/alice/node.password /var/lib/latchkey/alice/*/own.key \
	/var/lib/latchkey/alice/*/wallet.key /var/lib/latchkey/witness/data/key.pem |
	grep -oE '[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}' | sort -u >/tmp/secrets
[ "$(wc -l </tmp/secrets)" -ge 8 ] || wrong "found $(wc -l </tmp/secrets) secrets to look for"
[ "$(wc -l </tmp/journal)" -ge 50 ] || wrong "the journal has $(wc -l </tmp/journal) lines"
! grep -iFf /tmp/secrets /tmp/journal || wrong "a secret is in the journal"

[ $wrong = 0 ]
echo "all is done"
