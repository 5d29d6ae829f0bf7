# The handbook of this tree: what one does with it, and the command behind each.
# `make demo` shows it, `make test` proves it; nothing else is needed.

GO         ?= go
BENCHTIME  ?= 1s
FUZZTIME   ?= 30s
SOAKTIME   ?= 10m
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

PREFIX     ?= /usr/local
DESTDIR    ?=

.PHONY: build install demo deps test check fuzz soak power peers live bench bench-peers feeds clean

# The one binary, static, in bin/.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/dirpost ./cmd/dirpost

# The binary, manual pages and completion below PREFIX; DESTDIR is put before it, for packages. `dirpost init` does the rest.
install: build
	install -D -m 755 bin/dirpost $(DESTDIR)$(PREFIX)/bin/dirpost
	@for page in dirpost.8 dirpost.toml.5; do \
	  file=$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$page; mkdir -p $${file%/*} && bin/dirpost man $$page >$$file || exit 1; done
	@set -e; to=$(DESTDIR)$(PREFIX)/share; mkdir -p $$to/bash-completion/completions $$to/zsh/site-functions $$to/fish/vendor_completions.d; \
	  bin/dirpost completion bash >$$to/bash-completion/completions/dirpost; \
	  bin/dirpost completion zsh >$$to/zsh/site-functions/_dirpost; \
	  bin/dirpost completion fish >$$to/fish/vendor_completions.d/dirpost.fish

# A whole server on loopback ports, shown row by row; then it keeps serving until Ctrl-C.
demo: build
	bin/dirpost demo

# Installs the Debian packages that the tests use, where they are missing. Starts no service.
deps:
	tools/deps.sh install

# Everything that must hold before one may push. On a build machine (CI=true) it installs what it needs.
test:
	@if [ "$$CI" = true ]; then tools/deps.sh install; else tools/deps.sh check; fi
	$(MAKE) check build
	$(GO) test -race -timeout 20m ./...

# The rules of the house, without running anything.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt these: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(STATICCHECK) -tags peers,power ./...
	$(GO) run ./tools/check
	@$(GO) generate ./schema && git diff --exit-code --stat -- schema || { echo "schema: commit what go generate wrote"; exit 1; }

# Each parser against random input, FUZZTIME long.
fuzz:
	@$(GO) list -f '{{.ImportPath}} {{.Dir}}' ./... | while read pkg dir; do \
	  for f in $$(grep -hos '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; done; done

# Readers, writers, logins, consumers and rude clients at the embedded directory, SOAKTIME long, under the race detector.
soak:
	DIRPOST_SOAK=$(SOAKTIME) $(GO) test -race -count 1 -timeout 0 -run 'TestSoak$$' -v ./protocols/ldapd

# Cuts the power of a loop-mounted file system under a running server, and fails its syncs. As root; takes minutes.
power: build
	$(GO) vet -tags power ./cmd/dirpost
	$(GO) test -tags power -timeout 20m -run 'TestPower|TestFaults|TestKilledBeforeSync' ./cmd/dirpost

# Follows the README under a systemd of its own, in a Debian tree that it makes. As root, with debootstrap; takes minutes.
live:
	tools/systemd/live.sh

# The suites of the directory, and mail in and out, over a real 389 Directory Server: by persistent search, and what concerns
# changes once more by content synchronization.
peers:
	@if [ "$$CI" = true ]; then tools/deps.sh install peers; else tools/deps.sh check peers; fi
	$(GO) vet -tags peers ./schema/... ./directory/... ./cmd/...
	$(GO) test -tags peers -count 1 -timeout 20m -run DS389 ./directory/dit ./cmd/dirpost
	$(GO) test -tags peers -count 1 -timeout 20m ./schema/ds389test ./directory
	DIRPOST_TEST_FEED=syncrepl $(GO) test -tags peers -count 1 -timeout 20m -run 'Feed|Route|Restart|Lock|Index|DS389Endings' ./directory ./cmd/dirpost

# The suites of the directory and of the whole server where the directory is polled, and where nothing tells of its changes.
# Persistent search is for `make peers`.
feeds:
	DIRPOST_TEST_FEED=poll $(GO) test -count 1 -timeout 20m ./directory ./cmd/dirpost
	DIRPOST_TEST_FEED=ttl $(GO) test -count 1 -timeout 20m ./directory ./cmd/dirpost

# How fast the parts are. Nothing outside this tree is needed.
bench:
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...

# dirpost beside Dovecot, Postfix and slapd in one run, as ratios: make bench-peers BENCH=folder of the measuring bench.
GROUPS_OF_PEERS ?= lmtp smtp login select notify
bench-peers: build
	BENCH='$(BENCH)' tools/bench/peers.sh $(GROUPS_OF_PEERS)

clean:
	rm -rf bin
