package ds389

import (
	"errors"
	"strings"
	"testing"
)

func TestReference(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, base, backend string
		err                 error
	}{
		{"another suffix", "ou=mail,o=Example Association", "mailRoot", nil},
		{"its own", suffix, "userRoot", nil},
		{"no suffix", "", "userRoot", ErrValue},
		{"end of a string of an access rule", `dc=example"`, "userRoot", ErrValue},
		{"end of a line", "dc=example\naci: x", "userRoot", ErrValue},
		{"pattern", "dc=*", "userRoot", ErrValue},
		{"no backend", suffix, "", ErrValue},
		{"backend that is more than a name", suffix, "a,cn=b", ErrValue},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Reference(tt.base, tt.backend)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("Reference(%q, %q) error = %v, want %v", tt.base, tt.backend, err, tt.err)
			}
			if err != nil {
				return
			}
			for _, want := range []string{"dn: cn=frontend,ou=services," + tt.base + "\n", "uniqueness-subtrees: " + tt.base + "\n", "cn=dpSendAddress,cn=index,cn=" + tt.backend + ",cn=ldbm database,"} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in it", want)
				}
			}
			if tt.base != suffix && (strings.Contains(got, suffix) || strings.Contains(got, backend)) {
				t.Error("something of the example stayed in it")
			}
		})
	}
}
