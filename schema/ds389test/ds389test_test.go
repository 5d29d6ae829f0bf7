//go:build peers

package ds389test

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// The server has our schema and the plugins of the reference configuration, speaks TLS, and comes back with its entries.
func TestStart(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{ContentSync: true})
	pid := s.Pid()
	s.Stop(t)
	if _, err := ldap.DialURL(s.LDAPI); err == nil {
		t.Fatal("a stopped server takes connections")
	}
	s.Start(t)
	if s.Pid() == pid {
		t.Errorf("pid %d after the second start, want another", pid)
	}
	clear, err := ldap.DialURL(s.URI)
	if err != nil {
		t.Fatal(err)
	}
	defer clear.Close()
	if err := clear.Bind(s.RootDN, s.RootPassword); err != nil {
		t.Fatal(err)
	}
	change := ldap.NewPasswordModifyRequest("cn=frontend,ou=services,"+s.Base, "", "frontend-password")
	if _, err := clear.PasswordModify(change); !ldap.IsErrorWithCode(err, ldap.LDAPResultConfidentialityRequired) {
		t.Errorf("Password Modify in the clear: %v, want result %d", err, ldap.LDAPResultConfidentialityRequired)
	}
	c, err := ldap.DialURL(s.LDAPS, ldap.DialWithTLSConfig(&tls.Config{RootCAs: s.CA}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(s.RootDN, s.RootPassword); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PasswordModify(change); err != nil {
		t.Errorf("Password Modify over TLS: %v", err)
	}
	find := func(base string, scope int, filter, attr string) []string {
		t.Helper()
		result, err := c.Search(ldap.NewSearchRequest(base, scope, 0, 0, 0, false, filter, []string{attr}, nil))
		if err != nil {
			t.Fatalf("search below %q: %v", base, err)
		}
		var values []string
		for _, e := range result.Entries {
			values = append(values, e.GetAttributeValues(attr)...)
		}
		return values
	}
	if controls := find("", ldap.ScopeBaseObject, "(objectClass=*)", "supportedControl"); !slices.Contains(controls, ldap.ControlTypeSyncRequest) {
		t.Errorf("no content synchronization among %q", controls)
	}
	if got, want := find("cn=frontend,ou=services,"+s.Base, ldap.ScopeBaseObject, "(objectClass=*)", "nsPagedSizeLimit"), []string{"-1"}; !slices.Equal(got, want) {
		t.Errorf("limit of the frontend %q, want %q", got, want)
	}
	if unique := find("cn=plugins,cn=config", ldap.ScopeSingleLevel, "(&(cn=dirpost unique *)(nsslapd-pluginEnabled=on))", "uniqueness-attribute-name"); !slices.Contains(unique, "mailAlternateAddress") {
		t.Errorf("unique are %q", unique)
	}
}
