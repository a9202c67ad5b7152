# Two commands are enough on a fresh Debian machine: `make up` and `make test`.
# Each installs what it needs and says what it does.

CARGO   ?= cargo
LAB     ?= primer
PREFIX  ?= $(HOME)/.local
BINARY  := target/release/calicolab
FLAGS   ?=

.PHONY: help setup build up down test e2e e2e-lxd e2e-machines vagrant soak bench bench-vagrant lint install

help:
	@echo 'make up       build calicolab and bring the lab "$(LAB)" up, proven (LAB=… for another, FLAGS=… for flags)'
	@echo 'make test     run the tests: real sshd, BIRD, etcd and containers, no virtual machine'
	@echo 'make e2e      run the story of `up` in real virtual machines, and in containers of a real LXD (as root)'
	@echo 'make vagrant  the same story by Vagrant with libvirt (as root; an hour and more in software, so no part of CI)'
	@echo 'make soak     kill `up` at every happening and see that `down` leaves nothing; fifteen faults in machines; resumed machines beside booted ones; an image with all of cloud-init'
	@echo 'make bench    measure the store against curl, aria2c and sha256sum, and `up` (QEMU, LXD, Kubernetes) against hand-written scripts, and points'
	@echo 'make bench-vagrant  measure `up` by QEMU and by Vagrant beside plain `vagrant up` (as root; half an hour in software)'
	@echo 'make setup    install what building and the machines need (all targets above do this first)'
	@echo 'make lint     formatting and clippy'
	@echo 'make install  copy the binary to $(PREFIX)/bin'

setup:
	@scripts/setup.sh

build: setup
	$(CARGO) build --release --locked

# The lock is brought up to date first where the archive has dropped a locked revision; else nothing changes.
up: build
	$(BINARY) lock $(LAB) --apt-only --if-gone
	$(BINARY) up $(LAB) $(FLAGS)

down: build
	$(BINARY) down --all

test: setup
	@scripts/test-programs.sh
	$(CARGO) test --locked --lib --bins --test it --test containers -- $(FLAGS)

# Built as `make test` builds, so that nothing is compiled twice. What containers wait for is not what machines wait
# for: side by side they take little longer than the longer half.
e2e: setup
	@scripts/test-programs.sh
	scripts/kubernetes-debian.sh
	scripts/lxd.sh install
	$(CARGO) test --locked --no-run --test lxd --test machines
	@$(MAKE) --no-print-directory -j2 e2e-lxd e2e-machines

e2e-lxd:
	$(CARGO) test --locked --test lxd -- $(FLAGS)

# As an ordinary user. Two clusters node by node beside each other (warm) take long, and so does an image that no other
# test is made from (cloud_init): both belong to `make soak`.
e2e-machines:
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=scripts/as-user.sh \
		$(CARGO) test --locked --test machines -- --skip warm:: --skip cloud_init:: --test-threads=1 --nocapture $(FLAGS)

vagrant: setup
	scripts/libvirt.sh install
	$(CARGO) test --locked --test vagrant -- $(FLAGS)

soak: setup
	@scripts/test-programs.sh
	CALICOLAB_SOAK=all $(CARGO) test --locked --test containers -- crash::everywhere
	CALICOLAB_SOAK=all CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=scripts/as-user.sh \
		$(CARGO) test --locked --test machines -- faults warm:: cloud_init:: --test-threads=1 --nocapture

bench: build
	@scripts/test-programs.sh
	scripts/as-user.sh benches/store.sh "$$($(CARGO) bench --locked --no-run --bench store --message-format=json | \
		sed -n '/"kind":\["bench"\]/s/.*"executable":"\([^"]*\)".*/\1/p')"
	scripts/as-user.sh benches/bench.sh
	scripts/as-user.sh benches/points.sh
	scripts/lxd.sh install
	benches/incus.sh
	scripts/kubernetes-debian.sh
	benches/kubernetes.sh

# Of its own: it makes the same machines six times and more.
bench-vagrant: build
	scripts/libvirt.sh install
	benches/vagrant.sh

lint: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

install: build
	install -Dm755 $(BINARY) $(PREFIX)/bin/calicolab
