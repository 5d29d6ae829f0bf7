package slapdtest

import (
	"fmt"
	"testing"
)

// Mirror makes two servers with empty databases providers of each other (mirror mode): what is written to one is soon in the
// other, and each goes on alone while the other is away. One at a time should be written to.
func Mirror(t testing.TB, a, b *Server) {
	t.Helper()
	for i, s := range []*Server{a, b} {
		other := b
		if s == b {
			other = a
		}
		s.run(t, "ldapmodify", "cn=config", fmt.Sprintf(`dn: cn=config
changetype: modify
add: olcServerID
olcServerID: %d

dn: olcDatabase={1}mdb,cn=config
changetype: modify
add: olcSyncrepl
olcSyncrepl: rid=%03d provider=%q bindmethod=simple binddn=%q credentials=%q searchbase=%q type=refreshAndPersist retry="1 +" timeout=5
-
add: olcMultiProvider
olcMultiProvider: TRUE
`, i+1, i+1, other.LDAPI, other.RootDN, other.RootPassword, s.Base))
	}
}

// Kill ends slapd as a crash does. Start starts it again.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	s.cmd = nil
}
