package submit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

var headers = []struct {
	name, in, want string // want is empty when the value is refused
}{
	{"bare", "joe@example.org", "[joe@example.org]"},
	{"with a name", "Joe Doe <joe@example.org>", "[joe@example.org]"},
	{"with a quoted name that is an address", `"ann@example.org" <joe@example.org>`, "[joe@example.org]"},
	{"with a comment", "joe@example.org (Joe)", "[joe@example.org]"},
	{"several", "joe@example.org, Bob <bob@example.org>", "[joe@example.org bob@example.org]"},
	{"a group names its members, RFC 6854", "us: joe@example.org, bob@example.org;", "[joe@example.org bob@example.org]"},
	{"an encoded name", "=?utf-8?q?J=C3=B6?= <joe@example.org>", "[joe@example.org]"},
	{"a name in a charset nobody knows", "=?x-unknown?q?J=F6?= <joe@example.org>", "[joe@example.org]"},
	{"a name in UTF-8", "Jö <joe@example.org>", "[joe@example.org]"},
	{"folded with a tab", "Joe\t<joe@example.org>", "[joe@example.org]"},
	{"domain in upper case", "joe@EXAMPLE.org", "[joe@example.org]"},
	{"an international domain", "joe@exämple.org", "[joe@xn--exmple-cua.org]"},

	{"empty", "", ""},
	{"an empty group", "nobody:;", ""},
	{"null", "<>", ""},
	{"no address", "Joe", ""},
	{"no domain", "joe", ""},
	{"two without a comma", "joe@example.org bob@example.org", ""},
	{"a quoted local part", `"a b"@example.org`, ""},
	{"an address literal", "joe@[192.0.2.1]", ""},
	{"more than anybody is", strings.Repeat("joe@example.org,", 20) + "joe@example.org", ""},
}

func TestParseMailboxes(t *testing.T) {
	t.Parallel()
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseMailboxes(tt.in)
			if tt.want == "" {
				var refusal protocols.Reply
				if !errors.As(err, &refusal) || refusal.Code != 550 {
					t.Errorf("got %v, %v; want a 550", got, err)
				}
				return
			}
			if err != nil || fmt.Sprint(got) != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// FuzzMailboxes: what is not refused is at least one usable address.
func FuzzMailboxes(f *testing.F) {
	for _, tt := range headers {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := parseMailboxes(in)
		if err != nil {
			return
		}
		if len(got) == 0 || len(got) > maxAuthors {
			t.Errorf("%q: got %d addresses", in, len(got))
		}
		for _, addr := range got {
			if again, err := directory.ParseAddress(addr.String()); err != nil || again != addr {
				t.Errorf("%q: got %v, which reads as %v, %v", in, addr, again, err)
			}
		}
	})
}
