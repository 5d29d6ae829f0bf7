package ldapd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/schema/slapdtest"
	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestSameAsSlapd runs scripts of LDAP tools against a real slapd with the reference configuration and against this
// server, from the same tree, and compares codes and outputs. testdata/same/search.txt tells the form of a script.
func TestSameAsSlapd(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/same/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(script)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for _, f := range archive.Files {
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			sides := []*side{slapdSide(t, dir), ownSide(t, dir)}
			for n, line := range strings.Split(string(archive.Comment), "\n") {
				if commandLine.MatchString(line) {
					compare(t, fmt.Sprintf("%s:%d: %s", script, n+1, line), line, sides)
				}
			}
		})
	}
}

var commandLine = regexp.MustCompile(`^[0-9]+ `)

// compare runs one line on both sides.
func compare(t *testing.T, where, line string, sides []*side) {
	t.Helper()
	words := splitWords(line)
	want, err := strconv.Atoi(words[0])
	if err != nil {
		t.Fatal(err)
	}
	var outputs []string
	for _, s := range sides {
		code, output, diagnostic := s.run(t, words[1], words[2], words[3:])
		if code != want {
			t.Errorf("%s\n%s ends with %d, want %d: %s", where, s.name, code, want, diagnostic)
		}
		outputs = append(outputs, canonical(output))
	}
	if diff := cmp.Diff(strings.Split(outputs[0], "\n"), strings.Split(outputs[1], "\n")); diff != "" {
		t.Errorf("%s\noutput of %s (-) and of %s (+):\n%s", where, sides[0].name, sides[1].name, diff)
	}
}

// splitWords splits at spaces that are not within single quotes.
func splitWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// A side is one of the two servers.
type side struct {
	name      string
	uri       string
	admin     []string // how an administrator connects
	dir       string   // where files of the script are
	caFile    string
	generated string // the last password that the server made
}

// slapdSide starts a slapd with the tree.
func slapdSide(t *testing.T, dir string) *side {
	t.Helper()
	s := slapdtest.Start(t, slapdtest.Options{})
	side := &side{name: "slapd", uri: s.URI, dir: dir, caFile: s.CAFile,
		admin: []string{"-x", "-H", s.URI, "-D", s.RootDN, "-w", s.RootPassword}}
	side.load(t)
	return side
}

// ownSide starts a server of ours with the tree.
func ownSide(t *testing.T, dir string) *side {
	t.Helper()
	tree, err := dit.Open(filepath.Join(t.TempDir(), "directory.db"), dit.Options{Suffixes: []string{base}, ServiceUIDs: []int{os.Getuid()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	r := serve(t, tree, Options{})
	side := &side{name: "ldapd", uri: r.uri(), dir: dir, caFile: r.caFile, admin: []string{"-Q", "-Y", "EXTERNAL", "-H", r.uriI()}}
	side.load(t)
	return side
}

func (s *side) load(t *testing.T) {
	t.Helper()
	tree, err := filepath.Abs("testdata/tree.ldif")
	if err != nil {
		t.Fatal(err)
	}
	if code, _, diagnostic := s.run(t, "admin", "ldapadd", []string{"-f", tree}); code != 0 {
		t.Fatalf("%s: load the tree: %d: %s", s.name, code, diagnostic)
	}
}

// run runs a tool as somebody.
func (s *side) run(t *testing.T, who, tool string, args []string) (code int, output, diagnostic string) {
	t.Helper()
	options := s.admin
	switch name, password, told := strings.Cut(who, ":"); {
	case who == "anonymous":
		options = []string{"-x", "-H", s.uri}
	case who != "admin":
		if !told {
			password = name + "-password"
		}
		options = []string{"-x", "-H", s.uri, "-D", nameOf(name), "-w", strings.ReplaceAll(password, "$GENERATED", s.generated)}
	}
	if tool == "ldapsearch" {
		options = slices.Concat(options, []string{"-LLL", "-o", "ldif-wrap=no"})
	}
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("%v: apt-get install ldap-utils", err)
	}
	cmd := exec.Command(path, slices.Concat(options, args)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+s.caFile, "RES_OPTIONS=timeout:1 attempts:1") // the tools look their host up
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if m := newPassword.FindStringSubmatch(out.String()); m != nil {
		s.generated = m[1]
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

var newPassword = regexp.MustCompile(`(?m)^New password: (.+)$`)

// nameOf is the name of a person or a service.
func nameOf(login string) string {
	if login == "frontend" {
		return "cn=frontend,ou=services," + base
	}
	return "uid=" + login + ",ou=people," + base
}

// The local user by the tool itself: who it is, and as whom it may act.
func TestToolsByUnixSocket(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	own := fmt.Sprintf("dn:gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth", os.Getgid(), os.Getuid())
	s := &side{dir: t.TempDir(), caFile: r.caFile, admin: []string{"-Q", "-Y", "EXTERNAL", "-H", r.uriI()}}
	tests := []struct {
		name   string
		args   []string
		code   int
		output string
	}{
		{"oneself", nil, 0, own + "\n"},
		{"oneself by name", []string{"-X", own}, 0, own + "\n"},
		{"no name", []string{"-X", "dn:nonsense"}, ldap.LDAPResultInsufficientAccessRights, ""},
		{"another, as whom the administrator may act", []string{"-X", "dn:" + alice}, 0, "dn:" + alice + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, output, diagnostic := s.run(t, "admin", "ldapwhoami", tt.args)
			if code != tt.code || output != tt.output {
				t.Errorf("ldapwhoami ends with %d and prints %q, want %d and %q: %s", code, output, tt.code, tt.output, diagnostic)
			}
		})
	}
}

// Lines that differ between any two servers.
var (
	volatile = regexp.MustCompile(`^(entryUUID|entryCSN|createTimestamp|modifyTimestamp|creatorsName|modifiersName|pwd\w+|contextCSN|Additional info): ?`)
	secret   = regexp.MustCompile(`^(userPassword|New password):.*`)
)

// canonical puts entries, and lines within each, in an order of their own, without what differs between any two servers.
func canonical(output string) string {
	var entries []string
	for entry := range strings.SplitSeq(output, "\n\n") {
		var lines []string
		for line := range strings.SplitSeq(entry, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") && !volatile.MatchString(line) {
				lines = append(lines, secret.ReplaceAllString(line, "$1: *"))
			}
		}
		if len(lines) > 1 {
			slices.Sort(lines[1:])
		}
		if len(lines) > 0 {
			entries = append(entries, strings.Join(lines, "\n"))
		}
	}
	slices.Sort(entries)
	return strings.Join(entries, "\n\n")
}
