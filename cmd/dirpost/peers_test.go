//go:build peers

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema/ds389test"
)

// TestDS389Cycle is the whole of TestCycle over a 389-ds that was made ready with what `dirpost directory 389ds` prints.
func TestDS389Cycle(t *testing.T) {
	t.Parallel()
	s, _ := ds389Site(t)
	s.addPeople()
	s.start()
	t.Run("submission", s.testSubmission)
	t.Run("mx", s.testMX)
	t.Run("lmtp", s.testLMTP)
	t.Run("imap", s.testIMAP)
	t.Run("mbsync", s.testMbsync)
	t.Run("check", func(t *testing.T) {
		if out := s.dirpost("directory", "check"); strings.Contains(out, "FAULT") || !strings.Contains(out, "profile 389ds") {
			t.Errorf("directory check says\n%s", out)
		}
	})
}

// TestDS389Endings is TestEndings over it.
func TestDS389Endings(t *testing.T) {
	t.Parallel()
	s, opts := ds389Site(t)
	s.testEndings(t, opts)
}

// ds389Site makes a server ready as its administrator would, and dirpost with it.
func ds389Site(t *testing.T) (*site, client.Options) {
	t.Helper()
	server := ds389test.Start(t, ds389test.Options{Bare: true})
	commands := &site{t: t, dir: t.TempDir()}
	commands.config = commands.path("none")
	server.Change(t, commands.dirpost("directory", "389ds", "--base", server.Base))
	if os.Getenv("DIRPOST_TEST_FEED") == view.Syncrepl {
		server.Change(t, commands.dirpost("directory", "389ds", "--content-sync"))
	}
	server.Stop(t)
	server.Start(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"root": server.RootPassword, "frontend": "frontend-secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, err := profile.New(profile.DS389, profile.Changes{})
	if err != nil {
		t.Fatal(err)
	}
	as := []string{"--as", server.RootDN, "--as-password-file", filepath.Join(dir, "root")}
	s := newSite(t, as, "--ldap-uri", server.LDAPS, "--ldap-ca", server.CAFile, "--ldap-profile", profile.DS389, "--base", server.Base, "--bind-password-file", filepath.Join(dir, "frontend"))
	return s, client.Options{URIs: []string{server.LDAPI}, BindDN: server.RootDN, Password: server.RootPassword, Profile: names}
}
