//go:build power

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPowerCut cuts the power of the disk right after the one reply of one connection, once for each kind of operation:
// nothing else is going on whose syncs could make up for a missing one. What was acknowledged is there when the power
// is back, and no number comes again. That this can fail is shown by servers that sync nothing, or no directory.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(*powerSite)
		loses func(deed) bool
	}{
		{"the server as it is", nil, func(deed) bool { return false }},
		{"without any sync", func(s *powerSite) { s.tracer = noSyncs }, func(deed) bool { return true }},
		{"without syncs of mail directories", func(s *powerSite) { s.binary = withoutDirectorySync(s.t) }, func(d deed) bool { return d.mail }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, why := newPowerSite(t)
			if s == nil {
				t.Log(noDisk, why)
				return
			}
			if tt.spoil != nil {
				tt.spoil(s)
			}
			s.boot()
			for i, d := range powerDeeds() {
				if tt.spoil != nil && !tt.loses(d) {
					continue
				}
				err := s.surviving(d, fmt.Sprintf("deed%d", i), tt.spoil != nil)
				if (err != nil) != tt.loses(d) {
					t.Errorf("%s: a power cut loses it: %v (%v), want %v", d.name, err != nil, err, tt.loses(d))
				}
			}
		})
	}
}

const noDisk = "the power cannot be cut here, TestOrderOfSyncs has to do:"

// noSyncs runs a server that is told that everything was synced, and nothing is.
var noSyncs = []string{"strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0", "--"}

// surviving does one thing, cuts the power when it is acknowledged, and returns what is wrong after a restart. With base,
// all that was before is made durable first, so that only the deed can be lost.
func (s *powerSite) surviving(d deed, token string, base bool) error {
	s.t.Helper()
	act, holds, err := d.ready(s, token)
	if err != nil {
		s.t.Fatalf("%s: %v", d.name, err)
	}
	if base {
		s.must(s.disk.sync())
	}
	if err := act(); err != nil {
		s.t.Fatalf("%s: %v", d.name, err)
	}
	if !base {
		s.must(s.numbers.note(s))
	}
	s.blackout()
	if !base {
		s.must(s.numbers.demandReserved(s))
	}
	s.boot()
	err = holds()
	if base {
		return err
	}
	for _, folder := range []string{"INBOX", "Archive", "Sent"} {
		err = errors.Join(err, s.numbers.demandNew(s, folder, token+"-new"))
	}
	return errors.Join(err, s.numbers.note(s))
}

// withoutDirectorySync builds a server whose mail directories are never synced.
func withoutDirectorySync(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs("../../storage/maildir/durable.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const sync = "err := d.Sync()"
	if n := strings.Count(string(text), sync); n != 1 {
		t.Fatalf("%q is %d times in %s, want once", sync, n, source)
	}
	dir := t.TempDir()
	spoilt, overlay, binary := filepath.Join(dir, "durable.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "dirpost")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {source: spoilt}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{spoilt: strings.Replace(string(text), sync, "err := error(nil)", 1), overlay: string(list)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}
