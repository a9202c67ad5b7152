#!/bin/sh
# Runs a command as an ordinary user: as the caller, or, for root (in CI), as a user made for it. What claims to
# need no root is thereby shown to need none.
set -eu
if [ "$(id -u)" != 0 ]; then
	exec "$@"
fi
user=calicolab-test
if ! id "$user" >/dev/null 2>&1; then
	echo "as-user: making the user $user"
	useradd --create-home --shell /bin/sh "$user"
fi
grep -q "^$user:" /etc/subuid || usermod --add-subuids 2000000-2065535 --add-subgids 2000000-2065535 "$user"
home=$(getent passwd "$user" | cut -d: -f6)
# What is built is run from the tree, so that user must be able to enter it.
if ! setpriv --reuid="$user" --regid="$user" --init-groups test -x . -a -r .; then
	echo "as-user: the user $user cannot enter $PWD; put the checkout where others may read it" >&2
	exit 30
fi
exec setpriv --reuid="$user" --regid="$user" --init-groups \
	env -u XDG_RUNTIME_DIR -u CARGO_HOME -u RUSTUP_HOME HOME="$home" USER="$user" LOGNAME="$user" PATH="$PATH" "$@"
