package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/dirpost/dirpost/directory/ldif"
	"github.com/dirpost/dirpost/schema/slapdtest"
)

// command runs one command of dirpost and demands that it succeeds.
func command(t *testing.T, config string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(context.Background(), slices.Concat([]string{"dirpost", "-c", config}, args), eof{}, &out, &errs); code != 0 {
		t.Fatalf("dirpost %s: %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// newDirectoryOf makes an installation and returns its configuration.
func newDirectoryOf(t *testing.T) (config string) {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("a good password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "dirpost.toml")
	command(t, config, "init", "--domain", "example.org", "--data", filepath.Join(dir, "data"), "--cache", filepath.Join(dir, "cache"), "--password-file", password)
	command(t, config, "user", "add", "alice", "--mail", "alice@example.org", "--name", "Älice Adler", "--password-file", password)
	command(t, config, "role", "add", "press@example.org", "--occupant", "alice")
	return config
}

// records reads an export: by name, one line for each value in the order of the file.
func records(t *testing.T, file string) map[string][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]string{}
	for r := ldif.NewReader(f, ldif.Limits{}); ; {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range rec.Attributes {
			for _, v := range a.Values {
				out[rec.DN] = append(out[rec.DN], a.Name+": "+string(v))
			}
		}
	}
}

// An export is loaded by slapadd into the reference slapd: it has the same entries then, and takes the same passwords.
func TestExportForSlapd(t *testing.T) {
	t.Parallel()
	config := newDirectoryOf(t)
	file := filepath.Join(t.TempDir(), "export.ldif")
	command(t, config, "directory", "export", file)
	want := records(t, file)

	s := slapdtest.Start(t, slapdtest.Options{})
	s.Stop(t)
	s.Restore(t, file)
	s.Start(t)
	c, err := ldap.DialURL(s.URI)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind("uid=alice,ou=people,"+s.Base, "a good password"); err != nil {
		t.Errorf("alice at slapd: %v", err)
	}
	if err := c.Bind(s.RootDN, s.RootPassword); err != nil {
		t.Fatal(err)
	}
	found, err := c.Search(ldap.NewSearchRequest(s.Base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"*", "+"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, e := range found.Entries {
		for _, a := range exported(e).Attributes {
			for _, v := range a.Values {
				// slapd adds these of its own, to the top and to people who have bound.
				if !slices.Contains([]string{"contextCSN", "authTimestamp"}, a.Name) {
					got[e.DN] = append(got[e.DN], a.Name+": "+string(v))
				}
			}
		}
	}
	for _, lines := range []map[string][]string{want, got} {
		for dn := range lines {
			slices.Sort(lines[dn])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("export (-), slapd (+):\n%s", diff)
	}
}

// TestWithoutAdministrator: a command that names no administrator of an LDAP server of one's own reads what dirpost reads
// there, and is told what is missing when it writes.
func TestWithoutAdministrator(t *testing.T) {
	t.Parallel()
	s := slapdSite(t)
	s.dirpost("user", "add", "alice", "--mail", "alice@example.org", "--password-file", s.secret("alice", alicePassword))
	if out := command(t, s.config, "user", "list"); !strings.Contains(out, "alice@example.org") {
		t.Errorf("the users are %q", out)
	}
	if out := command(t, s.config, "address", "show", "alice@example.org"); !strings.Contains(out, "=> mailbox of alice") {
		t.Errorf("the address is %q", out)
	}
	if out := s.fails("user", "disable", "alice"); !strings.Contains(out, "refused by policy: ldap result 50 (Insufficient Access Rights); name an administrator with --as") {
		t.Errorf("a change is answered by %q", out)
	}
}

// What was exported is imported as it was, with identities, times and stored passwords, in the order of its attributes.
func TestImportOfAnExport(t *testing.T) {
	t.Parallel()
	from := newDirectoryOf(t)
	dir := t.TempDir()
	file, again := filepath.Join(dir, "export.ldif"), filepath.Join(dir, "again.ldif")
	command(t, from, "directory", "export", file)

	// The directory of another installation, but for what its init has made.
	to := filepath.Join(t.TempDir(), "dirpost.toml")
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, bytes.ReplaceAll(text, []byte(filepath.Dir(from)), []byte(filepath.Dir(to))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(filepath.Dir(to), "data", "keys"), os.DirFS(filepath.Join(filepath.Dir(from), "data", "keys"))); err != nil {
		t.Fatal(err)
	}
	db := filepath.Join(filepath.Dir(to), "data", "directory", "directory.db")
	if err := os.MkdirAll(filepath.Dir(db), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(db, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := command(t, to, "directory", "import", "--dry-run", file); !strings.Contains(out, "well formed") {
		t.Errorf("dry run: %q", out)
	}
	want := records(t, file)
	if out := command(t, to, "directory", "import", file); !strings.HasPrefix(out, fmt.Sprintf("%d entries added, 0 skipped", len(want))) {
		t.Errorf("import: %q", out)
	}
	command(t, to, "directory", "export", again)
	if diff := cmp.Diff(want, records(t, again)); diff != "" {
		t.Errorf("before (-), after (+):\n%s", diff)
	}
	if out := command(t, to, "directory", "import", "--skip-existing", file); !strings.HasPrefix(out, fmt.Sprintf("0 entries added, %d skipped", len(want))) {
		t.Errorf("import again: %q", out)
	}
}
