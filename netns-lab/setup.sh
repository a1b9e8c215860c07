# shellcheck shell=bash
# Installs what the clone misses: Debian packages when root, Python packages in .venv. Sourced by demo and tests/run.

mpathd_setup() {  # $1: "run" or "dev" (with the tools that the tests need)
	local want=() root
	root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
	command -v ip >/dev/null || [ -x /usr/sbin/ip ] || [ -x /sbin/ip ] || want+=(iproute2)
	command -v nft >/dev/null || [ -x /usr/sbin/nft ] || want+=(nftables)
	command -v dbus-daemon >/dev/null || want+=(dbus)
	command -v python3 >/dev/null || want+=(python3)
	command -v pgrep >/dev/null || want+=(procps)
	if [ "$1" = dev ]; then
		command -v ping >/dev/null || want+=(iputils-ping)
		command -v gdbus >/dev/null || want+=(libglib2.0-bin)
		command -v busctl >/dev/null || want+=(systemd) # a container may lack it
	fi
	python3 -c 'import ensurepip, venv' 2>/dev/null || want+=(python3-venv)
	if [ ${#want[@]} -gt 0 ]; then
		if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
			echo "[#] apt-get install ${want[*]}" >&2
			apt-get update -qq >&2
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${want[@]}" >&2
		else
			echo "setup: missing: ${want[*]}; install them (as root: apt-get install ${want[*]}) and run this again" >&2
			return 1
		fi
	fi
	export PATH="$PATH:/usr/sbin:/sbin"
	local stamp want_stamp
	stamp="$root/.venv/.mpathd-$1"
	want_stamp=$(cksum <"$root/pyproject.toml")
	if [ ! -x "$root/.venv/bin/python" ]; then
		echo "[#] python3 -m venv .venv" >&2
		python3 -m venv "$root/.venv" >&2
	fi
	if [ "$(cat "$stamp" 2>/dev/null)" != "$want_stamp" ]; then
		local what="$root"
		[ "$1" = dev ] && what="$root[dev]"
		echo "[#] .venv/bin/pip install -e .${what#"$root"}" >&2
		"$root/.venv/bin/pip" install -q --disable-pip-version-check -e "$what" >&2
		echo "$want_stamp" >"$stamp"
	fi
}
