package lookup

import (
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/schema"
)

// What a directory should not hold, because its rules forbid it, opens nothing when it is there all the same.
func TestNotUnderstood(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		attrs  map[string][]string
		status directory.Status
		policy directory.AuthPolicy
	}{
		{"complete", map[string][]string{schema.AttrDpAccountStatus: {"Active"}, schema.AttrDpAuthPolicy: {"Password"}}, directory.Active, directory.PasswordOnly},
		{"no policy means either", map[string][]string{schema.AttrDpAccountStatus: {"nologin"}}, directory.NoLogin, directory.Either},
		{"both", map[string][]string{schema.AttrDpAccountStatus: {"deleted"}, schema.AttrDpAuthPolicy: {"both"}}, directory.Deleted, directory.Both},
		{"no status, which every account must have", nil, directory.Suspended, directory.Either},
		{"unknown status", map[string][]string{schema.AttrDpAccountStatus: {"aktiv"}}, directory.Suspended, directory.Either},
		{"unknown policy", map[string][]string{schema.AttrDpAccountStatus: {"active"}, schema.AttrDpAuthPolicy: {"none"}}, directory.Active, directory.Both},
	}
	q := New(nil, Options{}).live()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := q.account(t.Context(), ldap.NewEntry("uid=a", tt.attrs))
			if err != nil || got.Status != tt.status || got.AuthPolicy != tt.policy {
				t.Errorf("account = %q, %q, %v; want %q, %q", got.Status, got.AuthPolicy, err, tt.status, tt.policy)
			}
		})
	}
}

func TestNameKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, a, b string
		same       bool
	}{
		{"case", "UID=Alice,OU=people,DC=example", "uid=alice,ou=People,dc=example", true},
		{"blanks behind commas", "uid=alice, ou=people", "uid=alice,ou=people", true},
		{"escapes", `cn=a\2cb,o=x`, `cn=a\,b,o=x`, true},
		{"other name", "uid=alice,ou=people", "uid=bob,ou=people", false},
		{"escaped comma is no border", `cn=a\,o=x`, "cn=a,o=x", false},
		{"not names", "Alice", "alice", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := nameKey(tt.a) == nameKey(tt.b); got != tt.same {
				t.Errorf("%q and %q are equal: %v, want %v", tt.a, tt.b, got, tt.same)
			}
		})
	}
}
