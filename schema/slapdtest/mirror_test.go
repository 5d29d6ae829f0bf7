package slapdtest

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/schema/slapd"
)

// What is written to either of two mirrors is in the other, also when one was killed meanwhile.
func TestMirror(t *testing.T) {
	t.Parallel()
	a, b := Start(t, Options{}), Start(t, Options{})
	Mirror(t, a, b)
	tree, err := slapd.Tree(a.Base, "Example Association")
	if err != nil {
		t.Fatal(err)
	}
	has := func(s *Server, filter string) {
		t.Helper()
		var out []byte
		for deadline := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
			out, _ = exec.Command(command(t, "ldapsearch"), "-x", "-LLL", "-H", s.URI, "-D", s.RootDN, "-w", s.RootPassword, "-b", s.Base, filter, "dn").CombinedOutput()
			if strings.Contains(string(out), "dn: ") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not at %s: %s", filter, s.URI, out)
			}
		}
	}
	a.Load(t, slapd.LDIF(tree))
	has(b, "(ou=people)")
	a.Kill(t)
	b.Load(t, "dn: ou=later,"+b.Base+"\nobjectClass: organizationalUnit\nou: later\n")
	a.Start(t)
	has(a, "(ou=later)")
	a.Load(t, "dn: ou=last,"+b.Base+"\nobjectClass: organizationalUnit\nou: last\n")
	has(b, "(ou=last)")
}
