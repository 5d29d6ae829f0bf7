package dit

import "testing"

// TestDisabledAccount: who is disabled is so for the directory too. Only the right password hears of it, and an
// administrator loses the rights of an open session.
func TestDisabledAccount(t *testing.T) {
	t.Parallel()
	tree := sampleTree(t)
	const password = "correct horse battery"
	for _, dn := range []string{alice, carol} {
		if code := modify(dn, ReplaceValues, "userPassword", password)(t, tree, root); code != 0 {
			t.Fatalf("password of %s: result %d", dn, code)
		}
	}
	quota := modify(alice, ReplaceValues, "dpQuotaBytes", "5368709121")
	if code := quota(t, tree, as(carol)); code != 0 {
		t.Fatalf("an administrator sets a quota: result %d", code)
	}
	tests := []struct {
		status        string
		right, rights int // results of a bind with the right password, and of the administrator's change
	}{
		{"nologin", codeUnwilling, codeNoObject},
		{"suspended", codeUnwilling, codeNoObject},
		{"deleted", codeUnwilling, codeNoObject},
		{"active", 0, 0},
	}
	for _, tt := range tests {
		for _, dn := range []string{alice, carol} {
			if code := modify(dn, ReplaceValues, "dpAccountStatus", tt.status)(t, tree, root); code != 0 {
				t.Fatalf("%s: result %d", tt.status, code)
			}
		}
		if _, _, err := tree.Bind(t.Context(), alice, []byte(password)); codeOf(err) != tt.right {
			t.Errorf("%s, right password: %v, want result %d", tt.status, err, tt.right)
		}
		if _, _, err := tree.Bind(t.Context(), alice, []byte("wrong")); codeOf(err) != codeCredentials {
			t.Errorf("%s, wrong password: %v, want result %d", tt.status, err, codeCredentials)
		}
		if code := quota(t, tree, as(carol)); code != tt.rights {
			t.Errorf("%s, administrator: result %d, want %d", tt.status, code, tt.rights)
		}
	}
}
